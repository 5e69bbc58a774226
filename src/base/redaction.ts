const replacement = '[redacted]';

/**
 * Forms of tokens that their issuers document, and words that say of what follows that it is one. Each alternative fails
 * within a bounded number of characters, or takes all that it looked at: so a text costs time in proportion to its length.
 * Where a text stands in JSON a line break is two characters, the second of which is a letter: hence `edge`.
 */
const edge = String.raw`(?:(?<![A-Za-z0-9_-])|(?<=\\[bfnrt])|(?<=\\u[0-9A-Fa-f]{4}))`;
const secrets = new RegExp(
  [
    `${edge}(?:${[
      String.raw`sk-[A-Za-z0-9_-]{20,}`,
      String.raw`gh[pousr]_[A-Za-z0-9]{30,}`,
      String.raw`github_pat_[A-Za-z0-9_]{30,}`,
      String.raw`glpat-[A-Za-z0-9_-]{20,}`,
      String.raw`npm_[A-Za-z0-9]{30,}`,
      String.raw`xox[abposr]-[A-Za-z0-9-]{10,}`,
      String.raw`A(?:KI|SI)A[A-Z0-9]{16}(?![A-Za-z0-9])`,
      String.raw`AIza[A-Za-z0-9_-]{35}`,
      String.raw`eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}`,
      String.raw`(?<=bearer )[A-Za-z0-9._~+/-]{16,}=*`,
    ].join('|')})`,
    String.raw`(?<=://[^\s:@/"]{1,100}:)[^\s:@/"]{3,200}(?=@)`,
    String.raw`(?<=(?:api[_-]?key|access[_-]?token|auth[_-]?token|client[_-]?secret|password|passwd)\\?["']?\s{0,3}[:=]\s{0,3}\\?["']?)[^\s"'\\,;]{8,}`,
  ].join('|'),
  'gi',
);

/** A cheap look at whether there can be one at all, because a flood of text passes here. */
const hint = /sk-|gh[pousr]_|github_pat|glpat|npm_|xox|a[ks]ia|aiza|eyj|bearer|:\/\/|api[_-]?key|token|secret|passw/i;

/** A name of a field, or of a variable, whose value is a secret whatever it looks like. */
const secretName = /(?:api[_-]?key|access[_-]?token|auth[_-]?token|client[_-]?secret|password|passwd)$/i;

