import { beginningOf, endOf } from '../base/wellFormed';

/** Keeps the last `limit` characters of a stream of text, and counts what was dropped. */
export class BoundedText {
  private parts: string[] = [];
  private length = 0;
  private droppedCharacters = 0;

  private readonly limit: number;

  constructor(limit: number) {
    this.limit = limit;
  }

  append(text: string): void {
    if (text === '') return;
    this.parts.push(text);
    this.length += text.length;
    // Joining only at twice the limit keeps an append at constant cost on average.
    if (this.length > this.limit * 2) this.trim();
  }

  /** How many characters were ever put into it. */
  get end(): number {
    return this.droppedCharacters + this.length;
  }

  /** Puts a text in where the text ended before, unless that is dropped by now. */
  insert(at: number, text: string): void {
    const whole = this.parts.join('');
    const place = at - this.droppedCharacters;
    if (place < 0) return;
    this.parts = [`${whole.slice(0, place)}${text}${whole.slice(place)}`];
    this.length += text.length;
  }

  get endsLine(): boolean {
    return this.parts.at(-1)?.endsWith('\n') ?? true;
  }

  get dropped(): number {
    return this.droppedCharacters + Math.max(0, this.length - this.limit);
  }

  toString(): string {
    if (this.length > this.limit || this.parts.length > 1) this.trim();
    return this.parts[0] ?? '';
  }

  private trim(): void {
    const whole = this.parts.join('');
    const kept = endOf(whole, this.limit);
    this.droppedCharacters += whole.length - kept.length;
    this.parts = [kept];
    this.length = kept.length;
  }
}

/** The beginning of a text whose rest was streamed; empty where the stream is not its end. */
export function beginningBefore(streamed: BoundedText, whole: string): string {
  return whole.endsWith(streamed.toString()) ? whole.slice(0, Math.max(0, whole.length - streamed.end)) : '';
}

/** The last `count` lines of a text, without a final empty one. */
export function lastLines(text: string, count: number): string[] {
  const lines = text.split(/\r?\n/);
  if (lines.at(-1) === '') lines.pop();
  return lines.slice(-count);
}

/** The first line of a text, cut to `length` characters; `…` at its end says that there is more. */
export function firstLine(text: string, length: number): string {
  const [line = '', ...others] = text.trim().split(/\r?\n/, 2);
  if (line.length > length) return `${beginningOf(line, length - 1)}…`;
  return others.length > 0 ? `${beginningOf(line, length - 2)} …` : line;
}
