import { howToAnswer } from './checkAnswer';
import { describeAnswerer } from './describeRequest';
import { CallError, invalidArgument } from './errors';
import type { AnsweredRequest, PendingRequest } from './pendingRequest';
import type { TaskSnapshot } from './taskSnapshot';

/**
 * The pending request that an answer means: the named one, or the only one. Throws a refusal that says what is pending, or
 * who was first.
 */
export function findPending(task: TaskSnapshot, requestId: string | undefined): PendingRequest {
  if (requestId === undefined && task.pending.length > 1) {
    throw invalidArgument(`request_id: task ${task.id} has several pending requests.`, whatIsPending(task));
  }
  const found = task.pending.find((request) => requestId === undefined || request.id === requestId);
  if (found) return found;
  const answer = requestId === undefined ? task.answered : task.answers.find((one) => one.id === requestId);
  if (answer) throw alreadyAnswered(answer, task);
  const what = requestId === undefined ? 'no pending request' : `no pending request "${requestId}"`;
  throw new CallError('no_pending_request', `Task ${task.id} is ${task.status} and has ${what}.`, {
    hint: whatIsPending(task),
  });
}

function alreadyAnswered({ id, by, outcome }: AnsweredRequest, task: TaskSnapshot): CallError {
  const message =
    by === 'stop' || by === 'codex'
      ? `Request ${id} was ${outcome} ${describeAnswerer(by)}, so nobody waits for an answer.`
      : `Request ${id} was already answered ${describeAnswerer(by)}: ${outcome}.`;
  return new CallError('already_answered', message, { hint: whatIsPending(task) });
}

/** The answer was sent, but Codex had stopped waiting for it. */
export function tooLate(request: PendingRequest, task: TaskSnapshot): CallError {
  const message = `The answer to request ${request.id} reached Codex too late: its turn had ended.`;
  return new CallError('already_answered', message, { hint: whatIsPending(task) });
}

function whatIsPending({ pending }: TaskSnapshot): string {
  if (pending.length === 0) return 'The task waits for no answer; call wait-task to see how it goes on.';
  return `Pending: ${pending.map(({ id, question }) => `${id} (${question.type}: ${howToAnswer(question)})`).join(' ')}`;
}
