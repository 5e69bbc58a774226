import * as vscode from 'vscode';
import type { PendingRequest } from '../core/pendingRequest';
import type { TaskSnapshot } from '../core/taskSnapshot';
import { type AskedTask, pendingRequests } from './notices';
import { plainText } from './plainText';
import { requestTitle, taskDescription } from './taskView';

interface TaskItem extends vscode.QuickPickItem {
  readonly task: TaskSnapshot;
}

function itemsOf(tasks: readonly TaskSnapshot[]): TaskItem[] {
  return tasks.map((task) => ({
    label: plainText(task.title),
    description: task.id,
    detail: plainText(taskDescription(task, Date.now())),
    task,
  }));
}

/** Asks for one of the tasks; undefined when there is none or the person chose none. */
export async function pickTask(tasks: readonly TaskSnapshot[], placeHolder: string): Promise<TaskSnapshot | undefined> {
  if (tasks.length === 0) {
    void vscode.window.showInformationMessage('There is no Codex task for that.');
    return undefined;
  }
  const picked = await vscode.window.showQuickPick(itemsOf(tasks), { placeHolder, matchOnDescription: true });
  return picked?.task;
}

/** Asks for several of the tasks. */
export async function pickTasks(tasks: readonly TaskSnapshot[], placeHolder: string): Promise<TaskSnapshot[]> {
  if (tasks.length === 0) {
    void vscode.window.showInformationMessage('No Codex task is running.');
    return [];
  }
  const options = { placeHolder, canPickMany: true as const, matchOnDescription: true };
  const picked = await vscode.window.showQuickPick(itemsOf(tasks), options);
  return (picked ?? []).map((item) => item.task);
}

/** Asks which pending request is meant; takes the only one without asking when `sure`. */
export async function pickRequest(
  tasks: readonly TaskSnapshot[],
  placeHolder: string,
  fits: (request: PendingRequest) => boolean,
  sure: boolean,
): Promise<AskedTask | undefined> {
  const asked = pendingRequests(tasks).filter(({ request }) => fits(request));
  if (asked.length === 0) {
    void vscode.window.showInformationMessage('No Codex task waits for that.');
    return undefined;
  }
  if (sure && asked.length === 1) return asked[0];
  const items = asked.map((one) => ({
    label: plainText(requestTitle(one.request, one.task.cwd)),
    description: one.task.id,
    detail: plainText(one.task.title),
    one,
  }));
  return (await vscode.window.showQuickPick(items, { placeHolder, matchOnDetail: true }))?.one;
}

/** Asks for the folder of a new task when there are several. */
export async function pickFolder(folders: readonly string[]): Promise<string | undefined> {
  if (folders.length <= 1) return folders[0];
  return vscode.window.showQuickPick([...folders], { placeHolder: 'Where shall Codex work?' });
}
