import { beginningOf } from '../base/wellFormed';
import { clientOf } from '../core/caller';
import * as vscode from 'vscode';
import type { TaskSnapshot } from '../core/taskSnapshot';
import { profileOf } from './profiles';
import { contextUsed, formatDuration } from '../core/transcript';

/** A task's facts. Text of the task is appended as text, so that it cannot make a link or an image. */
export function taskTooltip(task: TaskSnapshot): vscode.MarkdownString {
  const used = task.usage && contextUsed(task.usage);
  const facts: [string, string | null][] = [
    ['Status', task.status],
    ['Directory', task.cwd],
    ['Sandbox', task.sandbox],
    ['Asks', profileOf(task.sandbox, task.approvalPolicy)],
    ['Depends on', task.dependsOn.length > 0 ? task.dependsOn.join(', ') : null],
    ['Model', task.model === null ? null : `${task.model}${task.reasoning === null ? '' : ` (${task.reasoning})`}`],
    ['Turns', String(task.turns)],
    ['Tokens', task.usage ? `${task.usage.totalTokens}${used === null ? '' : `, context ${used} % full`}` : null],
    ['Time', task.endedAt === null ? null : formatDuration(task.endedAt - task.createdAt)],
    ['Spawned by', clientOf(task.spawnedBy)],
    ['Thread', task.threadId],
  ];
  const tooltip = new vscode.MarkdownString();
  tooltip.appendMarkdown('**').appendText(task.id).appendMarkdown('**\n\n').appendText(task.title);
  for (const [name, value] of facts) {
    if (value !== null) tooltip.appendMarkdown(`\n\n${name}: `).appendText(value);
  }
  if (task.finalMessage !== null)
    tooltip.appendMarkdown('\n\n---\n\n').appendText(beginningOf(task.finalMessage, 1_000));
  return tooltip;
}
