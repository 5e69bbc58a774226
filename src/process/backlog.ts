import { rm } from 'node:fs/promises';
import { appendWhole } from '../base/appendWhole';
import { lineLimit } from '../base/lineSplitter';
import { readLines } from '../base/readText';

export interface BacklogLimits {
  /** Bytes of the file beyond which streamed text is left out, which the finished item repeats, and beyond which all is. */
  readonly deltas: number;
  readonly all: number;
  /** Characters in memory beyond which the server has to wait. */
  readonly memory: number;
}
const defaultLimits: BacklogLimits = { deltas: 128 * 1024 * 1024, all: 256 * 1024 * 1024, memory: 64 * 1024 * 1024 };

/**
 * What a server said and its client has not confirmed, in order: in memory while a client is there, in a file while there
 * is none. Each line has a position, which only grows, over servers too.
 */
export class Backlog {
  private kept: { readonly position: number; readonly text: string }[] = [];
  private position: number;
  private spooledTo = 0;
  private fileBytes = 0;
  private memory = 0;
  private writing: Promise<unknown> = Promise.resolve();
  private readonly path: string;
  private readonly limits: BacklogLimits;

  constructor(path: string, startPosition: number, limits = defaultLimits) {
    this.path = path;
    this.position = startPosition;
    this.limits = limits;
  }

  /** Whether so much was kept that more cannot be. */
  get full(): boolean {
    return this.fileBytes > this.limits.all;
  }

  /** Whether so much is in memory that no more may come: the client does not confirm it, or the disk does not take it. */
  get crowded(): boolean {
    return this.memory > this.limits.memory;
  }

  /** Keeps a line of the server; gives it as its client reads it. */
  add(line: string): string {
    const text = `${++this.position} ${line}\n`;
    this.kept.push({ position: this.position, text });
    this.memory += text.length;
    return text;
  }

  /** The client has what it got up to a position for good. */
  acknowledge(position: number): void {
    const first = this.kept.findIndex((one) => one.position > position);
    const confirmed = first < 0 ? this.kept.splice(0) : this.kept.splice(0, first);
    this.memory -= lengthOf(confirmed);
    if (this.spooledTo === 0 || position < this.spooledTo) return;
    this.spooledTo = this.fileBytes = 0;
    void this.write(() => rm(this.path, { force: true }));
  }

  /** Moves what is in memory to the file; what a full disk does not take stays, to be tried again. */
  spool(): Promise<unknown> {
    const taken = this.kept.splice(0);
    const lines = taken.filter(({ text }) => this.fileBytes < this.limits.deltas || !isDelta(text));
    const text = lines.map((line) => line.text).join('');
    this.spooledTo = this.position;
    if (text === '') return this.writing;
    const bytes = Buffer.byteLength(text);
    this.fileBytes += bytes;
    this.memory -= lengthOf(taken);
    return this.write(async () => {
      try {
        await appendWhole(this.path, text);
      } catch {
        this.kept.unshift(...lines);
        this.memory += lengthOf(lines);
        this.fileBytes -= bytes;
      }
    });
  }

  /** Gives everything that is not confirmed, oldest first; `write` may ask for a pause. */
  async replay(write: (text: string) => Promise<void> | undefined): Promise<void> {
    await this.writing;
    if (this.spooledTo > 0) for await (const line of readBacklog(this.path)) await write(`${line}\n`);
    // In memory already, and what comes next must follow at once.
    for (const { text } of this.kept) void write(text);
  }

  private write(work: () => Promise<unknown>): Promise<unknown> {
    this.writing = this.writing.then(work).catch(() => undefined);
    return this.writing;
  }
}

/** The lines of a backlog's file; none when there is no file. */
export function readBacklog(path: string): AsyncGenerator<string> {
  return readLines(path, lineLimit);
}

function lengthOf(lines: readonly { readonly text: string }[]): number {
  return lines.reduce((sum, { text }) => sum + text.length, 0);
}

function isDelta(text: string): boolean {
  return /^\d+ \{"method":"[^"]*[dD]elta"/.test(text);
}
