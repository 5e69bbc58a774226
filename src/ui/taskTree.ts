import * as vscode from 'vscode';
import { DisposableStore } from '../core/disposable';
import type { DamagedTask } from '../core/ports';
import type { TaskId } from '../core/taskId';
import type { TaskManager } from '../core/taskManager';
import type { TaskSnapshot } from '../core/taskSnapshot';
import { CommandId, ItemContext, type RequestContext, ViewId } from './ids';
import {
  type Detail,
  detailsOf,
  type Group,
  groupOf,
  groups,
  groupsOf,
  groupTitles,
  type Icon,
  taskContext,
  taskDescription,
  taskIcon,
  tasksOf,
} from './taskView';
import { type Redraw, ShownTasks } from './shownTasks';
import { taskTooltip } from './taskTooltip';

export type TreeNode =
  | { readonly kind: 'group'; readonly group: Group }
  /** `asked` is the request that the row shows, which is the one that its inline actions answer. */
  | { readonly kind: 'task'; readonly id: TaskId; asked?: string | undefined }
  | { readonly kind: 'detail'; readonly taskId: TaskId; readonly detail: Detail }
  | { readonly kind: 'damagedGroup' }
  | { readonly kind: 'damaged'; readonly id: TaskId };

/** How often elapsed times are drawn anew while something runs, in ms. */
const tickMs = 1_000;
/** Between two times that everything is drawn anew, in ms. */
const settleMs = 300;

/** The sidebar's list of tasks: renders snapshots, and asks for nothing. */
export class TaskTree implements vscode.TreeDataProvider<TreeNode>, vscode.Disposable {
  private readonly owned = new DisposableStore();
  private readonly changed = this.owned.add(new vscode.EventEmitter<TreeNode | TreeNode[] | undefined>());
  private readonly groupNodes = new Map<Group, TreeNode>(groups.map((group) => [group, { kind: 'group', group }]));
  private readonly taskNodes = new Map<TaskId, TreeNode>();
  private readonly shown = new ShownTasks();
  private readonly view: vscode.TreeView<TreeNode>;
  private settling: NodeJS.Timeout | undefined;
  private again = false;
  private shownDamaged = 0;
  private readonly tasks: TaskManager;
  private readonly message: string;
  readonly onDidChangeTreeData = this.changed.event;

  /** Whether the person can see the tree. */
  get visible(): boolean {
    return this.view.visible;
  }

  get onDidChangeVisibility(): vscode.Event<unknown> {
    return this.view.onDidChangeVisibility;
  }

  constructor(tasks: TaskManager, message: string) {
    this.tasks = tasks;
    this.view = this.owned.add(
      vscode.window.createTreeView(ViewId.tasks, { treeDataProvider: this, showCollapseAll: true }),
    );
    this.message = message;
    this.drawMessage();
    this.drawBadge();
    this.owned.add(tasks.onDidChangeList(() => this.drawMessage()));
    this.owned.add(tasks.feed.onDidUpdate((updated) => this.onUpdate(updated)));
    this.owned.add(tasks.onDidChangeList(() => this.onListChange()));
    // A hidden tree is not asked for its rows, and that is when the badge matters.
    this.owned.add(tasks.feed.onDidChangeStatus(() => this.drawBadge()));
    this.owned.add(tasks.onDidChangeList(() => this.drawBadge()));
    const ticker = setInterval(() => this.tick(), tickMs);
    this.owned.add({ dispose: () => clearInterval(ticker) });
  }

  getChildren(node?: TreeNode): TreeNode[] {
    if (!node) return this.roots();
    switch (node.kind) {
      case 'group':
        return tasksOf(node.group, this.tasks.snapshots()).map((task) => this.nodeOf(task));
      case 'task': {
        const task = this.tasks.tryGet(node.id);
        return task ? detailsOf(task).map((detail) => ({ kind: 'detail', taskId: node.id, detail })) : [];
      }
      case 'detail':
        return (node.detail.children ?? []).map((detail) => ({ kind: 'detail', taskId: node.taskId, detail }));
      case 'damagedGroup':
        return this.tasks.damaged.map(({ id }) => ({ kind: 'damaged', id }));
      case 'damaged':
        return [];
    }
  }

  getTreeItem(node: TreeNode): vscode.TreeItem {
    switch (node.kind) {
      case 'group':
        return this.groupItem(node.group);
      case 'task':
        return this.taskItem(node);
      case 'detail':
        return detailItem(node.taskId, node.detail);
      case 'damagedGroup':
        return damagedGroupItem(this.tasks.damaged.length);
      case 'damaged':
        return damagedItem(node.id, this.tasks.damaged);
    }
  }

  resolveTreeItem(item: vscode.TreeItem, node: TreeNode): vscode.TreeItem {
    const task = node.kind === 'task' ? this.tasks.tryGet(node.id) : undefined;
    if (task) item.tooltip = taskTooltip(task);
    return item;
  }

  dispose(): void {
    clearTimeout(this.settling);
    this.owned.dispose();
  }

  private roots(): TreeNode[] {
    const tasks = this.tasks.snapshots();
    this.shown.show(tasks);
    const used = groupsOf(tasks);
    this.shownDamaged = this.tasks.damaged.length;
    const damaged: TreeNode[] = this.shownDamaged > 0 ? [{ kind: 'damagedGroup' }] : [];
    return [...used.flatMap((group) => this.groupNodes.get(group) ?? []), ...damaged];
  }

  private drawBadge(): void {
    const asking = this.tasks.snapshots().filter((task) => groupOf(task) === 'asking').length;
    const tooltip = asking === 1 ? '1 task needs you' : `${asking} tasks need you`;
    this.view.badge = asking === 0 ? undefined : { value: asking, tooltip };
  }

