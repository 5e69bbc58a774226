import { callerId, type CallerId, clientOf } from './caller';
import { CallError } from './errors';
import { type ApprovalPolicy, approvalPolicies, type Sandbox, sandboxes } from './ports';
import type { TaskId } from './taskId';
import type { TaskSnapshot } from './taskSnapshot';

/** A person can allow tasks to start tasks, and those to start others, so deep. */
export const deepestNesting = 3;

const mark = '#task:';

/** Who calls from inside a task. It is of the client of that task, whose limits hold for it too. */
export function callerInside({ id, spawnedBy }: Pick<TaskSnapshot, 'id' | 'spawnedBy'>): CallerId {
  return callerId(clientOf(spawnedBy), `task:${id}`);
}

/** Who calls from inside a task that nobody knows: it may do nothing. */
export const insideUnknownTask = callerId('nested', 'task:unknown');

/** The task that a caller works inside of; null for a caller outside of tasks. */
export function outerTaskOf(caller: CallerId): TaskId | null {
  const at = caller.indexOf(mark);
  return at < 0 ? null : caller.slice(at + mark.length);
}

type Known = Pick<TaskSnapshot, 'spawnedBy' | 'sandbox' | 'approvalPolicy' | 'endedAt'>;

/** What a task may be, from the least to the most that it can do unasked. */
interface Rights {
  readonly sandbox: Sandbox;
  readonly approvalPolicy: ApprovalPolicy;
}

/** Each in the order from narrow to wide. */
const widths = { sandbox: sandboxes, approvalPolicy: approvalPolicies } as const;
const fields = { sandbox: 'sandbox', approvalPolicy: 'approval_policy' } as const;

/** What callers inside tasks may do: no more than their task, and only to what is below it. */
export class Nesting {
  private readonly find: (id: TaskId) => Known | undefined;
  private readonly limit: () => number;

  /** `limit` is how deep tasks may start tasks: 0 for not at all. */
  constructor(find: (id: TaskId) => Known | undefined, limit: () => number) {
    this.find = find;
    this.limit = limit;
  }

  /** Whether a task may start tasks. */
  mayNest(id: TaskId): boolean {
    const task = this.find(id);
    return task !== undefined && this.depthOf(task.spawnedBy) < this.limit();
  }

  /** Throws `policy_denied` for a caller that may start no work. */
  assertMayWork(caller: CallerId): void {
    if (outerTaskOf(caller) === null || this.depthOf(caller) <= this.limit()) return;
    throw new CallError('policy_denied', 'Tasks may not start tasks here, or not so deep.', {
      hint: `Do the work yourself. The person can allow it: the setting "codexWorker.nestedTasks", or --nested-tasks for the program (0 to ${deepestNesting}).`,
    });
  }

  /** Throws `policy_denied` for a task that is not below the caller's own. */
  assertReaches(caller: CallerId, ids: readonly TaskId[]): void {
    const foreign = ids.find((id) => !this.reaches(caller, id));
    if (foreign === undefined) return;
    throw new CallError('policy_denied', `Task ${foreign} is none that this task started.`, {
      hint: 'Name only tasks that you spawned yourself.',
    });
  }

  /** Whether a caller may see a task at all. */
  reaches(caller: CallerId, id: TaskId): boolean {
    const outer = outerTaskOf(caller);
    return outer === null || this.outerOf(id).includes(outer);
  }

  /** What a new task of the caller may be: what it wants, or narrower where it named nothing. Throws `policy_denied`. */
  within(caller: CallerId, wanted: Rights, named: Partial<{ [K in keyof Rights]: Rights[K] | undefined }>): Rights {
    const outer = outerTaskOf(caller);
    const own = outer === null ? undefined : this.find(outer);
    if (!own) return wanted;
    const narrow = <K extends keyof Rights>(key: K): Rights[K] => {
      const order: readonly Rights[K][] = widths[key] as never;
      if (order.indexOf(wanted[key]) <= order.indexOf(own[key])) return wanted[key];
      if (named[key] === undefined) return own[key];
      throw new CallError(
        'policy_denied',
        `${fields[key]}: "${wanted[key]}" is more than "${own[key]}" of this task.`,
        {
          hint: `Leave it out, or use "${own[key]}".`,
        },
      );
    };
    return { sandbox: narrow('sandbox'), approvalPolicy: narrow('approvalPolicy') };
  }

  /** Whether a task works for one that is not at its end, in whose place it works. */
  sharesPlace({ spawnedBy }: Pick<TaskSnapshot, 'spawnedBy'>): boolean {
    const outer = outerTaskOf(spawnedBy);
    const task = outer === null ? undefined : this.find(outer);
    return task?.endedAt === null;
  }

  /** The tasks that a task is inside of, the next one first. */
  outerOf(id: TaskId): readonly TaskId[] {
    const found: TaskId[] = [];
    let at = outerTaskOf(this.find(id)?.spawnedBy ?? '');
    while (at !== null && !found.includes(at)) {
      found.push(at);
      at = outerTaskOf(this.find(at)?.spawnedBy ?? '');
    }
    return found;
  }

  /** How many tasks a caller works inside of; more than any limit where one of them is gone. */
  private depthOf(caller: CallerId): number {
    const outer = outerTaskOf(caller);
    if (outer === null) return 0;
    const all = [outer, ...this.outerOf(outer)];
    return all.every((id) => this.find(id)) ? all.length : Number.POSITIVE_INFINITY;
  }
}
