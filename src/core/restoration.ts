import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from './errors';
import type { Agent, DamagedTask, Journal, Log, StoredRequest, StoredTask, ThreadSpec } from './ports';
import { finishedLimit } from './retention';
import type { Task } from './task';
import type { TaskId } from './taskId';
import type { TaskSnapshot } from './taskSnapshot';

const restoreLimitMs = 100;

export interface RestorationHost {
  readonly agent: Pick<Agent, 'reattach' | 'catchUp' | 'adopt'>;
  readonly journal: Pick<Journal, 'load' | 'history' | 'remove' | 'paths'>;
  readonly log: Log;
  readonly now: () => number;
  /** What is not brought back by then is left to the next run. */
  isClosed(): boolean;
  has(id: TaskId): boolean;
  /** Nobody sees it before `add`. */
  make(snapshot: TaskSnapshot, request: StoredRequest): { readonly task: Task; readonly thread: ThreadSpec };
  add(task: Task): void;
  /** It is kept, and shown as what it is. */
  addDamaged(task: DamagedTask): void;
  /** It had ended, and is kept for this time from now on, in ms. */
  keepEnded(task: Task, leftMs: number): void;
  /** It waits to be started. */
  schedule(task: Task, request: StoredRequest): void;
  /** It is at work, for that many ms. */
  isAtWork(task: Task, request: StoredRequest, passedMs: number): void;
}

interface Restored {
  readonly task: Task;
  readonly request: StoredRequest;
}

/** Brings back the tasks of earlier runs, as far as they are to be kept, and what runs of them. */
export class Restoration {
  private readonly host: RestorationHost;

  constructor(host: RestorationHost) {
    this.host = host;
  }

  async run(): Promise<void> {
    const { agent, journal, log } = this.host;
    // Without it the tasks are as after a crash; the next start of the agent ends what could not be found.
    await agent.reattach().catch((error: unknown) => log('error', `Codex was not found again: ${messageOf(error)}`));
    if (this.host.isClosed()) return;
    const stored = await journal.load();
    for (const one of stored.damaged) this.damaged(one);
    const back: Restored[] = [];
    for (const one of this.withoutTooOld(stored.tasks)) {
      if (this.host.isClosed()) return;
      // What is wrong with one task is no reason to lose the others.
      const task = await this.bringBack(one).catch((error: unknown) => {
        const { id } = one.snapshot;
        this.damaged({ id, dir: journal.paths(id).dir, reason: messageOf(error) });
        return null;
      });
      if (task) back.push({ task, request: one.request });
    }
    if (this.host.isClosed()) return;
    await agent.catchUp();
    if (this.host.isClosed()) return;
    const going = back.map((one) => this.letGoOn(one));
    // They ask at once, so that they are told as asking; one that continues by itself takes longer.
    await Promise.race([Promise.all(going), delay(restoreLimitMs)]);
  }

  private damaged(task: DamagedTask): void {
    if (this.host.has(task.id)) return;
    this.host.log('error', `The task in ${task.dir} could not be brought back: ${task.reason}`);
    this.host.addDamaged(task);
  }

  private withoutTooOld(stored: readonly StoredTask[]): readonly StoredTask[] {
    const ended = stored.filter(({ snapshot }) => snapshot.endedAt !== null);
    const tooOld = new Set(ended.slice(0, Math.max(0, ended.length - finishedLimit)));
    for (const { snapshot } of tooOld) this.host.journal.remove(snapshot.id);
    return stored.filter((one) => !tooOld.has(one));
  }

  private async bringBack(stored: StoredTask): Promise<Task | null> {
    const { snapshot, request } = stored;
    const { id, endedAt, threadId, gated } = snapshot;
    const { agent, journal, now } = this.host;
    if (this.host.has(id)) return null;
    // No longer than from now on, should the clock have been set back.
    const leftMs = Math.min(request.keepAliveMs, (endedAt ?? now()) + request.keepAliveMs - now());
    if (endedAt !== null && leftMs <= 0) {
      journal.remove(id);
      return null;
    }
    const history = endedAt === null && threadId !== null ? journal.history(id) : null;
    const { task, thread } = this.host.make(snapshot, request);
    await task.restore(stored, (sink) =>
      threadId === null ? null : agent.adopt(thread, { id: threadId, gated }, sink, history),
    );
    this.host.add(task);
    if (endedAt !== null) this.host.keepEnded(task, leftMs);
    return task;
  }

  private async letGoOn({ task, request }: Restored): Promise<void> {
    await task.caughtUp();
    if (this.host.isClosed()) return;
    const { status, startedAt } = task.snapshot();
    const now = this.host.now();
    if (status === 'submitted') this.host.schedule(task, request);
    else if (!task.terminal) this.host.isAtWork(task, request, Math.max(0, now - (startedAt ?? now)));
  }
}
