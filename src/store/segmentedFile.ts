import { open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join, parse } from 'node:path';
import { appendWhole } from '../base/appendWhole';
import { lineLimit } from '../base/lineSplitter';
import { readLines } from '../base/readText';
import type { JournalPart } from '../core/ports';

export interface SegmentLimits {
  /** Bytes of one segment beyond which the next one begins. */
  readonly bytes: number;
  /** Segments that are kept, the one that is written included. */
  readonly kept: number;
}

const defaultLimits: SegmentLimits = { bytes: 16 * 1024 * 1024, kept: 4 };
const newline = 10;

interface Segment {
  readonly path: string;
  /** Where it begins in all that was ever appended, in bytes. */
  readonly start: number;
  readonly size: number;
}

/**
 * A file that is appended to and never grows too large. A full one is renamed after the offset of its first byte in all that
 * was ever appended (`verbose.log` to `verbose.0.log`), and the oldest of those goes when there are too many. So offsets
 * mean the same for ever, and nothing besides the files themselves has to be kept for that.
 */
export class SegmentedFile {
  private readonly path: string;
  private readonly limits: SegmentLimits;
  /** Whether its end is known to be that of a line. */
  private looked = false;
  private last: Promise<unknown> = Promise.resolve();

  constructor(path: string, limits = defaultLimits) {
    this.path = path;
    this.limits = limits;
  }

  /** Appends all of a text or nothing; `lines` begins a line of its own where a writer was killed in the middle of one. */
  append(text: string, lines: boolean): Promise<void> {
    return this.inTurn(async () => {
      const size = await sizeOf(this.path);
      const isTorn = !this.looked && lines && size > 0 && (await readPart(this.path, size - 1, 1))[0] !== newline;
      if (size > 0 && size + Buffer.byteLength(text) > this.limits.bytes) await this.beginAnew();
      await appendWhole(this.path, isTorn ? `\n${text}` : text);
      this.looked = true;
    });
  }

  /** Reads at most `limit` bytes from byte `offset`, or from the first that is kept; whole UTF-8 characters only. */
  read(offset: number, limit: number): Promise<JournalPart> {
    return this.inTurn(async () => {
      const segments = await this.segments();
      const start = Math.max(offset, segments[0]?.start ?? 0);
      const parts: Buffer[] = [];
      let [next, size] = [start, 0];
      for (const segment of segments) {
        size = segment.start + segment.size;
        const wanted = Math.min(start + limit, size) - next;
        if (wanted <= 0) continue;
        const part = await readPart(segment.path, next - segment.start, wanted);
        parts.push(part);
        next += part.length;
      }
      const whole = wholeCharacters(Buffer.concat(parts));
      return { text: whole.toString('utf8'), start, nextOffset: start + whole.length, size };
    });
  }

  /** Everything that is kept, a line at a time; only while nothing is appended. */
  async *lines(): AsyncGenerator<string> {
    for (const { path } of await this.inTurn(() => this.segments())) yield* readLines(path, lineLimit);
  }

  /** A segment is not renamed while it is read. */
  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.last.then(work);
    this.last = done.catch(() => undefined);
    return done;
  }

  /** Oldest first; the last one is written. */
  private async segments(): Promise<readonly Segment[]> {
    const { dir, name, ext } = parse(this.path);
    const names = await readdir(dir).catch(() => []);
    const starts = names.flatMap((file) => {
      const start = file.startsWith(`${name}.`) && file.endsWith(ext) ? file.slice(name.length + 1, -ext.length) : '';
      return /^\d{1,15}$/.test(start) ? [Number(start)] : [];
    });
    starts.sort((a, b) => a - b);
    const full = await Promise.all(
      starts.map(async (start) => ({ path: this.pathOf(start), start, size: await sizeOf(this.pathOf(start)) })),
    );
    const before = full.at(-1);
    const start = before ? before.start + before.size : 0;
    return [...full, { path: this.path, start, size: await sizeOf(this.path) }];
  }

  private pathOf(start: number): string {
    const { dir, name, ext } = parse(this.path);
    return join(dir, `${name}.${start}${ext}`);
  }

  private async beginAnew(): Promise<void> {
    const segments = await this.segments();
    await rename(this.path, this.pathOf(segments.at(-1)?.start ?? 0));
    const old = segments.slice(0, Math.max(0, segments.length + 1 - this.limits.kept));
    await Promise.all(old.map(({ path }) => rm(path, { force: true })));
  }
}

/** 0 for a file that is not there. */
function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}

async function readPart(path: string, position: number, length: number): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, position);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** Cuts an incomplete UTF-8 character off both ends. */
function wholeCharacters(bytes: Buffer): Buffer {
  let start = 0;
  while (start < Math.min(3, bytes.length) && isContinuation(bytes[start])) start++;
  let last = bytes.length - 1;
  while (last > bytes.length - 4 && isContinuation(bytes[last])) last--;
  const needed = sequenceLength(bytes[last]);
  const end = last >= 0 && last + needed > bytes.length ? last : bytes.length;
  return bytes.subarray(start, Math.max(start, end));
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}

function sequenceLength(byte: number | undefined): number {
  if (byte === undefined || byte < 0xc0) return 1;
  if (byte < 0xe0) return 2;
  return byte < 0xf0 ? 3 : 4;
}
