import type { PendingRequest } from '../core/pendingRequest';
import type { TaskManager } from '../core/taskManager';
import type { TaskSnapshot } from '../core/taskSnapshot';
import { isTerminalStatus } from '../core/taskState';
import type { WaitResult } from '../core/waiting';
import { scoreboardUri } from './uris';

/** What an agent may do by itself, which decides what it is told to do next. */
export type Advice = Pick<TaskManager, 'agentMayAccept' | 'personPresent'>;

/** One sentence that says what to do now; `request` is the one that the agent was shown. */
export function nextStep(
  task: TaskSnapshot,
  advice: Advice,
  { timedOut = false, request = task.pending[0] }: { timedOut?: boolean; request?: PendingRequest | undefined } = {},
): string {
  switch (task.status) {
    case 'submitted':
    case 'working':
      return timedOut
        ? 'It goes on: call wait-task again, or work on something else and call it later.'
        : 'Call wait-task with this task_id.';
    case 'input_required':
      return request ? howToGoOn(task, request, advice) : 'Call wait-task with this task_id.';
    case 'completed':
      return 'It is done. message-task gives it more work on the same thread.';
    case 'failed':
      return task.error?.hint ?? 'Read its log.';
    case 'cancelled':
      return task.leftovers.length === 0
        ? 'It is dead. message-task makes it work again on the same thread.'
        : 'Its turn is over, but processes that may be of it are alive: see leftovers, and tell the person.';
  }
}

function howToGoOn(task: TaskSnapshot, request: PendingRequest, advice: Advice): string {
  const which = task.pending.length > 1 ? ` and request_id ${request.id}` : '';
  const how = `respond-task type ${request.question.type}${which}`;
  if (!advice.agentMayAccept(request)) return `Only the person may accept it: wait again, or refuse it with ${how}.`;
  return `Answer with ${how}${advice.personPresent ? ', or wait again: a person can answer in the editor.' : '.'}`;
}

function nextOfNone(elsewhere: WaitResult['elsewhere']): string {
  const { others = 0, recent = [] } = elsewhere ?? {};
  const ended =
    recent.length > 0 ? ' What ended lately is in recent: call wait-task with its task_id for the result.' : '';
  const running =
    others > 0 ? ` ${others} of others ${others === 1 ? 'runs' : 'run'}: task_id "all" waits for them too.` : '';
  return `No task of yours runs, and none ended without your knowing.${ended}${running} spawn-task starts one.`;
}

/** The same for several tasks. */
export function nextOfSeveral({ tasks, shown, elsewhere }: WaitResult, advice: Advice): string {
  if (tasks.length === 0) return nextOfNone(elsewhere);
  const asking = tasks.find((task) => task.id === shown?.taskId);
  if (asking && shown) return `${asking.id} asks. ${howToGoOn(asking, shown.request, advice)}`;
  if (tasks.every((task) => isTerminalStatus(task.status))) {
    return 'All of them ended. Call wait-task with one task_id for its result.';
  }
  return `Call wait-task with one task_id for its result, or without any to wait for the rest; ${scoreboardUri} shows all.`;
}
