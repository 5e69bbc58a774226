import * as vscode from 'vscode';
import { DisposableStore } from '../core/disposable';
import { Emitter } from '../core/emitter';
import type { AuditLine, Policies } from '../worker';
import { decisionRow } from './decisionRows';
import { ViewId } from './ids';

/** A flood of calls redraws the list this often, in ms. */
const redrawMs = 250;

/** The latest decisions of the policy, the newest first. */
export class DecisionsView implements vscode.TreeDataProvider<AuditLine>, vscode.Disposable {
  private readonly owned = new DisposableStore();
  private readonly changeEmitter = this.owned.add(new Emitter<undefined>());
  readonly onDidChangeTreeData = this.changeEmitter.event;
  private readonly view: vscode.TreeView<AuditLine>;
  private readonly policies: Policies;
  private timer: NodeJS.Timeout | undefined;

  constructor(policies: Policies) {
    this.policies = policies;
    this.view = this.owned.add(vscode.window.createTreeView(ViewId.decisions, { treeDataProvider: this }));
    this.owned.add(policies.audit.onDidRecord(() => this.changed()));
    this.owned.add(policies.onDidChange(() => this.draw()));
    this.draw();
  }

  getChildren(line?: AuditLine): AuditLine[] {
    return line ? [] : [...this.policies.audit.recent].reverse();
  }

  getTreeItem(line: AuditLine): vscode.TreeItem {
    const { label, description, icon, tooltip } = decisionRow(line);
    const item = new vscode.TreeItem(label);
    item.description = description;
    item.tooltip = tooltip;
    item.iconPath = new vscode.ThemeIcon(
      icon.id,
      icon.color === undefined ? undefined : new vscode.ThemeColor(icon.color),
    );
    return item;
  }

  dispose(): void {
    clearTimeout(this.timer);
    this.owned.dispose();
  }

  private changed(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.draw();
      this.changeEmitter.fire(undefined);
    }, redrawMs);
  }

  private draw(): void {
    this.view.description = this.policies.status;
  }
}
