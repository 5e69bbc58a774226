import { firstLine } from '../core/boundedText';
import { describeQuestion, visibleLine } from '../core/describeRequest';
import { isApproval, type PendingRequest } from '../core/pendingRequest';
import type { ItemOutcome, PlanStep } from '../core/taskEvent';
import { isPaused, type TaskSnapshot, type WorkItem } from '../core/taskSnapshot';
import { isTerminalStatus } from '../core/taskState';
import { formatClock, formatDuration, formatTokens } from '../core/transcript';
import { ItemContext, RequestContext } from './ids';
import type { AskedTask } from './notices';

/** What the tree shows, without the editor's types: pure, so that it can be tested by itself. */

export const groups = ['asking', 'running', 'queued', 'finished'] as const;
export type Group = (typeof groups)[number];

export const groupTitles: Readonly<Record<Group, string>> = {
  asking: 'Needs you',
  running: 'Running',
  queued: 'Queued',
  finished: 'Finished',
};

export function groupOf(task: TaskSnapshot): Group {
  if (task.status === 'input_required') return isPaused(task) ? 'running' : 'asking';
  if (isTerminalStatus(task.status)) return 'finished';
  return task.heldBy === null ? 'running' : 'queued';
}

/**
 * The groups that are shown of some tasks. All but one stay as long as there is a task: the list is drawn as a whole when one
 * comes or goes, and in that moment a click on a row's action loses its row.
 */
export function groupsOf(tasks: readonly TaskSnapshot[]): Group[] {
  if (tasks.length === 0) return [];
  return groups.filter((group) => group !== 'queued' || tasks.some((task) => groupOf(task) === group));
}

/** The tasks of a group: waiting and running ones oldest first, finished ones newest first. */
export function tasksOf(group: Group, tasks: readonly TaskSnapshot[]): TaskSnapshot[] {
  const own = tasks.filter((task) => groupOf(task) === group);
  return group === 'finished' ? own.sort((a, b) => (b.endedAt ?? 0) - (a.endedAt ?? 0)) : own;
}

/** Name of a product icon, and of a theme colour for it. */
export interface Icon {
  readonly id: string;
  readonly color?: string;
}

const running: Icon = { id: 'sync~spin' };

export function taskIcon(task: TaskSnapshot): Icon {
  switch (task.status) {
    case 'submitted':
      return { id: 'watch' };
    case 'working':
      return running;
    case 'input_required':
      return isPaused(task) ? { id: 'debug-pause' } : { id: 'question', color: 'list.warningForeground' };
    case 'completed':
      return { id: 'pass', color: 'testing.iconPassed' };
    case 'failed':
      return { id: 'error', color: 'list.errorForeground' };
    case 'cancelled':
      return { id: 'circle-slash', color: 'disabledForeground' };
  }
}

/** What stands behind the title: what it does now, time, model, tokens. A task that asks says since when. */
export function taskDescription(task: TaskSnapshot, now: number): string {
  const [asked] = task.pending;
  const elapsed = asked
    ? `since ${formatClock(asked.askedAt)}`
    : formatDuration(Math.max(0, (task.endedAt ?? now) - task.createdAt));
  const state = isTerminalStatus(task.status) ? endState(task) : task.activity;
  const tokens = task.usage ? `${formatTokens(task.usage.totalTokens)} tokens` : '';
  const parts = [state, elapsed, task.model ?? '', tokens, task.labels.join(', ')];
  return parts.filter((part) => part !== '').join(' · ');
}

function endState(task: TaskSnapshot): string {
  if (task.error) return firstLine(task.error.message, 80);
  return task.status === 'cancelled' ? 'cancelled' : changesOf(task);
}

function changesOf({ changedFiles }: TaskSnapshot): string {
  if (changedFiles.length === 0) return '';
  return changedFiles.length === 1 ? '1 file changed' : `${changedFiles.length} files changed`;
}

/** What its inline actions go by; those of a task that asks are about its oldest request. */
export function taskContext(task: TaskSnapshot): string {
  const [asked] = task.pending;
  if (task.status === 'input_required') return asked ? `task.asking.${requestContext(asked)}` : 'task.asking';
  return isTerminalStatus(task.status) ? ItemContext.finished : ItemContext.running;
}

export function requestContext({ question }: PendingRequest): RequestContext {
  if (question.type === 'file_approval') return RequestContext.patch;
  return isApproval(question) ? RequestContext.approval : RequestContext.question;
}

/** One line below a task. */
export interface Detail {
  /** Unique within its task. */
  readonly id: string;
  readonly label: string;
  readonly description: string;
  readonly icon: Icon;
  readonly tooltip: string;
  /** A file that a click opens. */
  readonly file?: string;
  readonly request?: { readonly id: string; readonly context: RequestContext };
  readonly children?: readonly Detail[];
}

const shownItems = 50;

/** What the tree shows below a task: what it asks, its error, its plan, then its newest work. */
export function detailsOf(task: TaskSnapshot): Detail[] {
  return [
    ...task.pending.map((request) => requestDetail(request, task.cwd)),
    ...(task.error ? [errorDetail(task.error.message, task.error.hint)] : []),
    ...(task.plan.length > 0 ? [planDetail(task.plan)] : []),
    ...task.items.slice(-shownItems).map((item) => itemDetail(item, task.pending.length > 0)),
    ...task.leftovers.map(({ pid, command }) => ({
      id: `left:${pid}`,
      label: `process ${pid} may be left`,
      description: command,
      icon: { id: 'warning', color: 'list.warningForeground' },
      tooltip: command,
    })),
  ];
}

