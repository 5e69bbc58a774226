import { CallError, type TaskError } from './errors';
import type { TaskId } from './taskId';
import type { TaskStatus } from './taskState';

/** A task that has not started yet, as the scheduler sees it. */
export interface QueuedTask {
  readonly id: TaskId;
  readonly dependsOn: readonly TaskId[];
  /** Whether it works in the place of another one, and so needs none. */
  sharesPlace(): boolean;
  start(): void;
  /** Tells the task what it waits for. */
  hold(reason: string): void;
  fail(error: TaskError): void;
}

export interface SchedulerOptions {
  /** How many tasks may be at work at once; read at each look. */
  readonly limit: () => number;
  /** How many are. */
  readonly active: () => number;
  /** Undefined for a task that is gone. */
  readonly statusOf: (id: TaskId) => TaskStatus | undefined;
}

const queueLimit = 200;

interface Entry {
  readonly task: QueuedTask;
  /** The tasks whose completion it still waits for. */
  readonly waitsFor: Set<TaskId>;
}

/** Starts tasks in their order: when the tasks that they depend on are completed, and not too many at once. */
export class Scheduler {
  private readonly queue = new Map<TaskId, Entry>();
  private looking = false;
  private again = false;
  private readonly options: SchedulerOptions;

  constructor(options: SchedulerOptions) {
    this.options = options;
  }

  /** Throws `queue_full`. */
  assertRoom(): void {
    if (this.queue.size < queueLimit) return;
    throw new CallError('queue_full', `${queueLimit} tasks wait already to be started.`, {
      hint: 'Wait for some of them to end.',
      retryable: true,
    });
  }

  /** Starts the task now or when it can be. */
  add(task: QueuedTask): void {
    this.queue.set(task.id, { task, waitsFor: new Set(task.dependsOn) });
    this.look();
  }

  has(id: TaskId): boolean {
    return this.queue.has(id);
  }

  /** The task will not be started. */
  remove(id: TaskId): void {
    this.queue.delete(id);
  }

  /** Something ended, or another number may be at work. */
  look(): void {
    // What is started or failed here makes others look.
    this.again = true;
    if (this.looking) return;
    this.looking = true;
    while (this.again) {
      this.again = false;
      this.lookOnce();
    }
    this.looking = false;
  }

  private lookOnce(): void {
    let before = 0;
    let free = this.options.limit() - this.options.active();
    for (const entry of [...this.queue.values()]) {
      const { task, waitsFor } = entry;
      const failed = this.settle(waitsFor);
      if (failed !== undefined) {
        this.queue.delete(task.id);
        task.fail(dependencyFailed(failed));
      } else if (waitsFor.size > 0) {
        task.hold(`waits for ${[...waitsFor].join(', ')}`);
      } else if (task.sharesPlace() || free > 0) {
        if (!task.sharesPlace()) free--;
        this.queue.delete(task.id);
        task.start();
      } else {
        task.hold(before === 0 ? 'queued, next to start' : `queued, ${before} before it`);
        before++;
      }
    }
  }

  /** Forgets the tasks that are completed; gives one that can never be. */
  private settle(waitsFor: Set<TaskId>): TaskId | undefined {
    for (const id of waitsFor) {
      const status = this.options.statusOf(id);
      if (status === 'completed') waitsFor.delete(id);
      else if (status === undefined || status === 'failed' || status === 'cancelled') return id;
    }
    return undefined;
  }
}

function dependencyFailed(id: TaskId): TaskError {
  return {
    code: 'dependency_failed',
    message: `Task ${id}, which this one depends on, was not completed.`,
    retryable: false,
    hint: `Look at task ${id}; when it is completed, spawn this one again.`,
  };
}
