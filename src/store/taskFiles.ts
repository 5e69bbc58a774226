import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { writePrivate } from '../base/privateFile';
import { readText } from '../base/readText';
import { redact } from '../base/redaction';
import { Emitter } from '../core/emitter';
import { messageOf } from '../core/errors';
import type {
  DamagedTask,
  DiskPaths,
  Journal,
  JournalFile,
  JournalPart,
  Log,
  RawLine,
  Unsaid,
  StoredRequest,
  StoredTask,
  StoredTasks,
} from '../core/ports';
import { isTaskId, type TaskId } from '../core/taskId';
import type { TaskSnapshot } from '../core/taskSnapshot';
import { metaOf } from './meta';
import { SegmentedFile } from './segmentedFile';
import { keptRequest, keptUnsaid, parseStoredTask } from './storedTask';

const flushEveryMs = 100;
/** What could not be written is tried again after this time. */
const againMs = 1_000;
/** Characters of one task that wait for the disk; more is dropped, and said. */
const waitingLimit = 16 * 1024 * 1024;
/** Bytes of `meta.json` and each of the others that are replaced as a whole: a prompt of 1 MB takes 6 MB at most. */
const fileLimit = 32 * 1024 * 1024;

/** Characters of what is wrong with a task. */
const reasonLimit = 300;

const requestFile = 'request.json';
const unsaidFile = 'unsaid.json';
const loadTogether = 50;

const names: Readonly<Record<JournalFile, string>> = {
  events: 'events.jsonl',
  timeline: 'timeline.log',
  summary: 'summary.log',
  verbose: 'verbose.log',
};

interface OpenTask {
  readonly paths: DiskPaths;
  readonly waiting: Map<JournalFile, string[]>;
  readonly files: Readonly<Record<JournalFile, SegmentedFile>>;
  meta: string | null;
  request: string | null;
  unsaid: string | null;
  /** What those were last, should the directory be deleted by somebody. */
  readonly latest: { meta: string | null; request: string | null; unsaid: string | null };
  /** Characters that wait for the disk. */
  unwritten: number;
  isMade: boolean;
  /** The last write, and whether everything is kept; writes of one task follow each other. */
  last: Promise<boolean>;
}

/** What is written together. Each part is taken out when it is on the disk. */
interface Batch {
  readonly appends: Map<JournalFile, string[]>;
  meta: string | null;
  request: string | null;
  unsaid: string | null;
}

/**
 * A directory a task below `<stateDir>/tasks`, written in batches off the caller's path: appended journals, and
 * `meta.json` replaced as a whole. Directories have mode 0700, files 0600.
 */
export class TaskFiles implements Journal {
  private readonly tasks = new Map<TaskId, OpenTask>();
  private readonly dirty = new Set<TaskId>();
  private timer: NodeJS.Timeout | undefined;
  private removing: Promise<unknown> = Promise.resolve();
  private readonly troubled = new Set<string>();
  private readonly troubleEmitter = new Emitter<{ readonly id: TaskId; readonly message: string }>();
  readonly onTrouble = this.troubleEmitter.event;
  private readonly root: string;
  private readonly existing: Set<string>;
  private readonly log: Log;

  private constructor(root: string, existing: Set<string>, log: Log) {
    this.root = root;
    this.existing = existing;
    this.log = log;
  }

  /** Makes the directory if it is missing. Rejects with the file system's error when that cannot be done. */
  static async open(stateDir: string, log: Log): Promise<TaskFiles> {
    const root = join(stateDir, 'tasks');
    await mkdir(root, { recursive: true, mode: 0o700 });
    return new TaskFiles(root, new Set(await readdir(root)), log);
  }

  paths(id: TaskId): DiskPaths {
    if (!isTaskId(id)) throw new Error(`Not a task id: ${id}`);
    const dir = join(this.root, id);
    return {
      dir,
      events_log: join(dir, names.events),
      timeline_log: join(dir, names.timeline),
      summary_log: join(dir, names.summary),
      verbose_log: join(dir, names.verbose),
      meta: join(dir, 'meta.json'),
    };
  }

  has(id: TaskId): boolean {
    return this.existing.has(id);
  }

  append(id: TaskId, file: JournalFile, text: string): void {
    const task = this.task(id);
    if (task.unwritten + text.length > waitingLimit) {
      this.trouble(id, 'slow', `The disk takes too little of the log of ${id}; some of it is not kept.`);
      return;
    }
    task.unwritten += text.length;
    const waiting = task.waiting.get(file) ?? [];
    waiting.push(text);
    task.waiting.set(file, waiting);
    this.schedule(id);
  }

