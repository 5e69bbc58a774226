/** Nothing that is sent or taken goes so deep; deeper values are left as they are here. */
export const depthLimit = 200;

/** Whether arrays and objects are nested deeper than `depthLimit`. It takes no stack, so that it can look at anything. */
export function isTooDeep(value: unknown): boolean {
  let level: readonly unknown[] = [value];
  for (let depth = 0; depth <= depthLimit; depth++) {
    level = level.flatMap((one): readonly unknown[] =>
      typeof one === 'object' && one !== null ? Object.values(one) : [],
    );
    if (level.length === 0) return false;
  }
  return true;
}

/**
 * The value with whole characters only in its texts: for half of a pair of UTF-16, which JSON lets through, U+FFFD. The API
 * of a model refuses every later request of a conversation that has half a character in it.
 */
export function wellFormed(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return value.toWellFormed();
  if (typeof value !== 'object' || value === null || depth > depthLimit) return value;
  if (Array.isArray(value)) return value.map((one) => wellFormed(one, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key.toWellFormed(), wellFormed(inner, depth + 1)]),
  );
}

/** The first `length` UTF-16 units of a text, or one fewer where that would cut a character in two. */
export function beginningOf(text: string, length: number): string {
  if (text.length <= length) return text;
  return text.slice(0, length > 0 && isHigh(text, length - 1) ? length - 1 : length);
}

/** The last `length` UTF-16 units of a text, or one fewer where that would cut a character in two. */
export function endOf(text: string, length: number): string {
  const start = Math.max(0, text.length - length);
  return text.slice(start > 0 && isHigh(text, start - 1) ? start + 1 : start);
}

function isHigh(text: string, index: number): boolean {
  return (text.charCodeAt(index) & 0xfc00) === 0xd800;
}
