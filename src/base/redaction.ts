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
/** Characters of the body of a key; one of 16,384 bits has 13,000. */
const keyLimit = 20_000;
/** Its footer, or what its body, its headers, escaped line breaks and what a listing puts before a line are not made of. */
const endOfKey = /-----END|[^A-Za-z0-9+/=\s:,.\\|>-]/;

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
    const isNamed = typeof inner === 'string' && inner.length >= 8 && secretName.test(name);
    if (isNamed) return replacement;
    return isLeft(name) ? inner : redactValue(inner, isLeft, depth + 1);
  };
  if (Array.isArray(value)) {
    const items: readonly unknown[] = value;
    const copy = items.map((inner) => inside(inner, ''));
    return copy.some((inner, index) => inner !== items[index]) ? copy : value;
  }
  const entries = Object.entries(value);
  const copy = entries.map(([name, inner]) => [name, inside(inner, name)] as const);
  return copy.some(([, inner], index) => inner !== entries[index]?.[1]) ? Object.fromEntries(copy) : value;
}

/**
 * A text that comes in pieces. What may be the beginning of a secret is held back until more has come: at most the last word
 * with what announces it, and nothing of a private key is given at all.
 */
export class Redaction {
  private held = '';
  /** Characters of a private key that were taken so far; null outside of one. */
  private taken: number | null = null;

  /** The next piece as far as it can be shown. */
  push(piece: string): string {
    const shown: string[] = [];
    this.held += piece;
    // The many small pieces of one word are looked at together; a private key begins with several words.
    if (this.taken === null && this.held.length < heldLimit && !/\s/.test(piece)) return '';
    while (this.taken === null ? this.showUntilKey(shown) : this.skipKey()) {
      // Each step takes a part of what is held.
    }
    return shown.join('');
  }

  /** The rest: nothing more comes. */
  flush(): string {
    const rest = this.taken === null ? scan(this.held) : '';
    this.held = '';
    this.taken = null;
    return rest;
  }

  /** Shows what stands before the next private key; false when more has to come first. */
  private showUntilKey(shown: string[]): boolean {
    const text = this.held;
    for (let at = text.indexOf(keyBegin); at >= 0; at = text.indexOf(keyBegin, at + 1)) {
      keyHeader.lastIndex = at;
      if (keyHeader.test(text)) {
        shown.push(scan(text.slice(0, at)), replacement);
        this.held = text.slice(keyHeader.lastIndex);
        this.taken = 0;
        return true;
      }
      if (text.length - at < markLimit) return this.show(shown, Math.min(at, breakOf(text)));
    }
    return this.show(shown, breakOf(text));
  }

  private show(shown: string[], end: number): false {
    shown.push(scan(this.held.slice(0, end)));
    this.held = this.held.slice(end);
    return false;
  }

  /** Takes the body of a private key; false when more has to come first. */
  private skipKey(): boolean {
    const text = this.held;
    const taken = this.taken ?? 0;
    const body = text.slice(0, keyLimit - taken);
    const found = body.search(endOfKey);
    const end = found < 0 ? body.length : found;
    if (text.startsWith(keyEnd, end)) {
      keyFooter.lastIndex = end;
      const isFooter = keyFooter.test(text);
      if (!isFooter && text.length - end < markLimit) return false;
      this.held = text.slice(isFooter ? keyFooter.lastIndex : end);
      this.taken = null;
      return true;
    }
    if (end < text.length) {
      this.held = text.slice(end);
      this.taken = null;
      return true;
    }
    // The footer may be cut in two.
    const kept = Math.min(text.length, markLimit);
    this.taken = taken + text.length - kept;
    this.held = text.slice(text.length - kept);
    return false;
  }
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

const separators = [',', ';', '{', '}', '&'];

/** A run without white space that is too long to be held: JSON or a list of parameters is cut before its last part. */
function separatedAt(run: string): number {
  const last = Math.max(...separators.map((separator) => run.lastIndexOf(separator)));
  return last > 0 ? last : run.length;
}

function isSpace(code: number): boolean {
  return code === 32 || (code >= 9 && code <= 13);
}
