import { firstLine, lastLines } from '../core/boundedText';
import { relativePath } from '../core/describeRequest';
import type { InputQuestion, PendingRequest, RequestQuestion } from '../core/pendingRequest';
import type { TaskSnapshot } from '../core/taskSnapshot';
import { isTerminalStatus } from '../core/taskState';
import type { WaitResult } from '../core/waiting';
import { type Advice, nextOfSeveral, nextStep } from './nextStep';
import { contextUsed } from '../core/transcript';
import { cut, cutJson, cutPath, firstThatFits, lastLinesWithin } from './fit';
import type { PendingQuestion, TaskListResult, TaskResult } from './schemas';
import { taskUri } from './uris';

/** How much of each part a result shows: bytes of JSON for texts, numbers for lists. */
interface Limits {
  readonly output: number;
  readonly finalMessage: number;
  readonly diff: number;
  readonly patch: number;
  readonly text: number;
  readonly files: number;
  readonly plan: number;
}

/** What matters least goes first: the diff, old output, then long messages. */
const smallest: Limits = { output: 0, finalMessage: 300, diff: 0, patch: 100, text: 60, files: 0, plan: 0 };
const levels: readonly Limits[] = [
  { output: 2_500, finalMessage: 6_000, diff: 1_500, patch: 5_000, text: 2_000, files: 50, plan: 30 },
  { output: 1_200, finalMessage: 4_500, diff: 600, patch: 3_500, text: 1_200, files: 20, plan: 20 },
  { output: 400, finalMessage: 3_000, diff: 0, patch: 2_000, text: 600, files: 10, plan: 10 },
  { output: 0, finalMessage: 1_500, diff: 0, patch: 700, text: 250, files: 3, plan: 3 },
  smallest,
];
const outputLines = 30;
const otherPending = 20;

export interface ViewContext {
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly advice: Advice;
}

/** One task as wait-task gives it, within the limit of a result. */
export function taskResult(task: TaskSnapshot, result: WaitResult, context: ViewContext): TaskResult {
  return firstThatFits(levels.map((limits) => () => viewTask(task, result, context, limits)));
}

function viewTask(task: TaskSnapshot, result: WaitResult, context: ViewContext, limits: Limits): TaskResult {
  const { timedOut } = result;
  const uri = taskUri(task.id);
  const { finalMessage, usage, pending, answered, error } = task;
  const shown = result.shown?.request;
  const others = pending.filter(({ id }) => id !== shown?.id);
  return {
    task_id: task.id,
    status: task.status,
    provider_session_id: task.threadId,
    labels: [...task.labels],
    turn: task.turns,
    elapsed_ms: elapsedMs(task, context.now),
    output: lastLinesWithin(
      lastLines(task.outputTail, outputLines).map((line) => cut(line, 500, taskUri(task.id, '/log.verbose'))),
      limits.output,
    ),
    changed_files: files(task, limits),
    ...more('more_changed_files', task.changedFiles.length - limits.files),
    ...(finalMessage === null || !isTerminalStatus(task.status)
      ? {}
      : { final_message: cut(finalMessage, limits.finalMessage, uri) }),
    ...(task.plan.length === 0
      ? {}
      : { plan: task.plan.slice(0, limits.plan).map((step) => ({ ...step, step: cut(step.step, 200, uri) })) }),
    ...(usage ? { usage: viewUsage(usage) } : {}),
    ...(shown ? { pending_question: question(shown, limits, uri) } : {}),
    ...(others.length > 0 ? { other_pending: others.slice(0, otherPending).map(questionName) } : {}),
    ...more('more_pending', others.length - otherPending),
    ...(answered ? viewAnswers(task, limits, uri) : {}),
    ...(error ? { error: { ...error, message: cut(error.message, limits.text, uri) } } : {}),
    ...(isPartial(task, timedOut) ? { partial: partial(task, limits) } : {}),
    ...(task.leftovers.length > 0 ? { leftovers: leftovers(task) } : {}),
    timed_out: timedOut,
    next: nextStep(task, context.advice, { timedOut, request: shown }),
  };
}

