import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from './errors';
import type { ProcessSummary, StopReport } from './ports';

/** A process that cannot be ended is tried again after a pause that doubles, in ms. */
const endAgainMs = 500;
const endAgainLimitMs = 10_000;
const endLimitMs = 600_000;

/** Ends a task's processes, and tells what was found of them; nothing to do without a thread. */
export type EndingWork = () => Promise<StopReport> | undefined;

/** The task that ends. */
export interface EndingHost {
  /** How many turns were begun. */
  turns(): number;
  /** Its last turn is over, and nothing else is wanted of it. */
  isSettling(): boolean;
  note(tag: string, text: string): void;
  onLeftoversChanged(): void;
  /** Nothing of it is alive, or it cannot be helped. */
  onEnded(): void;
}

/** Makes sure that nothing of a task is alive when it is called ended. */
export class TaskEnding {
  private running: Promise<void> | null = null;
  private left: readonly ProcessSummary[] = [];
  private readonly host: EndingHost;

  constructor(host: EndingHost) {
    this.host = host;
  }

  /** Resolves when the end that is under way is over; null when there is none. */
  get underWay(): Promise<void> | null {
    return this.running;
  }

  /** Processes that could not be ended, or could not be told to be the task's. */
  get leftovers(): readonly ProcessSummary[] {
    return this.left;
  }

  restore(leftovers: readonly ProcessSummary[]): void {
    this.left = leftovers;
  }

  /**
   * Does the work until no process of the task is alive, and then tells that it ended. Goes on for ten minutes where one
   * cannot be ended. An end that is under way already is joined.
   */
  run(work: EndingWork): Promise<void> {
    this.running ??= this.runNow(work);
    return this.running;
  }

  /** Does the work once. Whether no process of the task is alive, as far as can be known. */
  async tryOnce(work: EndingWork): Promise<boolean> {
    try {
      const report = await work();
      if (report) this.report(report);
      return (report?.alive ?? []).length === 0;
    } catch (error) {
      this.host.note('warning', `Could not make sure that nothing of this task is left: ${messageOf(error)}`);
      return false;
    }
  }

  private async runNow(work: EndingWork): Promise<void> {
    const deadline = performance.now() + endLimitMs;
    for (let pauseMs = endAgainMs; ; pauseMs = Math.min(pauseMs * 2, endAgainLimitMs)) {
      const turns = this.host.turns();
      const dead = await this.tryOnce(work);
      // Codex may have run another turn meanwhile, which may have left something.
      if (turns !== this.host.turns() && this.host.isSettling()) continue;
      if (dead || performance.now() > deadline) break;
      await delay(pauseMs, undefined, { ref: false });
    }
    this.running = null;
    this.host.onEnded();
  }

  private report({ killed, alive, unattributed }: StopReport): void {
    const known = this.left;
    this.left = [...alive, ...unattributed];
    this.host.onLeftoversChanged();
    if (killed.length === 0 && sameProcesses(known, this.left)) return;
    for (const { pid, command } of killed) this.host.note('ended', `process ${pid}: ${command}`);
    for (const { pid, command } of alive) this.host.note('warning', `process ${pid} is still alive: ${command}`);
    for (const { pid, command } of unattributed) {
      this.host.note('warning', `process ${pid} may be of this task and was left alone: ${command}`);
    }
  }
}

function sameProcesses(a: readonly ProcessSummary[], b: readonly ProcessSummary[]): boolean {
  return a.length === b.length && a.every(({ pid }, index) => pid === b[index]?.pid);
}
