import * as vscode from 'vscode';
import { DisposableStore } from '../core/disposable';
import type { TaskId } from '../core/taskId';
import type { TaskManager } from '../core/taskManager';
import { isTerminalStatus } from '../core/taskState';
import { OutputQueue } from './outputQueue';

/** Channels of tasks; beyond it the oldest finished ones go. */
const channelLimit = 20;
const flushEveryMs = 100;
/** Bytes of an older transcript that a reopened channel shows. */
const reopenedBytes = 1024 * 1024;

/** Streams the transcript of each task into an output channel of its own. */
export class TaskOutputs implements vscode.Disposable {
  private readonly owned = new DisposableStore();
  /** Oldest first. */
  private readonly channels = new Map<TaskId, vscode.OutputChannel>();
  private readonly queues = new Map<TaskId, OutputQueue>();
  private readonly reopening = new Set<TaskId>();
  /** Tasks whose channel has their log from its beginning, or as much as a channel shows. */
  private readonly whole = new Set<TaskId>();
  private timer: NodeJS.Timeout | undefined;
  private readonly tasks: TaskManager;

  constructor(tasks: TaskManager) {
    this.tasks = tasks;
    this.owned.add(tasks.feed.onDidAppendText(({ id, text }) => this.append(id, text)));
    this.owned.add(tasks.onDidChangeList(() => this.dropRemoved()));
  }

  /** Shows the log of a task, from its file where the channel does not have all of it. */
  async show(id: TaskId): Promise<void> {
    if (!this.whole.has(id) && this.tasks.tryGet(id)) await this.reopen(id);
    this.channels.get(id)?.show(true);
  }

  dispose(): void {
    clearTimeout(this.timer);
    this.flush();
    for (const channel of this.channels.values()) channel.dispose();
    this.owned.dispose();
  }

  private append(id: TaskId, text: string): void {
    const queue = this.queues.get(id) ?? new OutputQueue();
    this.queues.set(id, queue);
    queue.push(text);
    this.timer ??= setTimeout(() => this.flush(), flushEveryMs);
  }

  private flush(): void {
    this.timer = undefined;
    for (const [id, queue] of this.queues) {
      if (this.reopening.has(id)) continue;
      this.queues.delete(id);
      if (this.tasks.tryGet(id)) this.channel(id).append(queue.take(this.tasks.paths(id).verbose_log));
    }
    if (this.queues.size > 0) this.timer = setTimeout(() => this.flush(), flushEveryMs);
  }

  private channel(id: TaskId): vscode.OutputChannel {
    const known = this.channels.get(id);
    if (known) return known;
    this.makeRoom();
    // A plain channel: a log channel stamps each append, in the middle of streamed text.
    const channel = vscode.window.createOutputChannel(`Codex: ${id}`);
    this.channels.set(id, channel);
    return channel;
  }

  private async reopen(id: TaskId): Promise<void> {
    // What waits in the queue now is in the file once it is read; what comes meanwhile is appended afterwards.
    this.queues.delete(id);
    this.reopening.add(id);
    try {
      const { size } = await this.tasks.readJournal(id, 'verbose', 0, 0);
      const { text } = await this.tasks.readJournal(id, 'verbose', Math.max(0, size - reopenedBytes), reopenedBytes);
      this.channel(id).replace(text);
      this.whole.add(id);
    } finally {
      this.reopening.delete(id);
    }
  }

  private makeRoom(): void {
    for (const id of this.channels.keys()) {
      if (this.channels.size < channelLimit) return;
      const task = this.tasks.tryGet(id);
      if (!task || isTerminalStatus(task.status)) this.drop(id);
    }
  }

  private dropRemoved(): void {
    for (const id of [...this.channels.keys()]) if (!this.tasks.tryGet(id)) this.drop(id);
  }

  private drop(id: TaskId): void {
    this.channels.get(id)?.dispose();
    this.channels.delete(id);
    this.queues.delete(id);
    this.whole.delete(id);
  }
}