function leftovers({ id, leftovers }: TaskSnapshot): TaskResult['leftovers'] & {} {
  return leftovers.slice(0, 5).map(({ pid, command }) => ({ pid, command: cut(command, 100, taskUri(id)) }));
}

function isPartial(task: TaskSnapshot, timedOut: boolean): boolean {
  return timedOut || task.status === 'failed' || task.status === 'cancelled';
}

function partial(task: TaskSnapshot, limits: Limits): TaskResult['partial'] & {} {
  const { lastCommand, diff } = task;
  return {
    changed_files: files(task, { ...limits, files: Math.min(limits.files, 10) }),
    last_command: lastCommand === null ? null : cut(lastCommand, limits.text, taskUri(task.id)),
    diff: cut(diff, limits.diff, taskUri(task.id, '/diff')),
  };
}

function files(task: TaskSnapshot, limits: Limits): TaskResult['changed_files'] {
  return task.changedFiles
    .slice(0, limits.files)
    .map((file) => ({ ...file, path: cutPath(relativePath(file.path, task.cwd), 300, taskUri(task.id)) }));
}

function more<K extends string>(name: K, count: number): Partial<Record<K, number>> {
  return count > 0 ? ({ [name]: count } as Record<K, number>) : {};
}

/** How many more there are of what has to be answered, and where all of them are. */
function leftOut<K extends string>(name: K, count: number, uri: string): Partial<Record<K, number>> & { see?: string } {
  return count > 0 ? { ...more(name, count), see: uri } : {};
}

function viewUsage(usage: NonNullable<TaskSnapshot['usage']>): TaskResult['usage'] & {} {
  return {
    total_tokens: usage.totalTokens,
    input_tokens: usage.inputTokens,
    output_tokens: usage.outputTokens,
    context_window: usage.contextWindow,
    pct_used: contextUsed(usage),
  };
}

function viewAnswers({ answers }: TaskSnapshot, limits: Limits, uri: string) {
  const shown = answers.slice(-Math.min(5, Math.max(1, limits.files)));
  return {
    answered_by: shown.at(-1)?.by,
    answered: shown.map(({ id, type, by, outcome }) => ({
      request_id: id,
      type,
      by,
      outcome: cut(outcome, Math.min(300, limits.text), uri),
    })),
  };
}

function question(request: PendingRequest, limits: Limits, uri: string): PendingQuestion {
  const { expiresAt } = request;
  const expires = expiresAt === null ? {} : { expires_at: new Date(expiresAt).toISOString() };
  return { ...questionParts(request, limits, uri), ...expires };
}

function questionParts(request: PendingRequest, limits: Limits, uri: string): PendingQuestion {
  const { question: asked, id: request_id } = request;
  const reason = 'reason' in asked && asked.reason !== null ? cut(asked.reason, limits.text, uri) : null;
  switch (asked.type) {
    case 'command_approval':
      return {
        type: asked.type,
        request_id,
        command: cut(asked.command, limits.patch, uri),
        cwd: cut(asked.cwd, 500, uri),
        reason,
      };
    case 'file_approval': {
      const shown = asked.changes.slice(0, Math.max(1, limits.files));
      const each = Math.floor(limits.patch / Math.max(1, shown.length));
      return {
        type: asked.type,
        request_id,
        file_changes: shown.map(({ path, movedTo, kind, patch }) => ({
          path: cutPath(path, 300, uri),
          ...(movedTo === undefined ? {} : { moved_to: cutPath(movedTo, 300, uri) }),
          kind,
          patch: cut(patch, each, uri),
        })),
        ...leftOut('more_file_changes', asked.changes.length - shown.length, uri),
        reason,
      };
    }
    case 'permission_approval':
      return { type: asked.type, request_id, permissions: cutJson(asked.permissions, limits.patch, uri), reason };
    case 'user_input': {
      const shown = asked.questions.slice(0, Math.max(1, limits.files));
      return {
        type: asked.type,
        request_id,
        questions: shown.map((one) => viewInput(one, limits, uri)),
        ...leftOut('more_questions', asked.questions.length - shown.length, uri),
      };
    }
    case 'elicitation':
      return { type: asked.type, request_id, ...viewElicitation(asked, limits, uri) };
    case 'recovery':
      return { type: asked.type, request_id, message: cut(asked.message, 500, uri) };
    case 'dynamic_tool':
      return {
        type: asked.type,
        request_id,
        tool_name: cut(asked.toolName, 200, uri),
        arguments: cutJson(asked.arguments, limits.patch, uri),
      };
  }
}

