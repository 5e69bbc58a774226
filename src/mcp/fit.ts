/** The most bytes of JSON that a tool's result has: Copilot Chat writes larger ones to disk. */
export const resultLimit = 8_192;

/** Bytes of UTF-8 that a value takes as JSON. */
export function jsonBytes(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}

/** The first of several views, largest first, that stays within the limit; the last one if none does. */
export function firstThatFits<T>(views: readonly (() => T)[], limit = resultLimit - 1): T {
  let view: T | undefined;
  for (const make of views) {
    view = make();
    if (jsonBytes(view) <= limit) return view;
  }
  if (view === undefined) throw new Error('There is no view to fit.');
  return view;
}

/** Cuts a text to `limit` bytes of JSON and says how much is missing and where the whole is. */
export function cut(text: string, limit: number, uri: string): string {
  const kept = prefix(text, limit);
  if (kept.length === text.length) return text;
  return `${kept}…[${Buffer.byteLength(text.slice(kept.length))} bytes cut, see ${uri}]`;
}

/** Cuts a path to `limit` bytes of JSON; its end stays, which names the file. */
export function cutPath(path: string, limit: number, uri: string): string {
  if (path.length <= limit && jsonBytes(path) - 2 <= limit) return path;
  const kept = backwards(prefix(backwards(path), limit));
  return `[${Buffer.byteLength(path.slice(0, path.length - kept.length))} bytes cut, see ${uri}]…${kept}`;
}

/** By characters, which stay whole. */
function backwards(text: string): string {
  return Array.from(text).reverse().join('');
}

/** A JSON value as it is, or the beginning of its text when it takes more than `limit` bytes. */
export function cutJson(value: unknown, limit: number, uri: string): unknown {
  return jsonBytes(value) <= limit ? value : cut(JSON.stringify(value), limit, uri);
}

/** The last lines that take at most `limit` bytes of JSON together. */
export function lastLinesWithin(lines: readonly string[], limit: number): string[] {
  let left = limit;
  const kept: string[] = [];
  for (const line of lines.toReversed()) {
    left -= jsonBytes(line) + 1;
    if (left < 0) break;
    kept.unshift(line);
  }
  return kept;
}

/** The longest beginning that takes at most `limit` bytes inside a JSON string; never half a character. */
function prefix(text: string, limit: number): string {
  if (text.length <= limit && jsonBytes(text) - 2 <= limit) return text;
  let used = 0;
  let end = 0;
  for (const character of text) {
    used += jsonBytes(character) - 2;
    if (used > limit) break;
    end += character.length;
  }
  return text.slice(0, end);
}
