import { beginningOf } from '../base/wellFormed';
import { lastLines } from '../core/boundedText';
import { describeQuestion, relativePath } from '../core/describeRequest';
import type { PendingRequest, RequestQuestion } from '../core/pendingRequest';
import type { DamagedTask } from '../core/ports';
import type { TaskSnapshot } from '../core/taskSnapshot';
import { contextUsed, formatDuration, formatTokens, movedPath } from '../core/transcript';
import type { TaskStatus } from '../core/taskState';
import { elapsedMs } from './taskView';

const badges: Readonly<Record<TaskStatus, string>> = {
  submitted: '○',
  working: '◐',
  input_required: '?',
  completed: '✓',
  failed: '✗',
  cancelled: '–',
};

/** A line a task, newest first: badge, labels, time, tokens, what it waits for. */
export function scoreboard(tasks: readonly TaskSnapshot[], damaged: readonly DamagedTask[], now: number): string {
  const lines = [...tasks.toReversed().map((task) => scoreboardLine(task, now)), ...damaged.map(damagedLine)];
  return lines.length === 0 ? 'No tasks.\n' : `${lines.join('\n')}\n`;
}

function damagedLine({ id, dir }: DamagedTask): string {
  return `! ${id} damaged · its files cannot be read; they are kept in ${oneLine(dir)}`;
}

/** A damaged task as Markdown. */
export function damagedDetail({ id, dir, reason }: DamagedTask): string {
  return `# ${id}: damaged\n\nIts files cannot be read, so it was not brought back. They are kept in ${dir}.\n\n${reason}\n`;
}

function scoreboardLine(task: TaskSnapshot, now: number): string {
  const labels = task.labels.length > 0 ? ` [${oneLine(task.labels.join(', '))}]` : '';
  const tokens = task.usage ? ` · ${formatTokens(task.usage.totalTokens)} tokens` : '';
  const [asked] = task.pending;
  const what = asked ? `waits: ${describeQuestion(asked.question, task.cwd)}` : (task.error?.message ?? task.activity);
  const detail = what === '' ? '' : ` · ${oneLine(what)}`;
  return `${badges[task.status]} ${task.id} ${task.status}${labels} · ${formatDuration(elapsedMs(task, now))}${tokens}${detail} · ${oneLine(task.title)}`;
}

function oneLine(text: string): string {
  return beginningOf(text.replaceAll(/\s+/g, ' '), 160);
}

/** One task as Markdown. */
export function taskDetail(task: TaskSnapshot, now: number): string {
  return [
    `# ${task.id}: ${task.status}`,
    task.title,
    fields(task, now),
    ...(task.error ? ['## Error', `${task.error.code}: ${task.error.message}\n\n${task.error.hint}`] : []),
    ...(task.pending.length > 0 ? ['## Waits for an answer', ...task.pending.map(question)] : []),
    ...(task.plan.length > 0 ? ['## Plan', task.plan.map((step) => `- ${step.status}: ${step.step}`).join('\n')] : []),
    ...(task.changedFiles.length > 0 ? ['## Changed files', changes(task)] : []),
    ...(task.leftovers.length > 0 ? ['## Processes left', leftovers(task)] : []),
    ...(task.finalMessage === null ? [] : ['## Last message', task.finalMessage]),
    '## Recent output',
    fenced(lastLines(task.outputTail, 60).join('\n')),
    '',
  ].join('\n\n');
}

function fields(task: TaskSnapshot, now: number): string {
  const used = task.usage && contextUsed(task.usage);
  const rows: [string, string | null][] = [
    ['Directory', task.cwd],
    ['Model', task.model === null ? null : `${task.model}${task.reasoning === null ? '' : ` (${task.reasoning})`}`],
    ['Sandbox', task.sandbox],
    ['Approval policy', task.approvalPolicy],
    ['Depends on', task.dependsOn.length > 0 ? task.dependsOn.join(', ') : null],
    ['Labels', task.labels.length > 0 ? task.labels.join(', ') : null],
    ['Turns', String(task.turns)],
    ['Time', formatDuration(elapsedMs(task, now))],
    ['Tokens', task.usage ? `${task.usage.totalTokens}${used === null ? '' : `, context ${used} % full`}` : null],
    ['Thread', task.threadId],
    ['Last command', task.lastCommand],
  ];
  return rows.flatMap(([name, value]) => (value === null ? [] : [`- ${name}: ${value}`])).join('\n');
}

/** All of what is asked: results of tools show a part of it and name this document for the whole. */
function question({ id, question: asked }: PendingRequest): string {
  const parts = 'reason' in asked && asked.reason !== null ? [asked.reason] : [];
  return [`${id}: ${asked.type}`, ...questionParts(asked), ...parts].join('\n\n');
}

function questionParts(asked: RequestQuestion): string[] {
  switch (asked.type) {
    case 'command_approval':
      return [`Directory: ${asked.cwd}`, fenced(asked.command)];
    case 'file_approval':
      return asked.changes.map((change) => `${change.kind} ${movedPath(change)}\n\n${fenced(change.patch)}`);
    case 'permission_approval':
      return [fenced(JSON.stringify(asked.permissions, null, 2))];
    case 'user_input':
      return asked.questions.map(
        ({ id, header, text, options, allowFreeform }) =>
          `${id}: ${header === '' ? '' : `${header}: `}${text}\n\n${[...options.map(({ label, description }) => `- ${label}: ${description}`), ...(allowFreeform ? ['- (a text of your own)'] : [])].join('\n')}`,
      );
    case 'elicitation':
      return [
        `From the MCP server ${asked.serverName}: ${asked.message}`,
        ...(asked.url === null ? [] : [asked.url]),
        ...(asked.toolCall
          ? [`${asked.toolCall.tool}\n\n${fenced(JSON.stringify(asked.toolCall.arguments, null, 2))}`]
          : []),
        ...(asked.schema ? [fenced(JSON.stringify(asked.schema, null, 2))] : []),
      ];
    case 'recovery':
      return [asked.message];
    case 'dynamic_tool':
      return [`${asked.toolName}\n\n${fenced(JSON.stringify(asked.arguments, null, 2))}`];
  }
}

function changes(task: TaskSnapshot): string {
  return task.changedFiles
    .map((file) => `- ${file.kind} ${relativePath(file.path, task.cwd)} (+${file.added} −${file.removed})`)
    .join('\n');
}

function leftovers(task: TaskSnapshot): string {
  return task.leftovers.map(({ pid, command }) => `- ${pid}: ${command}`).join('\n');
}

/** A code block whose fence is longer than any in the text. */
function fenced(text: string): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map((run) => run[0].length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}\n${text}\n${fence}`;
}
