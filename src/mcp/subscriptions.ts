import type { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { ErrorCode, McpError } from '@modelcontextprotocol/sdk/types.js';
import { type Disposable, DisposableStore } from '../core/disposable';
import type { TaskId } from '../core/taskId';
import type { TaskManager } from '../core/taskManager';
import { parseTaskUri, scoreboardUri } from './uris';

const updateEveryMs = 1_000;
const subscriptionLimit = 500;
/** No task has this id. */
const everyTask = 'all';

/** One session's subscriptions: tells of changed resources at most once a second a task, and of a changed list. */
export class Subscriptions implements Disposable {
  private readonly owned = new DisposableStore();
  /** What is told to whom: a task that the subscriber may not see is told of to nobody. */
  private readonly uris = new Map<string, (id: TaskId) => boolean>();
  private readonly due = new Set<string>();
  private timer: NodeJS.Timeout | undefined;
  private listChanged = false;
  private readonly server: Server;
  private readonly isMute: () => boolean;

  /** While `isMute` nothing is told. */
  constructor(tasks: TaskManager, server: Server, isMute: () => boolean) {
    this.server = server;
    this.isMute = isMute;
    this.owned.add(tasks.feed.onDidUpdate((updated) => updated.forEach((task) => this.changed(task.id))));
    this.owned.add(
      tasks.onDidChangeList(() => {
        this.listChanged = true;
        this.changed(everyTask);
        this.schedule();
      }),
    );
  }

  add(uri: string, isShown: (id: TaskId) => boolean): void {
    if (!parseTaskUri(uri))
      throw new McpError(
        ErrorCode.InvalidParams,
        `"${uri.slice(0, 200)}" is no resource of this server; see resources/list.`,
      );
    if (this.uris.size >= subscriptionLimit) {
      throw new McpError(
        ErrorCode.InvalidParams,
        `There are ${subscriptionLimit} subscriptions already; unsubscribe some.`,
      );
    }
    this.uris.set(uri, isShown);
  }

  remove(uri: string): void {
    this.uris.delete(uri);
  }

  dispose(): void {
    clearTimeout(this.timer);
    this.owned.dispose();
  }

  private changed(id: string): void {
    for (const [uri, isShown] of this.uris) {
      const isAbout = id === everyTask || uri === scoreboardUri || parseTaskUri(uri)?.id === id;
      if (isAbout && (id === everyTask ? uri === scoreboardUri : isShown(id))) this.due.add(uri);
    }
    if (this.due.size > 0) this.schedule();
  }

  private schedule(): void {
    this.timer ??= setTimeout(() => this.send(), updateEveryMs).unref();
  }

  private send(): void {
    this.timer = undefined;
    const uris = [...this.due];
    this.due.clear();
    if (this.isMute()) return;
    const sent = uris.map((uri) => this.server.sendResourceUpdated({ uri }));
    if (this.listChanged) sent.push(this.server.sendResourceListChanged());
    this.listChanged = false;
    // A session that is going away cannot be told.
    void Promise.allSettled(sent);
  }
}
