/** An error whose message may be shown to a person as it stands: what happened, and what to do next. */
export class HumanError extends Error {
  override name = 'HumanError';
}

/** Why a call was refused; the closed set that callers may rely on. */
export const callErrorCodes = [
  'invalid_argument',
  'not_found',
  'not_available',
  'policy_denied',
  'policy_unenforceable',
  'approval_required',
  'approval_timeout',
  'not_active',
  'no_pending_request',
  'already_answered',
  'queue_full',
  'full_access_not_allowed',
  'codex_not_found',
  'codex_too_old',
  'codex_not_logged_in',
  'codex_unavailable',
  'store_unavailable',
  'workspace_not_trusted',
  'shutting_down',
  'internal',
] as const;
export type CallErrorCode = (typeof callErrorCodes)[number];

export interface CallErrorOptions {
  /** What the caller can do now, in one sentence. */
  readonly hint: string;
  readonly retryable?: boolean;
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

/** A refused call: a code for programs, a message and a hint for people and models. */
export class CallError extends HumanError {
  override name = 'CallError';
  readonly hint: string;
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;

  readonly code: CallErrorCode;

  constructor(code: CallErrorCode, message: string, options: CallErrorOptions) {
    super(message, { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.retryable = options.retryable ?? false;
    this.retryAfterMs = options.retryAfterMs;
  }
}

export function invalidArgument(message: string, hint: string): CallError {
  return new CallError('invalid_argument', message, { hint });
}

/** Why a task failed. */
export const taskErrorCodes = [
  'timeout',
  'idle_timeout',
  'dependency_failed',
  'codex_crashed',
  'usage_limit',
  'rate_limited',
  'model_error',
  'model_unreachable',
  'unauthorized',
  'context_window',
  'sandbox_error',
  'bad_request',
  'internal',
] as const;
export type TaskErrorCode = (typeof taskErrorCodes)[number];

/** A failed task's error, as callers see it. */
export interface TaskError {
  readonly code: TaskErrorCode;
  readonly message: string;
  /** Whether the same work may succeed when it is tried again without a change. */
  readonly retryable: boolean;
  readonly hint: string;
}

/** Thrown by an agent that knows why a task cannot go on. */
export class TaskFailedError extends HumanError {
  override name = 'TaskFailedError';

  readonly error: TaskError;

  constructor(error: TaskError, cause?: unknown) {
    super(error.message, { cause });
    this.error = error;
  }
}

/** The text of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Where anything that was thrown comes from, for a log. */
export function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** What a thrown error means for a task that runs already. */
export function taskErrorOf(error: unknown): TaskError {
  if (error instanceof TaskFailedError) return error.error;
  if (error instanceof CallError) {
    return { code: 'internal', message: error.message, retryable: error.retryable, hint: error.hint };
  }
  return {
    code: 'internal',
    message: messageOf(error),
    retryable: true,
    hint: 'Read the log of the worker, then send a message to try again.',
  };
}
