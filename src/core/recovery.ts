import { type TaskError, TaskFailedError } from './errors';
import type { Decision, PendingRequest, RecoveryQuestion } from './pendingRequest';
import type { AgentRequest, TurnInput } from './ports';
import type { TaskSnapshot } from './taskSnapshot';
import type { TaskPast } from './taskPast';
import { endingOf, type TaskState } from './taskState';
import { formatDuration } from './transcript';
import { timeOf } from './usageLimits';

/** What a task asks, and does, when its agent stopped or keeps silent. */

export const continueQuestion = 'Codex stopped in the middle of this turn. Continue in a new one?';

export const reopenQuestion = 'The window was closed in the middle of this turn. Continue in a new one?';

/** Why a task of an earlier run fails when it shall not go on. */
export const interrupted: TaskError = {
  code: 'codex_crashed',
  message: 'The window was closed in the middle of this turn.',
  retryable: true,
  hint: 'Send a message to go on; the thread is kept.',
};

const continueText =
  'The program that ran this turn stopped in the middle of it. Look at what is done already, then go on with the task.';

const afterLimitText =
  'The usage limit of the plan ended the turn before this one. Look at what is done already, then go on with the task.';

/** The turn that continues one of the same task which `error` ended. */
export function continuation({ planMode, outputSchema }: TurnInput, error: TaskError): TurnInput {
  const text = isUsedUp(error) ? afterLimitText : continueText;
  return { text, model: null, reasoning: null, planMode, outputSchema };
}

/** Whether the account's plan is used up until its reset. */
export function isUsedUp({ code, retryable }: TaskError): boolean {
  return code === 'usage_limit' && retryable;
}

/** What a task asks that goes on by itself when its plan can be used again. */
export function limitQuestion(goesOnAt: number, now: number): RecoveryQuestion {
  const message = `The usage limit of the plan is reached. The task goes on by itself ${timeOf(goesOnAt, now)}. Go on now?`;
  return { type: 'recovery', message, goesOnAt };
}

/** When a task of an earlier run was to go on by itself; null when it was not. */
export function resumptionOf(pending: readonly PendingRequest[]): number | null {
  for (const { question } of pending) if (question.type === 'recovery') return question.goesOnAt ?? null;
  return null;
}

/** Whether the agent's program ended, which the thread tells, too. */
export function isCrash(error: unknown): boolean {
  return error instanceof TaskFailedError && error.error.code === 'codex_crashed';
}

export function silenceQuestion(limitMs: number): string {
  return `Codex has shown no sign of life for ${formatDuration(limitMs)}. Wait once more?`;
}

export function silenceError(limitMs: number): TaskError {
  return {
    code: 'idle_timeout',
    message: `Codex showed no sign of life for ${formatDuration(limitMs)}, and nobody wanted to wait on.`,
    retryable: true,
    hint: 'Look at its partial work, then send a message to go on.',
  };
}

/** A question of the worker's own, in the form of the agent's: `resolved` confirms the answer as the agent would. */
export function recoveryRequest(
  key: string,
  question: RecoveryQuestion,
  resolved: (key: string) => void,
  onDecision: (decision: Decision) => void,
): AgentRequest {
  return {
    key,
    turnId: '',
    question,
    answer: (answer) => {
      resolved(key);
      onDecision(answer.kind === 'decision' ? answer.decision : 'reject');
    },
  };
}

/**
 * The state of a task of an earlier run, and of its turns as their events tell; `asked` when a turn was asked for that has
 * not begun. Without a turn nothing of it ran.
 */
export function restoredState(task: TaskSnapshot, past: TaskPast | null, asked: boolean): TaskState {
  const { status, error, threadId, turns, stopReason } = task;
  switch (status) {
    case 'completed':
    case 'cancelled':
      return { kind: status };
    case 'failed':
      return { kind: 'failed', error: error ?? interrupted };
    case 'submitted':
    case 'working':
    case 'input_required':
      if (stopReason !== null) return { kind: 'stopping', reason: stopReason };
      if (past?.turnId !== null && past?.turnId !== undefined) return { kind: 'working', turnId: past.turnId };
      if (past?.ended && !asked) return { kind: 'settling', ending: endingOf(past.ended) };
      return threadId !== null && (turns > 0 || status !== 'submitted')
        ? { kind: 'working', turnId: null }
        : { kind: 'submitted' };
  }
}
