import { constants } from 'node:fs';
import { type FileHandle, open, realpath } from 'node:fs/promises';
import { LineSplitter } from './lineSplitter';
import { isWithin } from './within';

/** The one door for files that somebody else may have written: regular ones only, never more than a limit of them. */

/** Why a file that is there was not read; the message names it. */
export class UnreadableFileError extends Error {
  override name = 'UnreadableFileError';
  readonly reason: 'irregular' | 'too_large' | 'no_text' | 'elsewhere';

  constructor(reason: UnreadableFileError['reason'], message: string) {
    super(message);
    this.reason = reason;
  }
}

/**
 * The text of a regular file of at most `limit` bytes; null when there is no file. Rejects with an `UnreadableFileError` for
 * a device or a pipe, which would never end, for a longer file, and for one that is not UTF-8; else with the system's error.
 */
export async function readText(path: string, limit: number): Promise<string | null> {
  const file = await openRegular(path);
  if (!file) return null;
  try {
    const { size } = await file.stat();
    if (size > limit) throw new UnreadableFileError('too_large', `"${path}" has more than ${limit} bytes.`);
    // A file that grows meanwhile is read up to what it was.
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size), 0, size, 0);
    return decode(path, buffer.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
}

/** The same, but rejects too when the file, followed through its links, lies outside of a directory. */
export async function readTextWithin(directory: string, path: string, limit: number): Promise<string | null> {
  const real = await realpath(path).catch(nullIfMissing);
  if (real === null) return null;
  if (!isWithin(await realpath(directory), real)) {
    throw new UnreadableFileError('elsewhere', `"${path}" leads out of "${directory}".`);
  }
  return readText(real, limit);
}

/**
 * The lines of a regular file up to its size of now, and none when there is no file: a chunk at a time, so that nothing else
 * waits for all of it. Empty lines, and those of more than `lineLimit` characters, are left out. `within` tells which bytes
 * are read; a line that begins before them is left out, too.
 */
export async function* readLines(
  path: string,
  lineLimit: number,
  within: { readonly start?: number; readonly end?: number } = {},
): AsyncGenerator<string> {
  const file = await openRegular(path);
  if (!file) return;
  try {
    const size = Math.min((await file.stat()).size, within.end ?? Infinity);
    const start = within.start ?? 0;
    let lines: string[] = [];
    const splitter = new LineSplitter((line) => lines.push(line), () => undefined, lineLimit); // prettier-ignore
    const chunk = Buffer.alloc(chunkSize);
    // From one byte before, to see whether a line begins at the first.
    let isFirst = start > 0;
    for (let position = Math.max(0, start - 1); position < size;) {
      const { bytesRead } = await file.read(chunk, 0, Math.min(chunkSize, size - position), position);
      if (bytesRead === 0) break;
      position += bytesRead;
      const lineEnd = isFirst ? chunk.subarray(0, bytesRead).indexOf(newline) : -1;
      if (isFirst && lineEnd < 0) continue;
      isFirst = false;
      splitter.push(chunk.subarray(lineEnd + 1, bytesRead));
      yield* lines;
      lines = [];
    }
    splitter.end();
    yield* lines;
  } finally {
    await file.close();
  }
}

const chunkSize = 64 * 1024;
const newline = 10;

/** Null when there is no file. */
async function openRegular(path: string): Promise<FileHandle | null> {
  const nonBlocking = process.platform === 'win32' ? 0 : constants.O_NONBLOCK;
  const file = await open(path, constants.O_RDONLY | nonBlocking).catch(nullIfMissing);
  if (!file || (await file.stat()).isFile()) return file;
  await file.close();
  throw new UnreadableFileError('irregular', `"${path}" is no regular file.`);
}

function nullIfMissing(error: unknown): null {
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
  throw error;
}

function decode(path: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new UnreadableFileError('no_text', `"${path}" is not UTF-8 text.`);
  }
}
