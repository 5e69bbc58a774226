import { beginningOf } from '../base/wellFormed';
import { describeQuestion, visibleLine } from '../core/describeRequest';
import { answersItself, isApproval, type PendingRequest } from '../core/pendingRequest';
import type { TaskSnapshot } from '../core/taskSnapshot';
import { CommandId } from './ids';
import { withoutLinks } from './plainText';

export interface AskedTask {
  readonly task: TaskSnapshot;
  readonly request: PendingRequest;
}

/** Every pending request, the oldest first. */
export function pendingRequests(tasks: readonly TaskSnapshot[]): AskedTask[] {
  return tasks
    .flatMap((task) => task.pending.map((request) => ({ task, request })))
    .sort((a, b) => a.request.askedAt - b.request.askedAt);
}

/** Those that wait for somebody: a task that goes on by itself is not worth a notification. */
export function urgentRequests(tasks: readonly TaskSnapshot[]): AskedTask[] {
  return pendingRequests(tasks).filter(({ request }) => !answersItself(request));
}

/** Characters of a question that a notification shows; nobody approves there what does not fit. */
const titleCharacters = 60;
const shownCharacters = 300;

/**
 * The text of a notification: what one request asks, links that answer it, and how many more there are. Text of the task
 * cannot make a link: the editor takes `[…](command:…)` in a notification's text for one.
 */
export function noticeText({ task, request }: AskedTask, more: number): string {
  const { question } = request;
  const reason = 'reason' in question && question.reason !== null ? ` (${visibleLine(question.reason)})` : '';
  const asked = describeQuestion(question, task.cwd) + reason;
  const whole = asked.length <= shownCharacters;
  const title = shortened(visibleLine(task.title), titleCharacters);
  const text = shortened(asked, shownCharacters);
  const links = linksFor(request, whole).map(
    ([label, command]) => `[${label}](${commandLink(command, task, request)})`,
  );
  const others = more === 0 ? '' : `, and ${more} more`;
  return `"${withoutLinks(title)}" asks to ${withoutLinks(text)}${others} — ${links.join(' · ')}`;
}

function linksFor({ question }: PendingRequest, whole: boolean): [string, string][] {
  if (question.type === 'recovery')
    return [
      ['Go on', CommandId.approve],
      ['Give up', CommandId.reject],
    ];
  const reject: [string, string] = ['Reject', CommandId.reject];
  const approve: [string, string][] = [['Approve', CommandId.approve]];
  if (!isApproval(question))
    return [
      ['Answer…', CommandId.answer],
      ['Decline', CommandId.reject],
    ];
  if (question.type === 'file_approval') {
    // Without its changes there is nothing to see.
    if (question.changes.length === 0) return [reject];
    return [['Review', CommandId.reviewChanges], ...(whole ? approve : []), reject];
  }
  return whole ? [...approve, reject, ['Decide…', CommandId.decide]] : [['Show all', CommandId.showRequest], reject];
}

function commandLink(command: string, { id: taskId }: TaskSnapshot, { id: requestId }: PendingRequest): string {
  const target = { kind: 'request', taskId, requestId };
  return `command:${command}?${encodeURIComponent(JSON.stringify([target]))}`;
}

function shortened(text: string, characters: number): string {
  return text.length <= characters ? text : `${beginningOf(text, characters)}…`;
}

/** One line when a task has ended by itself; undefined for one that was cancelled. */
export function finishedText(task: TaskSnapshot): string | undefined {
  if (task.status === 'completed') return `Codex finished: ${visibleLine(task.title)}`;
  return task.status === 'failed' ? `Codex failed: ${visibleLine(task.title)}` : undefined;
}