  saveMeta(snapshot: TaskSnapshot): void {
    this.task(snapshot.id).meta = `${JSON.stringify(metaOf(snapshot), null, 1)}\n`;
    this.schedule(snapshot.id);
  }

  saveRequest(id: TaskId, request: StoredRequest): void {
    this.task(id).request = JSON.stringify(keptRequest(request));
    this.schedule(id);
  }

  saveUnsaid(id: TaskId, unsaid: Unsaid): void {
    this.task(id).unsaid = JSON.stringify(keptUnsaid(unsaid));
    this.schedule(id);
  }

  remove(id: TaskId): void {
    const { paths, last } = this.task(id);
    this.tasks.delete(id);
    this.dirty.delete(id);
    this.existing.delete(id);
    const removed = last.then(() => rm(paths.dir, { recursive: true, force: true }));
    this.removing = Promise.all([this.removing, removed]).catch((error: unknown) => {
      this.trouble(id, 'remove', messageOf(error));
    });
  }

  /** `tidy` deletes what is of no task; only the owner of the store may. */
  async load(tidy = true): Promise<StoredTasks> {
    const ids = [...this.existing].filter(isTaskId);
    const tasks: StoredTask[] = [];
    const damaged: DamagedTask[] = [];
    // In parts: each task is two open files.
    for (let start = 0; start < ids.length; start += loadTogether) {
      const part = await Promise.all(ids.slice(start, start + loadTogether).map((id) => this.loadOne(id, tidy)));
      for (const one of part) {
        if (one && 'reason' in one) damaged.push(one);
        else if (one) tasks.push(one);
      }
    }
    return { tasks: tasks.sort((a, b) => a.snapshot.createdAt - b.snapshot.createdAt), damaged };
  }

  /** Null for what is of no task. */
  private async loadOne(id: TaskId, tidy: boolean): Promise<StoredTask | DamagedTask | null> {
    const { dir, meta } = this.paths(id);
    if (tidy && (await this.wasNeverNamed(id))) return null;
    try {
      const [metaText = '', requestText = ''] = await Promise.all([meta, join(dir, requestFile)].map(required));
      const unsaid = await readText(join(dir, unsaidFile), fileLimit).catch(() => null);
      const task = parseStoredTask(metaText, requestText, unsaid);
      if (task.snapshot.id !== id) throw new Error(`It is of task ${task.snapshot.id}.`);
      return task;
    } catch (error) {
      return { id, dir, reason: messageOf(error).slice(0, reasonLimit) };
    }
  }

  /**
   * Whether the writer was killed before the task was kept, which is before anybody got its id: then nothing is lost with
   * its directory.
   */
  private async wasNeverNamed(id: TaskId): Promise<boolean> {
    const { dir } = this.paths(id);
    const names = await readdir(dir).catch(() => ['?']);
    if (names.some((name) => name !== requestFile && !name.endsWith('.new'))) return false;
    await rm(dir, { recursive: true, force: true });
    this.existing.delete(id);
    return true;
  }

