import type { TaskId } from '../../core/taskId';
import type { TaskSnapshot } from '../../core/taskSnapshot';
import { Elicitations } from '../elicitations';
import type { TaskListResult, TaskResult } from '../schemas';
import { summaryOf, taskListResult, taskResult } from '../taskView';
import type { ToolCall, ToolContext } from './tool';

export interface WaitRequest {
  /** One id gives one task's result; several or none give a list. */
  readonly ids: TaskId | readonly TaskId[] | undefined;
  readonly until: 'any' | 'all';
  readonly timeoutMs: number;
}

const progressEveryMs = 1_000;

/**
 * Waits for news and gives it in wait-task's form. What the person behind the caller answers meanwhile, where the caller
 * can ask, is no news.
 */
export async function waitAndView(
  { ids: wanted, until, timeoutMs }: WaitRequest,
  call: ToolCall,
  { tasks, now }: ToolContext,
): Promise<TaskResult | TaskListResult> {
  const ids = typeof wanted === 'string' ? [wanted] : wanted;
  const { caller, signal, elicit } = call;
  const onProgress = call.progress && throttled(call.progress, now);
  const elicitations = elicit && timeoutMs > 0 ? new Elicitations({ tasks, call, elicit, ids, timeoutMs }) : undefined;
  try {
    const result = await tasks.wait({ caller, ids, until, timeoutMs, signal, onProgress, caredFor: elicitations });
    const view = { now: now(), advice: tasks };
    const [only] = result.tasks;
    return typeof wanted === 'string' && only ? taskResult(only, result, view) : taskListResult(result, view);
  } finally {
    elicitations?.dispose();
  }
}

function throttled(progress: (message: string) => void, now: () => number): (tasks: readonly TaskSnapshot[]) => void {
  let last = Number.NEGATIVE_INFINITY;
  return (tasks) => {
    if (now() - last < progressEveryMs) return;
    last = now();
    const [only] = tasks;
    progress(tasks.length === 1 && only ? `${only.id}: ${summaryOf(only)}` : countsOf(tasks));
  };
}

function countsOf(tasks: readonly TaskSnapshot[]): string {
  const running = tasks.filter((task) => task.status === 'working' || task.status === 'submitted').length;
  return `${running} of ${tasks.length} tasks are running`;
}
