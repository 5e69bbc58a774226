import type { TaskError } from './errors';

/** Sizes in tokens. */
export interface TokenUsage {
  readonly totalTokens: number;
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly outputTokens: number;
  readonly reasoningTokens: number;
  /** Tokens of the last model call, which is what fills the context window. */
  readonly lastTokens: number;
  readonly contextWindow: number | null;
}

export type PlanStepStatus = 'pending' | 'in_progress' | 'completed';
export interface PlanStep {
  readonly step: string;
  readonly status: PlanStepStatus;
}

export interface FileChange {
  readonly path: string;
  readonly kind: 'add' | 'update' | 'delete';
  /** Unified diff, or the whole text of an added or deleted file, as Codex gives it. */
  readonly patch: string;
  /** Set when the file also gets another path. */
  readonly movedTo?: string;
}

export type ItemOutcome = 'completed' | 'failed' | 'declined';
export type TurnOutcome = 'completed' | 'interrupted' | 'failed';

/** What an agent says that a task did. Deltas are for watching; the completed item is authoritative. */
export type TaskEvent =
  | { readonly type: 'turnStarted'; readonly turnId: string }
  /** The agent works on the thread by itself, and the start of its turn was not seen. */
  | { readonly type: 'workResumed' }
  | {
      readonly type: 'turnCompleted';
      readonly turnId: string;
      readonly outcome: TurnOutcome;
      readonly error: TaskError | null;
      readonly durationMs: number | null;
    }
  | { readonly type: 'userMessage'; readonly itemId: string; readonly text: string }
  | { readonly type: 'messageDelta'; readonly itemId: string; readonly text: string }
  | { readonly type: 'message'; readonly itemId: string; readonly text: string }
  | { readonly type: 'reasoningDelta'; readonly itemId: string; readonly text: string }
  | { readonly type: 'reasoning'; readonly itemId: string; readonly text: string }
  | { readonly type: 'commandStarted'; readonly itemId: string; readonly command: string; readonly cwd: string }
  | { readonly type: 'commandOutput'; readonly itemId: string; readonly text: string }
  | {
      readonly type: 'commandCompleted';
      readonly itemId: string;
      readonly command: string;
      readonly cwd: string;
      readonly outcome: ItemOutcome;
      readonly exitCode: number | null;
      readonly durationMs: number | null;
      /** The whole output as Codex kept it; null when it kept none. */
      readonly output: string | null;
    }
  | { readonly type: 'filesChanging'; readonly itemId: string; readonly changes: readonly FileChange[] }
  | {
      readonly type: 'filesChanged';
      readonly itemId: string;
      readonly changes: readonly FileChange[];
      readonly outcome: ItemOutcome;
    }
  | { readonly type: 'toolStarted'; readonly itemId: string; readonly tool: string }
  | { readonly type: 'toolCompleted'; readonly itemId: string; readonly tool: string; readonly outcome: ItemOutcome }
  | { readonly type: 'plan'; readonly steps: readonly PlanStep[] }
  | { readonly type: 'diff'; readonly diff: string }
  | { readonly type: 'usage'; readonly usage: TokenUsage }
  | { readonly type: 'model'; readonly model: string }
  | { readonly type: 'retrying'; readonly message: string }
  | { readonly type: 'note'; readonly level: 'info' | 'warning'; readonly text: string };
