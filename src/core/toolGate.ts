import type { Event } from './emitter';
import type { CallerId } from './caller';
import type { TaskId } from './taskId';

/** What a person can say when a rule wants an approval. */
export const approvalChoices = ['once', 'session', 'deny'] as const;
export type ApprovalChoice = (typeof approvalChoices)[number];

/** A call that waits for a person. */
export interface ApprovalQuestion {
  readonly id: string;
  readonly caller: CallerId;
  /** Name and version of the caller's program, as far as it said. */
  readonly client: string | null;
  readonly tool: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly rule: string;
  readonly reason: string;
  /** When it is over, in ms since the epoch. */
  readonly expiresAt: number;
}

/** One call of a tool, before it runs. */
export interface GatedCall {
  readonly tool: string;
  readonly args: Readonly<Record<string, unknown>>;
  /** What rules look at: the arguments with all defaults; absent: the arguments. */
  readonly judged?: Readonly<Record<string, unknown>>;
  /** The call waits as well, as wait-task with these arguments would; absent or null: it does not. */
  readonly waits?: Readonly<Record<string, unknown>> | null;
  readonly caller: CallerId;
  readonly client: string | null;
  /** Aborted when the caller wants no answer any more. */
  readonly signal: AbortSignal;
  /** Shows the caller what is waited for; absent when it does not want that. */
  readonly progress: ((message: string) => void) | undefined;
  /** Asks the person behind the caller; absent when that cannot be. Rejects when the signal aborts. */
  readonly ask: ((question: ApprovalQuestion, signal: AbortSignal) => Promise<ApprovalChoice>) | undefined;
}

/** Decides which calls of tools may run. */
export interface ToolGate {
  /** Whether a tool is to look as if it were not there. */
  isHidden(tool: string): boolean;
  /** Whether a caller may never see tasks, so that no resource may show them either. */
  readonly hidesTasks: boolean;
  /** Whether a caller may not see this one. */
  hidesTask(id: TaskId, caller: CallerId): boolean;
  /** What is hidden may have changed. */
  readonly onDidChange: Event<undefined>;
  /** Runs an allowed call, and says whether it may wait as well. Throws a `CallError` for one that is not: `policy_denied`, `approval_required`, `approval_timeout`. */
  pass<T>(call: GatedCall, run: (mayWait: boolean) => Promise<T>): Promise<T>;
  /** Takes note of a call that was no call. */
  noteMalformed(caller: CallerId, client: string | null, tool: string, text: string): void;
}
