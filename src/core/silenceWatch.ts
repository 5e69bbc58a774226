import type { Disposable } from './disposable';

/** Tells when nothing was heard for a time. A sign is cheap: one timer at most, which looks again when it is due. */
export class SilenceWatch implements Disposable {
  private timer: NodeJS.Timeout | undefined;
  private lastSign = 0;
  private readonly limitMs: () => number | null;
  private readonly onSilent: (limitMs: number) => void;

  /** `limitMs` is read at each look; null for no watch. */
  constructor(limitMs: () => number | null, onSilent: (limitMs: number) => void) {
    this.limitMs = limitMs;
    this.onSilent = onSilent;
  }

  /** Something was heard; watch on from now. */
  sign(): void {
    this.lastSign = performance.now();
    if (!this.timer) this.watch();
  }

  dispose(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private watch(): void {
    const limitMs = this.limitMs();
    if (limitMs === null) return;
    const delayMs = Math.max(0, this.lastSign + limitMs - performance.now());
    this.timer = setTimeout(() => this.look(limitMs), delayMs).unref();
  }

  private look(limitMs: number): void {
    this.timer = undefined;
    if (performance.now() - this.lastSign < limitMs) this.watch();
    else this.onSilent(limitMs);
  }
}
