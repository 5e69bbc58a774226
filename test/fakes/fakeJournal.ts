import { Emitter } from '../../src/core/emitter';
import type {
  DamagedTask,
  DiskPaths,
  Journal,
  JournalFile,
  JournalPart,
  RawLine,
  StoredRequest,
  StoredTask,
  StoredTasks,
  Unsaid,
} from '../../src/core/ports';
import type { TaskSnapshot } from '../../src/core/taskSnapshot';

/** Keeps journals in memory. */
export class FakeJournal implements Journal {
  readonly texts = new Map<string, string>();
  readonly metas: TaskSnapshot[] = [];

  paths(id: string): DiskPaths {
    const dir = `/state/${id}`;
    return { dir, events_log: dir, timeline_log: dir, summary_log: dir, verbose_log: dir, meta: dir };
  }

  has(): boolean {
    return false;
  }

  append(id: string, file: JournalFile, text: string): void {
    this.texts.set(`${id}/${file}`, this.text(id, file) + text);
  }

  text(id: string, file: JournalFile): string {
    return this.texts.get(`${id}/${file}`) ?? '';
  }

  saveMeta(snapshot: TaskSnapshot): void {
    this.metas.push(snapshot);
  }

  readonly requests = new Map<string, StoredRequest>();
  stored: readonly StoredTask[] = [];

  saveRequest(id: string, request: StoredRequest): void {
    this.requests.set(id, request);
  }

  readonly unsaid = new Map<string, Unsaid>();

  saveUnsaid(id: string, unsaid: Unsaid): void {
    this.unsaid.set(id, unsaid);
  }

  async *history(): AsyncGenerator<RawLine> {
    // The fake agent has a past of its own.
  }

  readonly removed: string[] = [];

  remove(id: string): void {
    this.removed.push(id);
  }

  damaged: readonly DamagedTask[] = [];

  load(): Promise<StoredTasks> {
    return Promise.resolve({ tasks: this.stored, damaged: this.damaged });
  }

  read(id: string, file: JournalFile): Promise<JournalPart> {
    const text = this.text(id, file);
    return Promise.resolve({ text, start: 0, nextOffset: text.length, size: text.length });
  }

  readonly bytes = new Map<string, number>();

  sizes(): Promise<ReadonlyMap<string, number>> {
    return Promise.resolve(this.bytes);
  }

  private readonly troubleEmitter = new Emitter<{ readonly id: string; readonly message: string }>();
  readonly onTrouble = this.troubleEmitter.event;

  trouble(id: string, message: string): void {
    this.troubleEmitter.fire({ id, message });
  }

  flush(): Promise<boolean> {
    return Promise.resolve(true);
  }
}
