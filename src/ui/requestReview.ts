import { basename } from 'node:path';
import * as vscode from 'vscode';
import { DisposableStore } from '../core/disposable';
import { relativePath } from '../core/describeRequest';
import { findPending } from '../core/findPending';
import type { TaskId } from '../core/taskId';
import type { TaskManager } from '../core/taskManager';
import type { FileChange } from '../core/taskEvent';
import { ContextKey, requestScheme } from './ids';
import type { AskedTask } from './notices';
import { patchTexts } from './patchTexts';
import { requestText } from './requestText';
import type { TaskTarget } from './taskTarget';

interface Review {
  readonly taskId: TaskId;
  readonly requestId: string;
  readonly title: string;
  readonly uris: readonly vscode.Uri[];
}

interface Resource {
  readonly label: vscode.Uri;
  readonly before: vscode.Uri;
  readonly after: vscode.Uri;
}

/** Shows all of a request in an editor, a patch in the diff editor, and closes it once the request is answered. */
export class RequestReview implements vscode.Disposable, vscode.TextDocumentContentProvider {
  private readonly owned = new DisposableStore();
  private readonly changed = this.owned.add(new vscode.EventEmitter<vscode.Uri>());
  private readonly reviews = new Map<string, Review>();
  private readonly texts = new Map<string, string>();
  private readonly tasks: TaskManager;
  readonly onDidChange = this.changed.event;

  constructor(tasks: TaskManager) {
    this.tasks = tasks;
    this.owned.add(vscode.workspace.registerTextDocumentContentProvider(requestScheme, this));
    this.owned.add(tasks.feed.onDidChangeStatus(({ id }) => this.closeAnswered(id)));
    this.owned.add(tasks.onDidChangeList(() => this.closeRemoved()));
    this.owned.add(vscode.window.tabGroups.onDidChangeTabs(() => this.tellActive()));
    this.owned.add(vscode.window.tabGroups.onDidChangeTabGroups(() => this.tellActive()));
  }

  provideTextDocumentContent(uri: vscode.Uri): string {
    return this.texts.get(uri.toString()) ?? 'This request was answered; nothing of it is kept here.';
  }

  /** The request whose files the multi-file diff editor in front shows: its own address names none of ours. */
  get active(): TaskTarget | undefined {
    const { activeTab } = vscode.window.tabGroups.activeTabGroup;
    return [...this.reviews.values()].find(({ title, uris }) => uris.length > 2 && isTitleOf(title, activeTab));
  }

  /** Whether the editor that the person looks at shows all of a request. */
  shows({ task, request }: AskedTask): boolean {
    const uri = shownUri(vscode.window.tabGroups.activeTabGroup.activeTab?.input);
    const target = this.active ?? (uri === '' ? undefined : requestOfDocument(vscode.Uri.parse(uri)));
    return target?.taskId === task.id && target.requestId === request.id;
  }

  /** Opens the change of every file, before and after; as text what is no patch, or does not fit its files any more. */
  async open(asked: AskedTask): Promise<void> {
    const { task, request } = asked;
    const { question } = request;
    const key = `${task.id}/${request.id}`;
    const changes = question.type === 'file_approval' ? question.changes : [];
    const title = `Codex wants to change ${nameOf(changes)} (${task.id}, ${request.id})`;
    const parts = await Promise.all(changes.map((change) => this.prepare(asked, change)));
    const resources = parts.filter((part) => part !== null);
    const whole = resources.length === parts.length ? resources : [];
    const text = whole.length === 0 ? [this.provide(`${key}/${request.id} of ${task.id}.md`, textOf(asked))] : [];
    const uris = [...resources.flatMap(({ before, after }) => [before, after]), ...text];
    this.reviews.set(key, { taskId: task.id, requestId: request.id, title, uris });
    this.closeAnswered(task.id);
    // It may have been answered while the files were read.
    findPending(this.tasks.get(task.id), request.id);
    await show(title, whole, text);
  }

  dispose(): void {
    this.owned.dispose();
  }

