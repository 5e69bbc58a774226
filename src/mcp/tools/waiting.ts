import type { TaskId } from '../../core/taskId';
import type { TaskSnapshot } from '../../core/taskSnapshot';
import type { WaitAbout } from '../../core/waiting';
import { Elicitations } from '../elicitations';
import type { TaskListResult, TaskResult } from '../schemas';
import { summaryOf, taskListResult, taskResult } from '../taskView';
import type { ToolCall, ToolContext } from './tool';

export interface WaitRequest {
  /** One id gives one task's result; several, `all` or none, which is the caller's own, give a list. */
  readonly ids: TaskId | readonly TaskId[] | undefined;
  readonly until: 'any' | 'all';
  readonly timeoutMs: number;
}

/** What names everybody's tasks; no task has this id. */
const everyTask = 'all';
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
  const about = aboutOf(wanted);
  const { caller, signal, elicit, isShown } = call;
  const onProgress = call.progress && throttled(call.progress, now);
  const elicitations =
    elicit && timeoutMs > 0 ? new Elicitations({ tasks, call, elicit, about, timeoutMs }) : undefined;
  try {
    const result = await tasks.wait({
      caller,
      about,
      isShown,
      until,
      timeoutMs,
      signal,
      onProgress,
      caredFor: elicitations,
    });
    const view = { now: now(), advice: tasks };
    const [only] = result.tasks;
    return about !== 'all' && typeof wanted === 'string' && only
      ? taskResult(only, result, view)
      : taskListResult(result, view);
  } finally {
    elicitations?.dispose();
  }
}

function aboutOf(wanted: WaitRequest['ids']): WaitAbout {
  if (wanted === undefined) return 'own';
  if (wanted === everyTask) return 'all';
  return typeof wanted === 'string' ? [wanted] : wanted;
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
