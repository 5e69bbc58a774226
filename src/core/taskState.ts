import type { TaskError } from './errors';
import type { TurnOutcome } from './taskEvent';

/** The status that callers see. */
export type TaskStatus = 'submitted' | 'working' | 'input_required' | 'completed' | 'failed' | 'cancelled';

/** Why a running task is being stopped, which is also how it ends. */
export type StopReason = { readonly kind: 'cancelled' } | { readonly kind: 'failed'; readonly error: TaskError };

/** How a task ends once its last processes are gone. */
export type Ending = { readonly kind: 'completed' } | StopReason;

/**
 * A task's state. `settling` and `stopping` are still work: the turn is over or on its way out, but a process of the
 * task may be alive, so callers see `working` until the evidence is there.
 */
export type TaskState =
  | { readonly kind: 'submitted' }
  /** `turnId` is null between the request for a turn and its start. */
  | { readonly kind: 'working'; readonly turnId: string | null }
  | { readonly kind: 'input_required'; readonly turnId: string; readonly requestIds: readonly string[] }
  | { readonly kind: 'settling'; readonly ending: Ending }
  | { readonly kind: 'stopping'; readonly reason: StopReason }
  | { readonly kind: 'completed' }
  | { readonly kind: 'failed'; readonly error: TaskError }
  | { readonly kind: 'cancelled' };

export type StateEvent =
  | { readonly type: 'turnRequested' }
  | { readonly type: 'turnStarted'; readonly turnId: string }
  | {
      readonly type: 'turnCompleted';
      readonly turnId: string;
      readonly outcome: TurnOutcome;
      readonly error: TaskError | null;
    }
  | { readonly type: 'requestOpened'; readonly requestId: string; readonly turnId: string }
  | { readonly type: 'requestClosed'; readonly requestId: string }
  | { readonly type: 'stopRequested'; readonly reason: StopReason }
  /** No process of the task is alive any more. */
  | { readonly type: 'ended' };

/** Pure: the next state, or the same object when the event does not apply. */
export function reduce(state: TaskState, event: StateEvent): TaskState {
  switch (event.type) {
    case 'turnRequested':
      return isTerminal(state) || state.kind === 'submitted' || state.kind === 'settling'
        ? { kind: 'working', turnId: null }
        : state;
    case 'turnStarted':
      // Codex can start a turn by itself, also after the last one ended: that is work again.
      if (state.kind === 'stopping') return state;
      // A user's MCP server can ask before the turn has started: what is asked stays asked.
      if (state.kind === 'input_required') return { ...state, turnId: event.turnId };
      return { kind: 'working', turnId: event.turnId };
    case 'turnCompleted':
      return afterTurn(state, event);
    case 'requestOpened':
      return withRequest(state, event.requestId, event.turnId);
    case 'requestClosed':
      return withoutRequest(state, event.requestId);
    case 'stopRequested':
      return isTerminal(state) || state.kind === 'stopping' ? state : { kind: 'stopping', reason: event.reason };
    case 'ended':
      if (state.kind === 'stopping') return state.reason;
      return state.kind === 'settling' ? state.ending : state;
  }
}

function afterTurn(state: TaskState, event: StateEvent & { type: 'turnCompleted' }): TaskState {
  if (state.kind !== 'working' && state.kind !== 'input_required') return state;
  if (state.turnId !== null && state.turnId !== event.turnId) return state;
  return { kind: 'settling', ending: endingOf(event) };
}

/** How a task ends whose last turn ended so. */
export function endingOf({
  outcome,
  error,
}: {
  readonly outcome: TurnOutcome;
  readonly error: TaskError | null;
}): Ending {
  switch (outcome) {
    case 'completed':
      return { kind: 'completed' };
    case 'interrupted':
      return { kind: 'cancelled' };
    case 'failed':
      return { kind: 'failed', error: error ?? unexplainedFailure };
  }
}

const unexplainedFailure: TaskError = {
  code: 'internal',
  message: 'Codex ended the turn as failed and gave no reason.',
  retryable: true,
  hint: 'Read the log of the task, then send a message to try again.',
};

function withRequest(state: TaskState, requestId: string, turnId: string): TaskState {
  // A request may name no turn, or another thread's: the turn that the task knows stays.
  if (state.kind === 'working') {
    return { kind: 'input_required', turnId: state.turnId ?? turnId, requestIds: [requestId] };
  }
  if (state.kind !== 'input_required') return state;
  return { ...state, requestIds: [...state.requestIds, requestId] };
}

function withoutRequest(state: TaskState, requestId: string): TaskState {
  if (state.kind !== 'input_required') return state;
  const requestIds = state.requestIds.filter((id) => id !== requestId);
  return requestIds.length === 0 ? { kind: 'working', turnId: state.turnId } : { ...state, requestIds };
}

/** Whether nothing of the task runs any more. A message can still make it work again. */
export function isTerminal(state: TaskState): boolean {
  return state.kind === 'completed' || state.kind === 'failed' || state.kind === 'cancelled';
}

export function statusOf(state: TaskState): TaskStatus {
  return state.kind === 'settling' || state.kind === 'stopping' ? 'working' : state.kind;
}

/** Whether a status is one that a task ends with. */
export function isTerminalStatus(status: TaskStatus): boolean {
  return status === 'completed' || status === 'failed' || status === 'cancelled';
}