  /** The editor shows a message or, in an empty view, its welcome, never both (seen with 1.139). */
  private drawMessage(): void {
    this.view.message = this.tasks.snapshots().length > 0 ? this.message : '';
  }

  private groupItem(group: Group): vscode.TreeItem {
    const item = new vscode.TreeItem(groupTitles[group], vscode.TreeItemCollapsibleState.Expanded);
    item.id = `group:${group}`;
    item.description = String(tasksOf(group, this.tasks.snapshots()).length);
    return item;
  }

  private taskItem(node: TreeNode & { kind: 'task' }): vscode.TreeItem {
    const { id } = node;
    const task = this.tasks.tryGet(id);
    if (!task) return new vscode.TreeItem(id);
    node.asked = task.pending[0]?.id;
    const open =
      groupOf(task) === 'asking' ? vscode.TreeItemCollapsibleState.Expanded : vscode.TreeItemCollapsibleState.Collapsed;
    const item = new vscode.TreeItem(task.title, open);
    // A new id where a task changes its group lets the group's own expansion apply.
    item.id = `task:${id}:${groupOf(task) === 'asking' ? 'asking' : ''}`;
    item.description = taskDescription(task, Date.now());
    item.iconPath = themeIcon(taskIcon(task));
    item.contextValue = taskContext(task);
    item.accessibilityInformation = { label: `${task.title}, ${task.status}, ${item.description}` };
    return item;
  }

  private onUpdate(updated: readonly TaskSnapshot[]): void {
    this.draw(this.shown.update(updated.filter(({ id }) => this.tasks.tryGet(id))));
  }

  private onListChange(): void {
    const tasks = this.tasks.snapshots();
    const ids = new Set(tasks.map(({ id }) => id));
    for (const id of this.taskNodes.keys()) if (!ids.has(id)) this.taskNodes.delete(id);
    const redraw = this.shown.updateList(tasks);
    this.draw(this.tasks.damaged.length === this.shownDamaged ? redraw : { kind: 'all' });
  }

  private draw(redraw: Redraw): void {
    switch (redraw.kind) {
      case 'all':
        this.fireAll();
        return;
      case 'groups':
        this.changed.fire(redraw.groups.flatMap((group) => this.groupNodes.get(group) ?? []));
        return;
      case 'tasks':
        if (redraw.tasks.length > 0) this.changed.fire(redraw.tasks.map((task) => this.nodeOf(task)));
    }
  }

  /** Only what runs shows a clock. */
  private tick(): void {
    if (!this.view.visible) return;
    const running = this.tasks.snapshots().filter((task) => groupOf(task) === 'running');
    if (running.length > 0) this.changed.fire(running.map((task) => this.nodeOf(task)));
  }

  /** Two that follow each other closely can leave a group without its rows (seen with 1.139). */
  private fireAll(): void {
    if (this.settling) {
      this.again = true;
      return;
    }
    this.again = false;
    this.changed.fire(undefined);
    this.settling = setTimeout(() => {
      this.settling = undefined;
      if (this.again) this.fireAll();
    }, settleMs);
  }

  private nodeOf({ id }: TaskSnapshot): TreeNode {
    const known = this.taskNodes.get(id);
    if (known) return known;
    const node: TreeNode = { kind: 'task', id };
    this.taskNodes.set(id, node);
    return node;
  }
}

/** What a click on a request does. */
const clicks: Readonly<Record<RequestContext, vscode.Command>> = {
  approval: { command: CommandId.decide, title: 'Decide' },
  patch: { command: CommandId.reviewChanges, title: 'Review Changes' },
  question: { command: CommandId.answer, title: 'Answer' },
};

function detailItem(taskId: TaskId, detail: Detail): vscode.TreeItem {
  const { Collapsed, None } = vscode.TreeItemCollapsibleState;
  const item = new vscode.TreeItem(detail.label, detail.children ? Collapsed : None);
  item.id = `${taskId}:${detail.id}`;
  item.description = detail.description;
  item.iconPath = themeIcon(detail.icon);
  item.tooltip = detail.tooltip;
  if (detail.request) {
    item.contextValue = `request.${detail.request.context}`;
    item.command = { ...clicks[detail.request.context], arguments: [{ kind: 'detail', taskId, detail }] };
  } else if (detail.file !== undefined) {
    item.command = { command: 'vscode.open', title: 'Open', arguments: [vscode.Uri.file(detail.file)] };
  } else if (detail.children === undefined) {
    item.command = { command: CommandId.openLog, title: 'Open Log', arguments: [{ kind: 'task', id: taskId }] };
  }
  return item;
}

function damagedGroupItem(count: number): vscode.TreeItem {
  const item = new vscode.TreeItem('Damaged', vscode.TreeItemCollapsibleState.Expanded);
  item.id = 'group:damaged';
  item.description = String(count);
  item.tooltip = 'The files of these tasks cannot be read. They are kept on the disk until you remove them.';
  return item;
}

function damagedItem(id: TaskId, damaged: readonly DamagedTask[]): vscode.TreeItem {
  const item = new vscode.TreeItem(id, vscode.TreeItemCollapsibleState.None);
  const task = damaged.find((one) => one.id === id);
  item.id = `damaged:${id}`;
  item.description = task?.reason ?? '';
  item.tooltip = task ? `${task.dir}\n\n${task.reason}` : '';
  item.iconPath = themeIcon({ id: 'warning', color: 'list.warningForeground' });
  item.contextValue = ItemContext.damaged;
  return item;
}

function themeIcon({ id, color }: Icon): vscode.ThemeIcon {
  return new vscode.ThemeIcon(id, color === undefined ? undefined : new vscode.ThemeColor(color));
}
