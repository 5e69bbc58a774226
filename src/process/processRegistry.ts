import { appendFile, mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { readLines } from '../base/readText';
import { signalProcess } from './killTree';
import { identity, type ProcessEntry, processTable } from './processTable';

const writeEveryMs = 100;
const graceMs = 500;
const limitMs = 2_000;
const lookEveryMs = 20;
/** Characters of `pid:startTime`. */
const keyLimit = 100;

/**
 * The processes of tasks by exact identity, in a file of the store, so that the next owner of the store can end what is
 * left of an owner that was killed: a pid alone may be another program's by then.
 */
export class ProcessRegistry {
  private waiting: string[] = [];
  private timer: NodeJS.Timeout | undefined;
  private readonly path: string;

  constructor(stateDir: string) {
    this.path = join(stateDir, 'processes.txt');
  }

  /** Adds a process by its identity; see processTable.ts. Never throws: what cannot be kept is not found later. */
  add(key: string): void {
    this.waiting.push(key);
    this.timer ??= setTimeout(() => void this.write(), writeEveryMs).unref();
  }

  /** The processes that are there and alive. */
  async alive(): Promise<readonly ProcessEntry[]> {
    const found = new Map<string, ProcessEntry>();
    let all: ReadonlyMap<string, ProcessEntry> | undefined;
    for await (const key of readLines(this.path, keyLimit)) {
      all ??= new Map((await processTable().list()).map((entry) => [identity(entry), entry]));
      const entry = all.get(key);
      if (entry) found.set(key, entry);
    }
    return [...found.values()];
  }

  /** Ends what is left of an owner that is dead; gives what it ended. Only an owner of the store may call it. */
  async reap(): Promise<readonly ProcessEntry[]> {
    const found = await this.alive();
    const started = performance.now();
    for (let left = found; left.length > 0 && performance.now() - started < limitMs; left = await this.alive()) {
      const signal = performance.now() - started < graceMs ? 'SIGTERM' : 'SIGKILL';
      for (const { pid } of left) signalProcess(pid, signal);
      await delay(lookEveryMs);
    }
    await rm(this.path, { force: true });
    return found;
  }

  private async write(): Promise<void> {
    this.timer = undefined;
    const text = this.waiting
      .splice(0)
      .map((key) => `${key}\n`)
      .join('');
    try {
      await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
      await appendFile(this.path, text, { mode: 0o600 });
    } catch {
      // The store tells that it cannot write.
    }
  }
}
