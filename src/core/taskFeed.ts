import { type Disposable, DisposableStore } from './disposable';
import { Emitter } from './emitter';
import type { Journal, Unsaid } from './ports';
import type { Task, TaskObserver } from './task';
import type { TaskId } from './taskId';
import type { TaskSnapshot } from './taskSnapshot';
import { formatClock, type LogEntry } from './transcript';

const updateIntervalMs = 100;

/** Tells what happens to tasks: to listeners, at once or at most ten times a second, and to the journal. */
export class TaskFeed implements TaskObserver, Disposable {
  private readonly owned = new DisposableStore();
  private readonly changed = new Set<Task>();
  private timer: NodeJS.Timeout | undefined;
  private readonly statusEmitter = this.owned.add(new Emitter<TaskSnapshot>());
  private readonly updateEmitter = this.owned.add(new Emitter<readonly TaskSnapshot[]>());
  private readonly textEmitter = this.owned.add(new Emitter<{ readonly id: TaskId; readonly text: string }>());
  private readonly journal: Journal;
  private readonly now: () => number;

  /** A status, a pending request or an answer changed; at once. */
  readonly onDidChangeStatus = this.statusEmitter.event;
  /** Tasks changed in any way; at most ten times a second. */
  readonly onDidUpdate = this.updateEmitter.event;
  /** Text was added to the transcript of a task. */
  readonly onDidAppendText = this.textEmitter.event;

  constructor(journal: Journal, now: () => number) {
    this.journal = journal;
    this.now = now;
  }

  onChange(task: Task, statusChanged: boolean): void {
    this.changed.add(task);
    this.timer ??= setTimeout(() => this.fireUpdates(), updateIntervalMs);
    if (!statusChanged) return;
    const snapshot = task.snapshot();
    this.journal.saveMeta(snapshot);
    this.statusEmitter.fire(snapshot);
  }

  onLog(task: Task, entry: LogEntry): void {
    const { id } = task;
    const clock = formatClock(this.now());
    if (entry.timeline !== undefined) this.journal.append(id, 'timeline', `${clock} ${entry.timeline}\n`);
    if (entry.summary !== undefined) this.journal.append(id, 'summary', `[${clock}] ${entry.summary}\n`);
    if (entry.verbose === undefined || entry.verbose === '') return;
    this.journal.append(id, 'verbose', entry.verbose);
    this.textEmitter.fire({ id, text: entry.verbose });
  }

  onRaw(task: Task, json: string, position: number | null): void {
    const at = position === null ? '' : `"n":${position},`;
    this.journal.append(task.id, 'events', `{"t":${this.now()},${at}${json.slice(1)}\n`);
  }

  onUnsaid(task: Task, unsaid: Unsaid): void {
    this.journal.saveUnsaid(task.id, unsaid);
  }

  onAnswered(task: Task): void {
    this.journal.saveMeta(task.snapshot());
  }

  settled(): Promise<unknown> {
    return this.journal.flush();
  }

  dispose(): void {
    clearTimeout(this.timer);
    this.owned.dispose();
  }

  private fireUpdates(): void {
    this.timer = undefined;
    const snapshots = [...this.changed].map((task) => task.snapshot());
    this.changed.clear();
    this.updateEmitter.fire(snapshots);
  }
}