/** Ends what may go on as the beginning of a secret that a word announces: `password: "`, `Bearer `. */
const announced = /(?:bearer|key|token|secret|passw(?:or)?d)\\?["']?\s{0,3}[:=]?\s{0,3}\\?["']?$/i;
/** More than the longest match of `announced`. */
const announcedLimit = 32;

/** What a text that goes on may hold back, in characters: the longest token has some 2,000. */
const heldLimit = 4_096;

const keyBegin = '-----BEGIN';
const keyEnd = '-----END';
const keyHeader = /-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----/y;
const keyFooter = /-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----/y;
/** Longer than a header and a footer. */
const markLimit = 80;
/** Characters from the header of a key to its footer; one of 16,384 bits has 13,000. */
const keyLimit = 20_000;
/** A line of a key whose footer is missing: of its body, whatever a listing or a program puts around it, or of its headers. */
const keyLine =
  /[A-Za-z0-9+/=]{16}|^[A-Za-z0-9+/=]+$|^[^A-Za-z0-9]{0,12}$|^\W{0,4}(?:Proc-Type|DEK-Info|Version|Comment|Hash|Charset):/;
const keyLineLimit = 200;

/** The text without what looks like a token, a key or a password. JSON stays JSON. Takes time in proportion to its length. */
export function redact(text: string): string {
  if (text.length < 8) return text;
  const isKeyed = text.includes(keyBegin);
  if (!isKeyed) return hint.test(text) ? text.replace(secrets, replacement) : text;
  const stream = new Redaction();
  return stream.push(text) + stream.flush();
}

/** Decoded JSON without secrets: the same value when it holds none. A name can say of its value that it is one. */
export function redactJson<T>(value: T, isLeft: (name: string) => boolean = () => false): T {
  return redactValue(value, isLeft, 0) as T;
}

/** Deeper JSON is no message of anybody; it is left out. */
const depthLimit = 100;

function redactValue(value: unknown, isLeft: (name: string) => boolean, depth: number): unknown {
  if (typeof value === 'string') return redact(value);
  if (typeof value !== 'object' || value === null) return value;
  if (depth > depthLimit) return replacement;
  const inside = (inner: unknown, name: string): unknown => {
    const isText = typeof inner === 'string' || typeof inner === 'number';
    const isNamed = isText && String(inner).length >= 8 && secretName.test(name);
    if (isNamed) return replacement;
    return isLeft(name) ? inner : redactValue(inner, isLeft, depth + 1);
  };
  if (Array.isArray(value)) {
    const items: readonly unknown[] = value;
    const copy = items.map((inner) => inside(inner, ''));
    return copy.some((inner, index) => inner !== items[index]) ? copy : value;
  }
  const entries = Object.entries(value);
  const copy = entries.map(([name, inner]) => [redact(name), inside(inner, name)] as const);
  const isChanged = copy.some(([name, inner], index) => name !== entries[index]?.[0] || inner !== entries[index][1]);
  return isChanged ? Object.fromEntries(copy) : value;
}

/**
 * A text that comes in pieces. What may be the beginning of a secret is held back until more has come: at most the last word
 * with what announces it, and nothing of a private key is given at all.
 */
export class Redaction {
  private held = '';
  /** Whether what is held begins right after the header of a private key. */
  private inKey = false;
  /** Where the next footer is, from the end of what is held; null when that is not known, -1 when there is none. */
  private footer: number | null = null;

  /** The next piece as far as it can be shown. */
  push(piece: string): string {
    this.held += piece;
    this.footer = null;
    // The many small pieces of one word are looked at together; a private key begins with several words.
    if (!this.inKey && this.held.length < heldLimit && !/\s/.test(piece)) return '';
    // The footer of one ends with a dash.
    if (this.inKey && this.held.length < keyLimit && !piece.includes('-')) return '';
    return this.show(false);
  }

  /** The rest: nothing more comes. */
  flush(): string {
    this.footer = null;
    const rest = this.show(true);
    this.held = '';
    this.inKey = false;
    return rest;
  }

  private show(isLast: boolean): string {
    const shown: string[] = [];
    while (this.inKey ? this.skipKey(isLast) : this.showUntilKey(shown, isLast)) {
      // Each step takes a part of what is held.
    }
    return shown.join('');
  }

  /** Shows what stands before the next private key; false when more has to come first, or nothing is left. */
  private showUntilKey(shown: string[], isLast: boolean): boolean {
    const text = this.held;
    let end = isLast ? text.length : breakOf(text);
    for (let at = text.indexOf(keyBegin); at >= 0; at = text.indexOf(keyBegin, at + 1)) {
      keyHeader.lastIndex = at;
      if (keyHeader.test(text)) {
        shown.push(scan(text.slice(0, at)), replacement);
        this.held = text.slice(keyHeader.lastIndex);
        this.inKey = true;
        return true;
      }
      if (!isLast && text.length - at < markLimit) end = Math.min(at, end);
    }
    shown.push(scan(text.slice(0, end)));
    this.held = text.slice(end);
    return false;
  }

  /** Takes the private key up to its footer; false when that may still come. Without one it ends with its last line. */
  private skipKey(isLast: boolean): boolean {
    const text = this.held;
    const footer = this.nextFooter();
    keyFooter.lastIndex = footer;
    if (footer >= 0 && footer <= keyLimit && keyFooter.test(text)) this.held = text.slice(keyFooter.lastIndex);
    else if (!isLast && text.length < keyLimit + markLimit) return false;
    else this.held = text.slice(endOfKey(text));
    this.inKey = false;
    return true;
  }

  /** Found once for all keys before it, so that many headers do not each look through everything. */
  private nextFooter(): number {
    const text = this.held;
    if (this.footer === null || this.footer > text.length) {
      const at = text.indexOf(keyEnd);
      this.footer = at < 0 ? -1 : text.length - at;
    }
    return this.footer < 0 ? -1 : text.length - this.footer;
  }
}

/** Where a key ends that has no footer: after the last line that looks like one of its own. */
function endOfKey(text: string): number {
  let end = 0;
  while (end < text.length && end < keyLimit) {
    const rest = text.slice(end, end + keyLineLimit);
    // In JSON a line break is written as \\n.
    const [line = ''] = /^(?:(?!\\n|\\r)[^\n])*/.exec(rest) ?? [];
    if (!keyLine.test(line.trim())) return end;
    const [lineEnd = ''] = /^(?:\\r|\\n|\n)+/.exec(rest.slice(line.length)) ?? [];
    end += line.length + lineEnd.length;
    if (line.length + lineEnd.length === 0) break;
  }
  return end;
}

function scan(text: string): string {
  return text.length >= 8 && hint.test(text) ? text.replace(secrets, replacement) : text;
}

/** Where a text that goes on can be cut so that no secret is cut in two. */
function breakOf(text: string): number {
  const from = Math.max(0, text.length - heldLimit);
  let start = text.length;
  while (start > from && !isSpace(text.charCodeAt(start - 1))) start--;
  if (start === from && from > 0) return from + separatedAt(text.slice(from));
  const before = Math.max(0, start - announcedLimit);
  const announcement = announced.exec(text.slice(before, start));
  if (!announcement) return start;
  start = before + announcement.index;
  while (start > from && !isSpace(text.charCodeAt(start - 1))) start--;
  return start;
}

const wordCharacter = /[A-Za-z0-9_-]/;
const separators = [',', ';', '{', '}', '&'];

/** A run without white space that is too long to be held: JSON or a list of parameters is cut before its last part. */
function separatedAt(run: string): number {
  const last = Math.max(...separators.map((separator) => run.lastIndexOf(separator)));
  if (last > 0) return last;
  // Else before its last word, so that no token is cut in two; one that is all of it is no token.
  let start = run.length;
  while (start > 0 && wordCharacter.test(run.charAt(start - 1))) start--;
  return start > 0 ? start : run.length;
}

function isSpace(code: number): boolean {
  return code === 32 || (code >= 9 && code <= 13);
}
