import type { ElicitRequestFormParams, ElicitResult, ToolAnnotations } from '@modelcontextprotocol/sdk/types.js';
import type { CallerId } from '../../core/caller';
import type { SpawnCall } from '../../core/spawnCalls';
import type { TaskId } from '../../core/taskId';
import type { TaskManager } from '../../core/taskManager';
import type { ObjectSchema } from '../schemas';

/** Puts a question to the person behind the caller. Rejects when the signal aborts or the time is over. */
export type Elicit = (
  params: ElicitRequestFormParams,
  options: { readonly signal: AbortSignal; readonly timeoutMs: number },
) => Promise<ElicitResult>;

/** One call of a tool. */
export interface ToolCall {
  readonly caller: CallerId;
  /** Aborted when the caller cancels the call or its connection is gone. */
  readonly signal: AbortSignal;
  /** Shows the caller what happens while it waits; absent when it does not want that. */
  readonly progress: ((message: string) => void) | undefined;
  /** Asks the person behind the caller; absent when the caller cannot do that, or nobody wants it. */
  readonly elicit: Elicit | undefined;
  /** Whether the caller may see a task. */
  readonly isShown: (id: TaskId) => boolean;
  /** Whether the policy lets a call that does something else wait as well. */
  readonly mayWait: boolean;
  /** How its repetition is recognised. */
  readonly sent: SpawnCall;
}

export interface ToolContext {
  readonly tasks: TaskManager;
  readonly now: () => number;
}

export interface Tool {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly annotations: ToolAnnotations;
  readonly inputSchema: ObjectSchema;
  readonly outputSchema: ObjectSchema;
  /** Throws a `CallError` when the call is refused. */
  run(args: unknown, call: ToolCall, context: ToolContext): Promise<Readonly<Record<string, unknown>>>;
}
