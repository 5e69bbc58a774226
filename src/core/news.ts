import type { CallerId } from './caller';
import type { AnsweredRequest, PendingRequest } from './pendingRequest';
import type { TaskSnapshot } from './taskSnapshot';
import { isTerminalStatus } from './taskState';

const callerLimit = 200;
const named = 'named';

/** Remembers per caller what it was told, so that a wait ends on news only. */
export class News {
  /** Ends of tasks of an earlier run: nobody waits for them. */
  private readonly old = new Set<string>();
  private readonly told = new Map<CallerId, Map<string, Set<string>>>();

  /** Whether a task is the caller's: it spawned it, or named it before. */
  isOwn(caller: CallerId, { id, spawnedBy }: TaskSnapshot): boolean {
    return spawnedBy === caller || (this.told.get(caller)?.get(id)?.has(named) ?? false);
  }

  /** The caller named a task, which is its own from now on. */
  name(caller: CallerId, taskId: string): void {
    this.of(caller, taskId).add(named);
  }

  /** An answer by somebody else or an end that this caller was not told of. */
  has(caller: CallerId, task: TaskSnapshot): boolean {
    const told = this.of(caller, task.id);
    return this.newAnswers(caller, task).length > 0 || (isEnded(task) && !told.has(endKey(task)));
  }

  /** The pending requests that this caller was not told of, oldest first. */
  untold(caller: CallerId, task: TaskSnapshot): readonly PendingRequest[] {
    const told = this.of(caller, task.id);
    return task.pending.filter((request) => !told.has(request.id));
  }

  /** Answers by others to requests that this caller was told of, oldest first. */
  newAnswers(caller: CallerId, task: TaskSnapshot): readonly AnsweredRequest[] {
    const told = this.of(caller, task.id);
    return task.answers.filter((answer) => isNews(answer, told));
  }

  hasUnreportedEnd(caller: CallerId, task: TaskSnapshot): boolean {
    return isEnded(task) && !this.old.has(`${task.id} ${endKey(task)}`) && !this.of(caller, task.id).has(endKey(task));
  }

  /** Marks what a snapshot says as told; of its pending requests only the one that the caller is shown in full. */
  report(caller: CallerId, task: TaskSnapshot, shownRequest: string | undefined): void {
    const told = this.of(caller, task.id);
    if (shownRequest !== undefined) told.add(shownRequest);
    for (const { id } of task.answers) told.add(answerKey(id));
    if (isEnded(task)) told.add(endKey(task));
  }

  /** The end of a task of an earlier run is news to nobody. */
  markOld(task: TaskSnapshot): void {
    this.old.add(`${task.id} ${endKey(task)}`);
  }

  /** The caller answered the request itself. */
  answeredBy(caller: CallerId, taskId: string, requestId: string): void {
    this.of(caller, taskId).add(answerKey(requestId));
  }

  forget(taskId: string): void {
    for (const tasks of this.told.values()) tasks.delete(taskId);
  }

  private of(caller: CallerId, taskId: string): Set<string> {
    const tasks = this.told.get(caller) ?? new Map<string, Set<string>>();
    // The caller that was quiet for longest goes first.
    this.told.delete(caller);
    this.told.set(caller, tasks);
    const oldest = this.told.keys().next();
    if (this.told.size > callerLimit && !oldest.done) this.told.delete(oldest.value);
    const told = tasks.get(taskId) ?? new Set<string>();
    tasks.set(taskId, told);
    return told;
  }
}

/** What the end of its turn withdrew is no news: the end of the task is, which comes next. */
function isNews({ id, by }: AnsweredRequest, told: ReadonlySet<string>): boolean {
  return by !== 'stop' && told.has(id) && !told.has(answerKey(id));
}

function isEnded(task: TaskSnapshot): boolean {
  return isTerminalStatus(task.status);
}

function answerKey(requestId: string): string {
  return `answer:${requestId}`;
}

/** A task that works again ends anew. */
function endKey(task: TaskSnapshot): string {
  return `end:${task.turns}:${task.endedAt ?? 0}`;
}