function requestDetail(request: PendingRequest, cwd: string): Detail {
  const { question } = request;
  const context = requestContext(request);
  return {
    id: `request:${request.id}`,
    label: firstLine(requestTitle(request, cwd), 120),
    description: 'reason' in question ? visibleLine(question.reason ?? '') : '',
    icon: { id: context === RequestContext.question ? 'question' : 'shield', color: 'list.warningForeground' },
    tooltip: requestFacts(request, cwd),
    request: { id: request.id, context },
  };
}

/**
 * Whether a line of so many characters shows all that a request asks: a patch, the arguments of a call and permissions never
 * stand in one line.
 */
export function isShownWithin(characters: number, { task, request }: AskedTask): boolean {
  const { question } = request;
  if (question.type === 'recovery') return true;
  const isLine = question.type === 'command_approval' && !question.command.includes('\n');
  return characters === Infinity || (isLine && requestTitle(request, task.cwd).length <= characters);
}

/** The question in one line, all of it. */
export function requestTitle({ question }: PendingRequest, cwd: string): string {
  if (question.type === 'recovery') return visibleLine(question.message);
  if (isApproval(question)) return `Allow to ${describeQuestion(question, cwd)}?`;
  switch (question.type) {
    case 'user_input':
      return question.questions.map(({ text }) => visibleLine(text)).join(' / ');
    case 'elicitation':
      return `${visibleLine(question.serverName)} asks: ${visibleLine(question.message)}`;
    case 'command_approval':
    case 'file_approval':
    case 'permission_approval':
    case 'dynamic_tool':
      return `Asks to ${describeQuestion(question, cwd)}`;
  }
}

function requestFacts(request: PendingRequest, cwd: string): string {
  const { question, expiresAt } = request;
  return [
    requestTitle(request, cwd),
    question.type === 'command_approval' ? `In ${question.cwd}` : '',
    'reason' in question ? (question.reason ?? '') : '',
    expiresAt === null ? '' : `Declined at ${formatClock(expiresAt)} if nobody answers`,
  ]
    .filter((line) => line !== '')
    .join('\n');
}

function errorDetail(message: string, hint: string): Detail {
  const icon = { id: 'error', color: 'list.errorForeground' };
  return { id: 'error', label: firstLine(message, 120), description: hint, icon, tooltip: `${message}\n\n${hint}` };
}

function planDetail(plan: readonly PlanStep[]): Detail {
  const done = plan.filter((step) => step.status === 'completed').length;
  const icons = { pending: 'circle-outline', in_progress: 'arrow-circle-right', completed: 'pass' } as const;
  const children = plan.map((step, index) => ({
    id: `plan:${index}`,
    label: step.step,
    description: '',
    icon: { id: icons[step.status] },
    tooltip: step.step,
  }));
  return {
    id: 'plan',
    label: 'Plan',
    description: `${done} of ${plan.length}`,
    icon: { id: 'checklist' },
    tooltip: 'Plan',
    children,
  };
}

/** What Codex asks about has started for Codex, but runs only when it is allowed. */
function itemDetail(item: WorkItem, asking: boolean): Detail {
  const unfinished = asking ? 'waits' : 'running';
  const id = `item:${item.id}`;
  switch (item.kind) {
    case 'command':
      return {
        id,
        label: firstLine(item.command, 120),
        description: item.outcome === null ? unfinished : commandResult(item.outcome, item.exitCode),
        icon: asking && item.outcome === null ? { id: 'terminal' } : outcomeIcon(item.outcome, 'terminal'),
        tooltip: item.command,
      };
    case 'files':
      return filesDetail(id, item);
    case 'tool':
      return {
        id,
        label: item.tool,
        description: item.outcome ?? unfinished,
        icon: outcomeIcon(item.outcome, 'tools'),
        tooltip: item.tool,
      };
    case 'message':
      return { id, label: firstLine(item.text, 160), description: '', icon: { id: 'comment' }, tooltip: item.text };
  }
}

function filesDetail(id: string, item: WorkItem & { kind: 'files' }): Detail {
  const files = item.files.map((file, index) => ({
    id: `${id}:${index}`,
    label: file.path.replace(/^.*[\\/]/, ''),
    description: `${file.kind} +${file.added} −${file.removed}`,
    icon: outcomeIcon(item.outcome, 'edit'),
    tooltip: file.path,
    ...(file.kind === 'delete' ? {} : { file: file.path }),
  }));
  const [only] = files;
  if (only && files.length === 1) return { ...only, id };
  return {
    id,
    label: `${files.length} files`,
    description: '',
    icon: outcomeIcon(item.outcome, 'edit'),
    tooltip: '',
    children: files,
  };
}

function commandResult(outcome: string, exitCode: number | null): string {
  if (outcome === 'declined') return 'declined';
  return exitCode === null ? outcome : `exit ${exitCode}`;
}

function outcomeIcon(outcome: ItemOutcome | null, base: string): Icon {
  if (outcome === null) return running;
  return outcome === 'completed' ? { id: base } : { id: base, color: 'list.errorForeground' };
}

/** `1 needs you, 2 running`, or the empty text. */
export function countsText(tasks: readonly TaskSnapshot[]): string {
  const asking = tasks.filter((task) => groupOf(task) === 'asking').length;
  const paused = tasks.filter(isPaused).length;
  const runs = tasks.filter((task) => groupOf(task) === 'running').length - paused;
  const queued = tasks.filter((task) => groupOf(task) === 'queued').length;
  return [
    asking > 0 ? `${asking} ${asking === 1 ? 'needs' : 'need'} you` : '',
    runs > 0 ? `${runs} running` : '',
    paused > 0 ? `${paused} paused` : '',
    queued > 0 ? `${queued} queued` : '',
  ]
    .filter((part) => part !== '')
    .join(', ');
}
