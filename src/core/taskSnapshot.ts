import type { CallerId } from './caller';
import type { TaskError } from './errors';
import { type AnsweredRequest, answersItself, type PendingRequest } from './pendingRequest';
import type { ApprovalPolicy, ProcessSummary, Sandbox } from './ports';
import type { ItemOutcome, PlanStep, TokenUsage } from './taskEvent';
import type { TaskId } from './taskId';
import type { StopReason, TaskStatus } from './taskState';

export const taskTypes = ['coder', 'planner', 'tester', 'researcher', 'general'] as const;
export type TaskType = (typeof taskTypes)[number];

/** A file that a task changed, over all its turns. */
export interface ChangedFile {
  readonly path: string;
  readonly kind: 'add' | 'update' | 'delete';
  /** Lines. */
  readonly added: number;
  readonly removed: number;
}

/** One piece of work for people to look at; only the newest ones of a task are kept. */
export type WorkItem =
  | {
      readonly kind: 'command';
      readonly id: string;
      readonly command: string;
      readonly exitCode: number | null;
      readonly outcome: ItemOutcome | null;
    }
  | {
      readonly kind: 'files';
      readonly id: string;
      readonly files: readonly ChangedFile[];
      readonly outcome: ItemOutcome | null;
    }
  | { readonly kind: 'tool'; readonly id: string; readonly tool: string; readonly outcome: ItemOutcome | null }
  | { readonly kind: 'message'; readonly id: string; readonly text: string };

/** Everything about a task at one moment. Immutable; times are milliseconds since the epoch. */
export interface TaskSnapshot {
  readonly id: TaskId;
  readonly status: TaskStatus;
  /** Whether the task is on its way out: its turn is over or interrupted, its processes are being ended. */
  readonly stopping: boolean;
  /** Why the task is being stopped; null when its turn ended by itself, or nothing ends. */
  readonly stopReason: StopReason | null;
  /** The first line of the prompt, at most 80 characters. */
  readonly title: string;
  readonly labels: readonly string[];
  readonly type: TaskType;
  readonly cwd: string;
  readonly sandbox: Sandbox;
  readonly approvalPolicy: ApprovalPolicy;
  /** The tasks that had to be completed before it started. */
  readonly dependsOn: readonly TaskId[];
  readonly model: string | null;
  readonly reasoning: string | null;
  readonly spawnedBy: CallerId;
  /** The hash of the call that spawned it, until its caller is known to have the answer; see spawnCalls.ts. */
  readonly unansweredCall: string | null;
  readonly threadId: string | null;
  /** See `AgentThread.gated`. */
  readonly gated: boolean;
  /** Turns that were started, the active one included. */
  readonly turns: number;
  readonly createdAt: number;
  readonly startedAt: number | null;
  readonly endedAt: number | null;
  /** When the task last changed. */
  readonly updatedAt: number;
  /** What it is doing now, in a few words. */
  readonly activity: string;
  /** Why it has not started yet, in a few words; null once it may. */
  readonly heldBy: string | null;
  readonly usage: TokenUsage | null;
  readonly plan: readonly PlanStep[];
  readonly items: readonly WorkItem[];
  readonly changedFiles: readonly ChangedFile[];
  readonly outputTail: string;
  readonly finalMessage: string | null;
  readonly lastCommand: string | null;
  readonly diff: string;
  readonly pending: readonly PendingRequest[];
  /** The last answer, and the last 50. */
  readonly answered: AnsweredRequest | null;
  readonly answers: readonly AnsweredRequest[];
  readonly queuedMessages: number;
  readonly error: TaskError | null;
  /** Processes found when the task ended that could not be told to be its own, or could not be ended. */
  readonly leftovers: readonly ProcessSummary[];
}

/** Whether it waits for nobody, and goes on by itself. */
export function isPaused({ status, pending }: Pick<TaskSnapshot, 'status' | 'pending'>): boolean {
  return status === 'input_required' && pending.length > 0 && pending.every(answersItself);
}
