import { beginningOf } from '../base/wellFormed';
import { BoundedMap } from './boundedMap';
import { beginningBefore, BoundedText, firstLine } from './boundedText';
import type { ChangedFile, TaskSnapshot, WorkItem } from './taskSnapshot';
import type { PlanStep, TaskEvent, TokenUsage } from './taskEvent';
import { changedFile } from './transcript';

const outputLimit = 16_000;
const messageLimit = 256_000;
const diffLimit = 1_000_000;
const itemLimit = 200;
const changedFileLimit = 1_000;

/** What a command said while it ran. */
interface Streamed {
  /** Where in the output it begins. */
  readonly from: number;
  readonly text: BoundedText;
}

/** What a task did so far, gathered from its events. Every part is bounded. */
export class TaskDetails {
  usage: TokenUsage | null = null;
  plan: readonly PlanStep[] = [];
  finalMessage: string | null = null;
  lastCommand: string | null = null;
  activity = '';
  private readonly output = new BoundedText(outputLimit);
  private readonly items = new Map<string, WorkItem>();
  private readonly files = new Map<string, ChangedFile>();
  private readonly diffs = new Map<string, string>();
  private readonly streamed = new BoundedMap<string, Streamed>(itemLimit);
  private turnId = '';
  /** What was the last command before the newest one, which may be declined. */
  private commandBefore: string | null = null;

  /** Takes over what is known from an earlier run. */
  restore(task: TaskSnapshot): void {
    this.usage = task.usage;
    this.plan = task.plan;
    this.finalMessage = task.finalMessage;
    this.lastCommand = task.lastCommand;
    this.output.append(task.outputTail);
    for (const item of task.items) this.items.set(item.id, item);
    for (const file of task.changedFiles) this.files.set(file.path, file);
    if (task.diff !== '') this.diffs.set('earlier', task.diff);
  }

  apply(event: TaskEvent): void {
    switch (event.type) {
      case 'turnStarted':
        this.turnId = event.turnId;
        this.finalMessage = null;
        this.plan = [];
        this.activity = 'thinking';
        break;
      case 'turnCompleted':
        this.closeOpenItems();
        this.activity = '';
        break;
      case 'messageDelta':
        this.activity = 'answering';
        break;
      case 'message':
        this.finalMessage = beginningOf(event.text, messageLimit);
        this.keep({ kind: 'message', id: event.itemId, text: beginningOf(event.text, 2_000) });
        this.output.append(`${this.output.endsLine ? '' : '\n'}${event.text}\n`);
        break;
      case 'reasoningDelta':
        this.activity = 'thinking';
        break;
      case 'commandStarted':
        this.commandStarted(event);
        break;
      case 'commandOutput':
        this.stream(event.itemId, event.text);
        break;
      case 'commandCompleted':
        this.commandCompleted(event);
        break;
      case 'filesChanging':
        this.activity = `editing ${event.changes.map((change) => change.path.replace(/^.*[\\/]/, '')).join(', ')}`;
        this.keep({ kind: 'files', id: event.itemId, files: event.changes.map(changedFile), outcome: null });
        break;
      case 'filesChanged':
        this.filesChanged(event);
        break;
      case 'toolStarted':
        this.activity = event.tool;
        this.keep({ kind: 'tool', id: event.itemId, tool: event.tool, outcome: null });
        break;
      case 'toolCompleted':
        this.activity = 'thinking';
        this.keep({ kind: 'tool', id: event.itemId, tool: event.tool, outcome: event.outcome });
        break;
      case 'plan':
        this.plan = event.steps;
        break;
      case 'diff':
        this.setDiff(event.diff);
        break;
      case 'usage':
        this.usage = event.usage;
        break;
      case 'retrying':
        this.activity = firstLine(`retrying: ${event.message}`, 80);
        break;
      case 'workResumed':
      case 'model':
      case 'userMessage':
      case 'reasoning':
      case 'note':
        break;
    }
  }

  get outputTail(): string {
    return this.output.toString();
  }

  get workItems(): readonly WorkItem[] {
    return [...this.items.values()];
  }

  get changedFiles(): readonly ChangedFile[] {
    return [...this.files.values()];
  }

  /** The diffs of the turns, newest last; the oldest go when all together are too long. */
  get diff(): string {
    return [...this.diffs.values()].filter((diff) => diff !== '').join('\n');
  }

  private setDiff(diff: string): void {
    this.diffs.set(this.turnId, beginningOf(diff, diffLimit));
    let total = 0;
    for (const [turnId, kept] of [...this.diffs].reverse()) {
      total += kept.length;
      if (total > diffLimit) this.diffs.delete(turnId);
    }
  }

  private commandStarted(event: TaskEvent & { type: 'commandStarted' }): void {
    this.commandBefore = this.lastCommand;
    this.lastCommand = event.command;
    this.activity = firstLine(`$ ${event.command}`, 80);
    this.output.append(`$ ${event.command}\n`);
    this.keep({ kind: 'command', id: event.itemId, command: event.command, exitCode: null, outcome: null });
  }

  private commandCompleted(event: TaskEvent & { type: 'commandCompleted' }): void {
    this.activity = 'thinking';
    const { itemId: id, command, exitCode, outcome } = event;
    this.addUnseen(this.streamed.take(id), event.output ?? '');
    if (outcome === 'declined') {
      this.output.append('[declined]\n');
      if (this.lastCommand === command) this.lastCommand = this.commandBefore;
    }
    this.keep({ kind: 'command', id, command, exitCode, outcome });
  }

  private stream(itemId: string, text: string): void {
    const streamed = this.streamed.get(itemId) ?? { from: this.output.end, text: new BoundedText(outputLimit) };
    this.streamed.set(itemId, streamed);
    streamed.text.append(text);
    this.output.append(text);
  }

  /** Of a short command all output comes with its end only, and of a long one what it said in its first moments (seen). */
  private addUnseen(streamed: Streamed | undefined, output: string): void {
    if (streamed) this.output.insert(streamed.from, beginningBefore(streamed.text, output));
    else this.output.append(output);
  }

  private filesChanged(event: TaskEvent & { type: 'filesChanged' }): void {
    const files = event.changes.map(changedFile);
    this.activity = 'thinking';
    this.keep({ kind: 'files', id: event.itemId, files, outcome: event.outcome });
    if (event.outcome !== 'completed') return;
    for (const file of files) this.addFile(file);
  }

  private addFile(file: ChangedFile): void {
    const before = this.files.get(file.path);
    if (!before && this.files.size >= changedFileLimit) return;
    const kind = before?.kind === 'add' && file.kind === 'update' ? 'add' : file.kind;
    const added = file.added + (before?.added ?? 0);
    const removed = file.removed + (before?.removed ?? 0);
    this.files.set(file.path, { path: file.path, kind, added, removed });
  }

  private keep(item: WorkItem): void {
    this.items.set(item.id, item);
    if (this.items.size <= itemLimit) return;
    const oldest = this.items.keys().next();
    if (!oldest.done) this.items.delete(oldest.value);
  }

  /** A killed command's completion can come late or never (39 of 259 recorded turns left items open). */
  closeOpenItems(): void {
    for (const [id, item] of this.items) {
      if (item.kind !== 'message' && item.outcome === null) this.items.set(id, { ...item, outcome: 'failed' });
    }
  }
}