  async *history(id: TaskId): AsyncGenerator<RawLine> {
    for await (const json of this.task(id).files.events.lines()) {
      const position = /^\{"t":\d+,"n":(\d+)/.exec(json)?.[1];
      yield { json, position: position === undefined ? null : Number(position) };
    }
  }

  async read(id: TaskId, file: JournalFile, offset: number, limit: number): Promise<JournalPart> {
    await this.flush();
    return this.task(id).files[file].read(offset, limit);
  }

  async sizes(ids: readonly TaskId[]): Promise<ReadonlyMap<TaskId, number>> {
    const sizes = new Map<TaskId, number>();
    // One after the other: there may be hundreds, and nobody waits for it.
    for (const id of ids) sizes.set(id, await sizeOfDirectory(this.paths(id).dir));
    return sizes;
  }

  async flush(): Promise<boolean> {
    clearTimeout(this.timer);
    this.timer = undefined;
    const ids = [...this.dirty];
    this.dirty.clear();
    for (const id of ids) this.write(id);
    const [kept] = await Promise.all([Promise.all([...this.tasks.values()].map((task) => task.last)), this.removing]);
    return kept.every(Boolean);
  }

  private task(id: TaskId): OpenTask {
    const known = this.tasks.get(id);
    if (known) return known;
    const paths = this.paths(id);
    this.existing.add(id);
    const task: OpenTask = {
      paths,
      waiting: new Map(),
      files: filesOf(paths),
      meta: null,
      request: null,
      unsaid: null,
      latest: { meta: null, request: null, unsaid: null },
      unwritten: 0,
      isMade: false,
      last: Promise.resolve(true),
    };
    this.tasks.set(id, task);
    return task;
  }

  private schedule(id: TaskId, inMs = flushEveryMs): void {
    this.dirty.add(id);
    this.timer ??= setTimeout(() => void this.flush(), inMs);
  }

  private write(id: TaskId): void {
    const task = this.task(id);
    const { meta, request, unsaid } = task;
    const batch: Batch = { appends: new Map(task.waiting), meta, request, unsaid };
    task.waiting.clear();
    task.meta = task.request = task.unsaid = null;
    for (const name of ['meta', 'request', 'unsaid'] as const) task.latest[name] = batch[name] ?? task.latest[name];
    task.last = task.last.then(async () => {
      try {
        await this.writeBatch(task, batch);
        this.troubled.delete(`${id}/write`);
        return true;
      } catch (error) {
        if (isGone(error)) this.makeAgain(task, batch);
        if (this.tasks.get(id) === task) this.writeAgain(id, task, batch);
        this.trouble(id, 'write', `${messageOf(error)} It is tried again.`);
        return false;
      }
    });
  }

  /** The journals come first: whoever reads after a kill in between knows less from `meta.json` than from them. */
  private async writeBatch(task: OpenTask, batch: Batch): Promise<void> {
    const { paths } = task;
    if (!task.isMade) await mkdir(paths.dir, { recursive: true, mode: 0o700 });
    task.isMade = true;
    for (const [file, texts] of batch.appends) {
      await task.files[file].append(texts.join(''), file !== 'verbose');
      batch.appends.delete(file);
      task.unwritten = Math.max(0, task.unwritten - lengthOf(texts));
    }
    if (batch.request !== null) await writePrivate(join(paths.dir, requestFile), batch.request);
    batch.request = null;
    if (batch.unsaid !== null) await writePrivate(join(paths.dir, unsaidFile), batch.unsaid);
    batch.unsaid = null;
    if (batch.meta !== null) await writePrivate(paths.meta, redact(batch.meta));
  }

  /** Somebody deleted the directory: the task is kept from here on, without what was said before. */
  private makeAgain(task: OpenTask, batch: Batch): void {
    task.isMade = false;
    Object.assign(batch, task.latest);
  }

  /** Puts what could not be written before what came meanwhile. */
  private writeAgain(id: TaskId, task: OpenTask, batch: Batch): void {
    for (const [file, texts] of batch.appends) {
      task.waiting.set(file, [...texts, ...(task.waiting.get(file) ?? [])]);
    }
    task.meta ??= batch.meta;
    task.request ??= batch.request;
    task.unsaid ??= batch.unsaid;
    this.schedule(id, againMs);
  }

  /** Says each kind of trouble of a task once: what a file holds may be lost, the task is not. */
  private trouble(id: TaskId, kind: string, message: string): void {
    const key = `${id}/${kind}`;
    if (this.troubled.has(key)) return;
    this.troubled.add(key);
    this.log('error', `Could not keep the files of task ${id}: ${message}`);
    this.troubleEmitter.fire({ id, message: `This task's files cannot be kept: ${message}` });
  }
}

function isGone(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

function lengthOf(texts: readonly string[]): number {
  return texts.reduce((sum, text) => sum + text.length, 0);
}

function filesOf(paths: DiskPaths): Readonly<Record<JournalFile, SegmentedFile>> {
  return {
    events: new SegmentedFile(paths.events_log),
    timeline: new SegmentedFile(paths.timeline_log),
    summary: new SegmentedFile(paths.summary_log),
    verbose: new SegmentedFile(paths.verbose_log),
  };
}

/** In bytes; 0 for one that is not there. */
async function sizeOfDirectory(dir: string): Promise<number> {
  const names = await readdir(dir).catch(() => []);
  const sizes = await Promise.all(
    names.map((name) =>
      stat(join(dir, name)).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

async function required(path: string): Promise<string> {
  const text = await readText(path, fileLimit);
  if (text === null) throw new Error(`"${path}" is missing.`);
  return text;
}
