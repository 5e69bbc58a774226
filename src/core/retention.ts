import { Deadlines } from './deadlines';
import { type Disposable, DisposableStore } from './disposable';
import type { Journal, Log } from './ports';
import type { Task } from './task';
import type { TaskId } from './taskId';

/** Finished tasks that are kept, and bytes that the files of all tasks may take. */
export const finishedLimit = 500;
const bytesLimit = 1024 ** 3;
const measureAfterMs = 10_000;

export interface RetentionHost {
  readonly journal: Pick<Journal, 'sizes'>;
  readonly log: Log;
  /** All of them, oldest first. */
  tasks(): readonly Task[];
  remove(id: TaskId): void;
}

/** Has finished tasks forgotten: after their time, beyond a number, and when the files of all tasks take too much room. */
export class Retention implements Disposable {
  private readonly owned = new DisposableStore();
  private readonly expiries = this.owned.add(new Deadlines());
  private measuring: NodeJS.Timeout | undefined;
  private readonly host: RetentionHost;

  constructor(host: RetentionHost) {
    this.host = host;
  }

  /** The task has ended; it is kept for its time, or for what is left of it, in ms. */
  ended({ id, spec }: Task, leftMs = spec.keepAliveMs): void {
    this.expiries.set(id, leftMs, () => this.host.remove(id));
    this.measuring ??= setTimeout(() => void this.keepWithinBytes(), measureAfterMs).unref();
  }

  /** The task works again, or is gone. */
  clear(id: TaskId): void {
    this.expiries.clear(id);
  }

  /** Keeps memory bounded: beyond the limit the oldest of the finished tasks go. */
  keepWithinNumber(): void {
    const finished = this.finished();
    for (const task of finished.slice(0, Math.max(0, finished.length - finishedLimit))) this.host.remove(task.id);
  }

  dispose(): void {
    clearTimeout(this.measuring);
    this.owned.dispose();
  }

  private async keepWithinBytes(): Promise<void> {
    this.measuring = undefined;
    const sizes = await this.host.journal.sizes(this.host.tasks().map(({ id }) => id));
    let left = [...sizes.values()].reduce((sum, size) => sum + size, 0);
    for (const { id } of this.finished()) {
      if (left <= bytesLimit) return;
      left -= sizes.get(id) ?? 0;
      this.host.log('info', `Task ${id} is forgotten: the files of all tasks took more than ${bytesLimit} bytes.`);
      this.host.remove(id);
    }
  }

  private finished(): Task[] {
    return this.host.tasks().filter((task) => task.terminal);
  }
}
