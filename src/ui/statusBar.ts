import * as vscode from 'vscode';
import { DisposableStore } from '../core/disposable';
import type { TaskManager } from '../core/taskManager';
import { ContainerId } from './ids';
import { countsText, groupOf } from './taskView';

/** Counts what runs and what needs the person; a click opens the tasks. */
export class StatusBar implements vscode.Disposable {
  private readonly owned = new DisposableStore();
  private readonly item = this.owned.add(
    vscode.window.createStatusBarItem('codexWorker.status', vscode.StatusBarAlignment.Left, 0),
  );
  private readonly tasks: TaskManager;
  private readonly name: string;

  constructor(tasks: TaskManager, name: string) {
    this.tasks = tasks;
    this.name = name;
    this.item.name = 'Codex Worker';
    this.item.command = `workbench.view.extension.${ContainerId}`;
    this.owned.add(tasks.feed.onDidChangeStatus(() => this.draw()));
    this.owned.add(tasks.onDidChangeList(() => this.draw()));
    this.draw();
    this.item.show();
  }

  dispose(): void {
    this.owned.dispose();
  }

  private draw(): void {
    const tasks = this.tasks.snapshots();
    const counts = countsText(tasks);
    const asking = tasks.some((task) => groupOf(task) === 'asking');
    const icon = asking ? '$(question)' : counts === '' ? '$(server-process)' : '$(sync~spin)';
    this.item.text = `${icon} ${this.name}${counts === '' ? '' : `: ${counts}`}`;
    this.item.tooltip = counts === '' ? 'No Codex task is running' : `Codex tasks: ${counts}`;
    this.item.backgroundColor = asking ? new vscode.ThemeColor('statusBarItem.warningBackground') : undefined;
  }
}
