import type { ElicitRequestFormParams, ElicitResult, ToolAnnotations } from '@modelcontextprotocol/sdk/types.js';
import type { CallerId } from '../../core/news';
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
  /**
   * Names a call so that its repetition can be recognised, by what the client says of its conversation; undefined when
   * it says nothing.
   */
  readonly retryKey: string | undefined;
  /** Asks the person behind the caller; absent when the caller cannot do that, or nobody wants it. */
  readonly elicit: Elicit | undefined;
  /** Resolves to whether the answer reached the caller. */
  readonly delivered: Promise<boolean>;
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
