import { DisposableStore } from '../core/disposable';
import { Emitter } from '../core/emitter';
import { CallError } from '../core/errors';
import type { PendingRequest } from '../core/pendingRequest';
import type { TaskId } from '../core/taskId';
import type { TaskManager } from '../core/taskManager';
import type { CaredFor, WaitAbout } from '../core/waiting';
import { type ElicitationForm, elicitationForm } from './elicitation';
import type { Elicit, ToolCall } from './tools/tool';

export interface ElicitationsOptions {
  readonly tasks: TaskManager;
  readonly call: ToolCall;
  readonly elicit: Elicit;
  readonly about: WaitAbout;
  readonly timeoutMs: number;
}

interface AskedRequest {
  readonly taskId: TaskId;
  readonly request: PendingRequest;
  readonly form: ElicitationForm;
}

/** How often a person is asked again whose answer did not fit. */
const tries = 3;

/**
 * While a caller waits: puts to the person behind it, one after the other, what the tasks ask that it was not told of. What
 * the person leaves open is news to the caller again.
 */
export class Elicitations implements CaredFor {
  private readonly owned = new DisposableStore();
  private readonly left = this.owned.add(new Emitter<undefined>());
  /** Requests that were asked or wait for their turn, and those that the person left to others. */
  private readonly cared = new Set<string>();
  private readonly seen = new Set<string>();
  private readonly over = new AbortController();
  private asking: Promise<void> = Promise.resolve();
  private readonly options: ElicitationsOptions;
  readonly onDidLeave = this.left.event;

  constructor(options: ElicitationsOptions) {
    this.options = options;
    this.owned.add(options.tasks.feed.onDidChangeStatus(({ id }) => this.look(id)));
    for (const { id } of options.tasks.snapshots()) this.look(id);
  }

  has(taskId: TaskId, requestId: string): boolean {
    return this.cared.has(keyOf(taskId, requestId));
  }

  /** Takes back what is asked: the wait is over. */
  dispose(): void {
    this.over.abort(new Error('The wait is over.'));
    this.owned.dispose();
  }

  private look(taskId: TaskId): void {
    const { tasks, call, about } = this.options;
    const task = tasks.tryGet(taskId);
    if (!task || !tasks.isAbout(about, call.caller, task)) return;
    for (const request of tasks.untold(call.caller, taskId)) {
      const key = keyOf(taskId, request.id);
      const form = this.seen.has(key) ? undefined : elicitationForm(task, request);
      this.seen.add(key);
      if (!form) continue;
      this.cared.add(key);
      this.asking = this.asking.then(() => this.ask({ taskId, request, form }));
    }
  }

  private async ask(asked: AskedRequest): Promise<void> {
    const answered = await this.askPerson(asked);
    if (answered) return;
    this.cared.delete(keyOf(asked.taskId, asked.request.id));
    this.left.fire(undefined);
  }

  /** Whether the request was answered, by the person or meanwhile by somebody else. Never rejects. */
  private async askPerson({ taskId, request, form }: AskedRequest): Promise<boolean> {
    const { tasks, call, elicit, timeoutMs } = this.options;
    const elsewhere = new AbortController();
    const isOpen = (): boolean => tasks.tryGet(taskId)?.pending.some(({ id }) => id === request.id) ?? false;
    const subscription = tasks.feed.onDidChangeStatus(() => {
      if (!isOpen()) elsewhere.abort(new Error('Somebody else answered.'));
    });
    const signal = AbortSignal.any([call.signal, this.over.signal, elsewhere.signal]);
    let { params } = form;
    try {
      for (let attempt = 0; attempt < tries && isOpen() && !signal.aborted; attempt++) {
        const answer = form.answerOf(await elicit(params, { signal, timeoutMs }));
        if (!answer) return false;
        const problem = await tasks
          .respond(taskId, request.id, answer, { by: 'person', caller: call.caller })
          .then(() => null, misfit);
        if (problem === null) return true;
        params = { ...form.params, message: `${problem}\n\n${form.params.message}` };
      }
      return !isOpen();
    } catch {
      // It was withdrawn, or the client cannot be asked: the caller is told of it like of any other.
      return !isOpen();
    } finally {
      subscription.dispose();
    }
  }
}

/** What was wrong with an answer; anything else than a misfit is thrown. */
function misfit(error: unknown): string {
  if (error instanceof CallError && error.code === 'invalid_argument') return `${error.message} ${error.hint}`;
  throw error;
}

function keyOf(taskId: TaskId, requestId: string): string {
  return `${taskId}/${requestId}`;
}