  /** The two sides have one path, so that only a file that moves is shown as one. */
  private async prepare({ task, request }: AskedTask, change: FileChange): Promise<Resource | null> {
    const texts = patchTexts(change, await currentText(vscode.Uri.file(change.path)));
    if (!texts) return null;
    const [from, to] = [change.path, change.movedTo ?? change.path].map((path) =>
      [task.id, request.id, ...relativePath(path, task.cwd).split(/[\\/]/)].filter((part) => part !== '').join('/'),
    );
    const before = this.provide(from ?? '', texts.before, 'before');
    const after = this.provide(to ?? '', texts.after, 'after');
    return { label: after, before, after };
  }

  private provide(path: string, text: string, side = ''): vscode.Uri {
    const uri = vscode.Uri.from({ scheme: requestScheme, path: `/${path}`, query: side });
    this.texts.set(uri.toString(), text);
    this.changed.fire(uri);
    return uri;
  }

  private closeRemoved(): void {
    for (const { taskId } of this.reviews.values()) if (!this.tasks.tryGet(taskId)) this.closeAnswered(taskId);
  }

  private closeAnswered(id: TaskId): void {
    const pending = this.tasks.tryGet(id)?.pending.map((request) => request.id) ?? [];
    for (const [key, review] of this.reviews) {
      if (review.taskId === id && !pending.includes(review.requestId)) this.close(key, review);
    }
  }

  private close(key: string, { uris, title }: Review): void {
    this.reviews.delete(key);
    const own = new Set(uris.map((uri) => uri.toString()));
    for (const uri of own) this.texts.delete(uri);
    const tabs = vscode.window.tabGroups.all.flatMap((group) => group.tabs);
    void vscode.window.tabGroups.close(
      tabs.filter((tab) => own.has(shownUri(tab.input)) || isTitleOf(title, tab)),
      true,
    );
  }

  private tellActive(): void {
    void vscode.commands.executeCommand('setContext', ContextKey.reviewing, this.active !== undefined);
  }
}

async function show(title: string, resources: readonly Resource[], text: readonly vscode.Uri[]): Promise<void> {
  const [only] = resources;
  if (!only) {
    for (const uri of text) await vscode.window.showTextDocument(uri, { preview: false });
  } else if (resources.length === 1) {
    await vscode.commands.executeCommand('vscode.diff', only.before, only.after, title, { preview: false });
  } else {
    const list = resources.map(({ label, before, after }) => [label, before, after]);
    await vscode.commands.executeCommand('vscode.changes', title, list);
  }
}

function textOf(asked: AskedTask): string {
  const isPatch = asked.request.question.type === 'file_approval';
  const note = isPatch
    ? 'Some of these files are not what the patch was made for, so this is the patch itself.\n\n'
    : '';
  return note + requestText(asked);
}

/** The request that one of our documents shows. */
export function requestOfDocument(uri: vscode.Uri): { taskId: TaskId; requestId: string } | undefined {
  const [, taskId, requestId] = uri.path.split('/');
  return uri.scheme === requestScheme && taskId && requestId ? { taskId, requestId } : undefined;
}

/** The editor adds the number of files to the title of several. */
function isTitleOf(title: string, tab: vscode.Tab | undefined): boolean {
  return tab !== undefined && (tab.label === title || tab.label.startsWith(`${title} (`));
}

function shownUri(input: unknown): string {
  if (input instanceof vscode.TabInputTextDiff) return input.modified.toString();
  return input instanceof vscode.TabInputText ? input.uri.toString() : '';
}

function nameOf(changes: readonly FileChange[]): string {
  const [only] = changes;
  if (!only || changes.length > 1) return `${changes.length} files`;
  const moved = only.movedTo === undefined ? '' : ` → ${basename(only.movedTo)}`;
  return basename(only.path) + moved;
}

/** Bytes of a file that is shown beside its change; of a larger one the patch itself is shown. */
const fileLimit = 5 * 1024 * 1024;

/** Null when there is no such file, or one that is too large to be shown. An open editor's unsaved text does not count: Codex changes the file. */
async function currentText(uri: vscode.Uri): Promise<string | null> {
  try {
    const { type, size } = await vscode.workspace.fs.stat(uri);
    if ((type & vscode.FileType.File) === 0 || size > fileLimit) return null;
    return new TextDecoder().decode(await vscode.workspace.fs.readFile(uri));
  } catch {
    return null;
  }
}
