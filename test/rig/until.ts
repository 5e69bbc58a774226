import { setTimeout as delay } from 'node:timers/promises';

/** Resolves when `check` gives something; for what another process does and no event of ours tells. */
export async function until<T>(
  what: string,
  check: () => T | Promise<T>,
  limitMs = 40_000,
): Promise<NonNullable<T> & {}> {
  const deadline = Date.now() + limitMs;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`Not within ${limitMs} ms: ${what}`);
    await delay(20);
  }
}