function viewInput({ id, header, text, options, allowFreeform, isSecret }: InputQuestion, limits: Limits, uri: string) {
  const shown = options.slice(0, Math.max(3, limits.files));
  return {
    id: cut(id, 200, uri),
    header: cut(header, 100, uri),
    text: cut(text, limits.text, uri),
    options: shown.map(({ label, description }) => ({
      label: cut(label, 200, uri),
      description: cut(description, Math.min(limits.text, 300), uri),
    })),
    ...leftOut('more_options', options.length - shown.length, uri),
    allow_freeform: allowFreeform,
    is_secret: isSecret,
  };
}

function viewElicitation(asked: RequestQuestion & { type: 'elicitation' }, limits: Limits, uri: string) {
  const { serverName, mode, message, schema, url, toolCall } = asked;
  return {
    server_name: cut(serverName, 200, uri),
    mode,
    message: cut(message, limits.text, uri),
    ...(schema ? { schema: cutJson(schema, limits.patch, uri) } : {}),
    ...(url === null ? {} : { url: cut(url, Math.max(limits.text, 500), uri) }),
    ...(toolCall
      ? { tool_call: { tool: cut(toolCall.tool, 200, uri), arguments: cutJson(toolCall.arguments, limits.text, uri) } }
      : {}),
  };
}

function questionName(request: PendingRequest): { type: string; request_id: string } {
  return { type: request.question.type, request_id: request.id };
}

/** Milliseconds from the task's making to its end, or until now. */
export function elapsedMs(task: TaskSnapshot, now: number): number {
  return Math.max(0, (task.endedAt ?? now) - task.createdAt);
}

/** Several tasks as wait-task gives them, within the limit of a result: all of them, with less text if need be. */
export function taskListResult(result: WaitResult, context: ViewContext): TaskListResult {
  const views = [
    { summary: 160, limits: levels[1] ?? smallest },
    { summary: 80, limits: levels[2] ?? smallest },
    { summary: 40, limits: levels[3] ?? smallest },
    { summary: 20, limits: smallest },
    { summary: 2, limits: smallest },
  ];
  return firstThatFits(
    views.map(
      ({ summary, limits }) =>
        () =>
          viewList(result, context, summary, limits),
    ),
  );
}

function viewList(result: WaitResult, { advice }: ViewContext, summaryLength: number, limits: Limits): TaskListResult {
  const { tasks, shown, timedOut } = result;
  return {
    tasks: tasks.map((task) => {
      const asked = task.id === shown?.taskId ? question(shown.request, limits, taskUri(task.id)) : undefined;
      const named = asked ?? (task.pending[0] && questionName(task.pending[0]));
      const answer = result.newAnswers.get(task.id)?.at(-1);
      return {
        task_id: task.id,
        status: task.status,
        summary: firstLine(summaryOf(task), summaryLength),
        ...(named ? { pending_question: named } : {}),
        ...more('more_pending', task.pending.length - 1),
        ...(answer ? { answered_by: answer.by } : {}),
      };
    }),
    ...more('more_tasks', result.more),
    ...(result.elsewhere ? viewElsewhere(result.elsewhere, summaryLength) : {}),
    timed_out: timedOut,
    next: nextOfSeveral(result, advice),
  };
}

function viewElsewhere({ others, recent }: NonNullable<WaitResult['elsewhere']>, summaryLength: number) {
  const tasks = recent.map((task) => ({
    task_id: task.id,
    status: task.status,
    summary: firstLine(summaryOf(task), summaryLength),
  }));
  return { others, ...(tasks.length > 0 ? { recent: tasks } : {}) };
}

/** One line that says how a task stands. */
export function summaryOf(task: TaskSnapshot): string {
  if (task.error) return task.error.message;
  if (task.status === 'completed') return task.finalMessage ?? 'done';
  return task.activity === '' ? task.title : task.activity;
}
