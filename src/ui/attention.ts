import * as vscode from 'vscode';
import { DisposableStore } from '../core/disposable';
import type { TaskManager } from '../core/taskManager';
import type { TaskSnapshot } from '../core/taskSnapshot';
import { type AskedTask, finishedText, noticeText, urgentRequests } from './notices';
import { type Notice, showNotice } from './notice';
import { plainText, withoutLinks } from './plainText';
import { finishedNotices, requestNotices } from './settings';

/** The part of the tree that tells whether the person sees what happens. */
export interface TaskListView {
  readonly visible: boolean;
  readonly onDidChangeVisibility: vscode.Event<unknown>;
}

const statusBarMs = 8_000;

/** Tells the person what needs attention: never more than one notification, and none about what is in view. */
export class Attention implements vscode.Disposable {
  private readonly owned = new DisposableStore();
  private readonly tasks: TaskManager;
  private readonly view: TaskListView;
  private notice: Notice | undefined;
  /** Requests that the person put off. */
  private readonly later = new Set<string>();
  /** Turns that were seen at work, and so have an end to tell. */
  private readonly working = new Set<string>();

  constructor(tasks: TaskManager, view: TaskListView) {
    this.tasks = tasks;
    this.view = view;
    this.owned.add(tasks.feed.onDidChangeStatus((task) => this.onStatus(task)));
    this.owned.add(tasks.onDidChangeList(() => this.refresh()));
    this.owned.add(view.onDidChangeVisibility(() => this.refresh()));
    this.owned.add(vscode.workspace.onDidChangeConfiguration(() => this.refresh()));
  }

  dispose(): void {
    this.notice?.close();
    this.owned.dispose();
  }

  private onStatus(task: TaskSnapshot): void {
    this.refresh();
    const ended = finishedText(task);
    if (task.endedAt === null) this.working.add(task.id);
    else if (this.working.delete(task.id) && ended !== undefined && !this.view.visible) tellFinished(ended, task);
  }

  private refresh(): void {
    const pending = urgentRequests(this.tasks.snapshots());
    for (const key of this.later) if (!pending.some((asked) => keyOf(asked) === key)) this.later.delete(key);
    const open = this.wanted() ? pending.filter((asked) => !this.later.has(keyOf(asked))) : [];
    const shown = open.find((asked) => keyOf(asked) === this.notice?.key) ?? open[0];
    if (this.notice && keyOf(shown) !== this.notice.key) {
      this.notice.close();
      this.notice = undefined;
    }
    if (!shown) return;
    this.notice ??= showNotice(keyOf(shown), () => this.putOff());
    this.notice.update(noticeText(shown, open.length - 1));
  }

  private wanted(): boolean {
    const when = requestNotices();
    return when === 'always' || (when === 'whenHidden' && !this.view.visible);
  }

  /** What is open now keeps quiet until something new is asked. */
  putOff(): void {
    for (const asked of urgentRequests(this.tasks.snapshots())) this.later.add(keyOf(asked));
    this.refresh();
    vscode.window.setStatusBarMessage('$(bell-slash) Put off; what was asked still waits for you', statusBarMs);
  }
}

function keyOf(asked: AskedTask | undefined): string {
  return asked ? `${asked.task.id}/${asked.request.id}` : '';
}

function tellFinished(text: string, task: TaskSnapshot): void {
  const how = finishedNotices();
  if (how === 'notification') void vscode.window.showInformationMessage(withoutLinks(text));
  const icon = task.status === 'completed' ? 'pass' : 'error';
  if (how === 'statusBar') vscode.window.setStatusBarMessage(`$(${icon}) ${plainText(text)}`, statusBarMs);
}
