import type { Disposable } from './disposable';

/** The longest delay that a timer of Node takes, in ms: 24.8 days. */
const timerLimitMs = 2 ** 31 - 1;

/** At most one timer a key. Timers do not keep the process alive. */
export class Deadlines implements Disposable {
  private readonly timers = new Map<string, NodeJS.Timeout>();

  /** Runs `onDue` after `delayMs`, which may be longer than a timer can be. */
  set(key: string, delayMs: number, onDue: () => void): void {
    this.clear(key);
    const leftMs = delayMs - timerLimitMs;
    const timer = setTimeout(
      () => {
        this.timers.delete(key);
        if (leftMs > 0) this.set(key, leftMs, onDue);
        else onDue();
      },
      Math.min(delayMs, timerLimitMs),
    );
    this.timers.set(key, timer.unref());
  }

  clear(key: string): void {
    clearTimeout(this.timers.get(key));
    this.timers.delete(key);
  }

  dispose(): void {
    for (const key of [...this.timers.keys()]) this.clear(key);
  }
}
