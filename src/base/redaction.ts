import { announcedForms, isSecretValue, secretHint, secretName, secretNameMaybe, tokenForms } from './secretForms';

const replacement = '[redacted]';

/** Where a token may begin. In JSON a line break is two characters, the second of which is a letter. */
const edge = String.raw`(?:(?<![A-Za-z0-9_-])|(?<=\\[bfnrt])|(?<=\\u[0-9A-Fa-f]{4}))`;
const tokens = new RegExp(`${edge}(?:${tokenForms.join('|')})`, 'gi');
/** Two groups a form: what announces a value, and the value. */
const announced = new RegExp(announcedForms.map(({ lead, value }) => `(${lead})(${value})`).join('|'), 'gi');

/** What a text that goes on may hold back, in characters: the longest token has some 2,000. */
const heldLimit = 4_096;
/** Longer than what `secretHint` finds. */
const hintLimit = 16;
/** Characters that were shown already and may announce what comes. */
const contextLimit = 256;

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
  if (!text.includes(keyBegin)) return scan(text, '');
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
    if (isNamedSecret(name, inner)) return replacement;
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

function isNamedSecret(name: string, value: unknown): boolean {
  if (typeof value !== 'string' && typeof value !== 'number') return false;
  const text = String(value);
  if (secretName.test(name)) return text.length >= 8 || isSecretValue(text, true);
  return text.length >= 12 && secretNameMaybe.test(name) && isSecretValue(text, false);
}

/**
 * A text that comes in pieces. What may be the beginning of a secret is held back until more has come: at most the last word,
 * and nothing of a private key is given at all.
 */
export class Redaction {
  private held = '';
  /** The end of what was taken before, which may announce what is held. */
  private context = '';
  /** Characters since something hinted at a secret, or fewer. */
  private sinceHint = contextLimit;
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
        shown.push(this.scan(text.slice(0, at)), replacement);
        this.context = '';
        this.held = text.slice(keyHeader.lastIndex);
        this.inKey = true;
        return true;
      }
      if (!isLast && text.length - at < markLimit) end = Math.min(at, end);
    }
    shown.push(this.scan(text.slice(0, end)));
    this.held = text.slice(end);
    return false;
  }

  private scan(text: string): string {
    // Of a flood of small pieces most have nothing near them that could announce or be a secret.
    if (secretHint.test(this.context.slice(-hintLimit) + text)) this.sinceHint = 0;
    else this.sinceHint += text.length;
    const shown = this.sinceHint > contextLimit ? text : scan(text, this.context);
    this.context = `${this.context}${text}`.slice(-contextLimit);
    return shown;
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

/** The text without secrets, which stands behind a context that is none of it. */
function scan(text: string, context: string): string {
  const whole = context + text;
  if (whole.length < 8 || !secretHint.test(whole)) return text;
  const start = context.length;
  // What begins in the context was whole when that was shown, or it is a value of which no form knows.
  const withoutTokens = whole.replace(tokens, (token, at: number) => (at < start ? token : replacement));
  return withoutTokens.replace(announced, (match: string, ...rest: unknown[]) => hide(match, rest, start)).slice(start);
}

/** A match of `announced` without its value; as it is where that is no secret. */
function hide(match: string, rest: readonly unknown[], start: number): string {
  const form = announcedForms.findIndex((_, index) => typeof rest[2 * index] === 'string');
  const lead = String(rest[2 * form]);
  const at = Number(rest[2 * announcedForms.length]);
  const isSecret = isSecretValue(
    match.slice(lead.length),
    announcedForms[form]?.isCertain ?? true,
    /=["']?$/.test(lead),
  );
  return isSecret && at + lead.length >= start ? lead + replacement : match;
}

/** Where a text that goes on can be cut so that no secret is cut in two. */
function breakOf(text: string): number {
  const from = Math.max(0, text.length - heldLimit);
  let start = text.length;
  while (start > from && !isSpace(text.charCodeAt(start - 1))) start--;
  return start === from && from > 0 ? from + separatedAt(text.slice(from)) : start;
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
