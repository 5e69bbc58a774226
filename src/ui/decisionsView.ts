import * as vscode from 'vscode';
import { DisposableStore } from '../core/disposable';
import { Emitter } from '../core/emitter';
import type { ApprovalQuestion } from '../core/toolGate';
import type { AuditLine, Policies } from '../worker';
import { type DecisionRow, decisionRow, waitingRow } from './decisionRows';
import { CommandId, ViewId } from './ids';

/** A flood of calls redraws the list this often, in ms. */
const redrawMs = 250;

type Decision =
  | { readonly kind: 'waiting'; readonly question: ApprovalQuestion }
  | { readonly kind: 'made'; readonly line: AuditLine };

/** The calls that wait for the person, and below them the latest decisions of the policy, the newest first. */
export class DecisionsView implements vscode.TreeDataProvider<Decision>, vscode.Disposable {
  private readonly owned = new DisposableStore();
  private readonly changeEmitter = this.owned.add(new Emitter<undefined>());
  readonly onDidChangeTreeData = this.changeEmitter.event;
  private readonly view: vscode.TreeView<Decision>;
  private readonly policies: Policies;
  private timer: NodeJS.Timeout | undefined;

  constructor(policies: Policies) {
    this.policies = policies;
    this.view = this.owned.add(vscode.window.createTreeView(ViewId.decisions, { treeDataProvider: this }));
    this.owned.add(policies.audit.onDidRecord(() => this.changed()));
    this.owned.add(policies.gate.approvals.onDidChange(() => this.changed()));
    this.owned.add(policies.onDidChange(() => this.draw()));
    this.draw();
  }

  getChildren(decision?: Decision): Decision[] {
    if (decision) return [];
    const { audit, gate } = this.policies;
    return [
      ...gate.approvals.open.map((question): Decision => ({ kind: 'waiting', question })),
      ...[...audit.recent].reverse().map((line): Decision => ({ kind: 'made', line })),
    ];
  }

  getTreeItem(decision: Decision): vscode.TreeItem {
    if (decision.kind === 'made') return itemOf(decisionRow(decision.line));
    const item = itemOf(waitingRow(decision.question));
    item.command = { command: CommandId.decideCall, title: 'Decide', arguments: [decision.question.id] };
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

function itemOf({ label, description, icon, tooltip }: DecisionRow): vscode.TreeItem {
  const item = new vscode.TreeItem(label);
  item.description = description;
  item.tooltip = tooltip;
  item.iconPath = new vscode.ThemeIcon(
    icon.id,
    icon.color === undefined ? undefined : new vscode.ThemeColor(icon.color),
  );
  return item;
}
