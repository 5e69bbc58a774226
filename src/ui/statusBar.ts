import * as vscode from 'vscode';
import { nameOfAttached } from '../core/caller';
import { DisposableStore } from '../core/disposable';
import type { TaskManager } from '../core/taskManager';
import { describeLimits, isNearLimit } from '../core/usageLimits';
import type { Policies, Worker } from '../worker';
import { ContainerId } from './ids';
import type { McpEndpoint } from './mcpEndpoint';
import { countsText, groupOf } from './taskView';

/** The programs that work through this window. */
export type Attached = Pick<McpEndpoint, 'attached' | 'onDidChangeAttached'>;

/** Counts what runs and what needs the person; a click opens the tasks. */
export class StatusBar implements vscode.Disposable {
  private readonly owned = new DisposableStore();
  private readonly item = this.owned.add(
    vscode.window.createStatusBarItem('codexWorker.status', vscode.StatusBarAlignment.Left, 0),
  );
  private readonly tasks: TaskManager;
  private readonly policies: Policies;
  private readonly attached: Attached;
  private readonly name: string;

  constructor({ tasks, policies }: Pick<Worker, 'tasks' | 'policies'>, attached: Attached, name: string) {
    this.tasks = tasks;
    this.policies = policies;
    this.attached = attached;
    this.name = name;
    this.item.name = 'Codex Worker';
    this.item.command = `workbench.view.extension.${ContainerId}`;
    this.owned.add(tasks.feed.onDidChangeStatus(() => this.draw()));
    this.owned.add(tasks.onDidChangeList(() => this.draw()));
    this.owned.add(tasks.onDidChangePlanLimits(() => this.draw()));
    this.owned.add(attached.onDidChangeAttached(() => this.draw()));
    this.owned.add(policies.onDidChange(() => this.draw()));
    this.owned.add(policies.audit.onDidRecord(() => this.draw()));
    this.owned.add(policies.gate.approvals.onDidChange(() => this.draw()));
    this.draw();
    this.item.show();
  }

  dispose(): void {
    this.owned.dispose();
  }

  private draw(): void {
    const tasks = this.tasks.snapshots();
    const calls = this.policies.gate.approvals.open.length;
    const waiting = calls === 0 ? '' : calls === 1 ? '1 call waits' : `${calls} calls wait`;
    const counts = [countsText(tasks), waiting].filter((part) => part !== '').join(', ');
    const asking = calls > 0 || tasks.some((task) => groupOf(task) === 'asking');
    const limits = this.tasks.planLimits;
    const idle = isNearLimit(limits) ? '$(warning)' : '$(server-process)';
    const running = tasks.some((task) => task.status === 'working' || task.status === 'submitted');
    const icon = asking ? '$(question)' : running ? '$(sync~spin)' : idle;
    this.item.text = `${icon} ${this.name}${counts === '' ? '' : `: ${counts}`}`;
    const plan = describeLimits(limits, Date.now());
    const state = counts === '' ? 'No Codex task is running' : `Codex tasks: ${counts}`;
    const { attached } = this.attached;
    const others =
      attached.length === 0 ? '' : `Working through this window: ${attached.map(nameOfAttached).join(', ')}`;
    const lines = [state, plan === '' ? '' : `Codex plan: ${plan}`, this.policies.status, others];
    this.item.tooltip = lines.filter((line) => line !== '').join('\n');
    this.item.backgroundColor = asking ? new vscode.ThemeColor('statusBarItem.warningBackground') : undefined;
  }
}
