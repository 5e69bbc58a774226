import { constants } from 'node:fs';
import { lstat, mkdir, open, realpath, rename, rm, stat } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { dirname } from 'node:path';

/** Files that only this user may have written and may read. */

const isWindows = process.platform === 'win32';
const uid = process.getuid?.();

/** Makes a directory that nobody else can enter, and its parents. Rejects when it is there and others can. */
export async function makePrivateDir(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  if (!(await isPrivateDir(path))) throw new Error(`${path} must be a directory of yours that nobody else can enter.`);
}

/** Whether a directory is this user's, and nobody else can enter it. */
export async function isPrivateDir(path: string): Promise<boolean> {
  const info = await lstat(path).catch(() => null);
  if (!info?.isDirectory()) return false;
  return isWindows || (info.uid === uid && (info.mode & 0o077) === 0);
}

/**
 * The text of a private file: null when it is not there, no regular file, a link, of another user, readable by others, or
 * longer than `limit` bytes.
 */
export async function readPrivate(path: string, limit: number): Promise<string | null> {
  // A FIFO would not open, a link would lead elsewhere.
  const flags = constants.O_RDONLY | (isWindows ? 0 : constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const file = await open(path, flags).catch(() => null);
  if (!file) return null;
  try {
    const info = await file.stat();
    const isPrivate = isWindows || (info.uid === uid && (info.mode & 0o077) === 0);
    if (!info.isFile() || !isPrivate || info.size > limit) return null;
    const { buffer, bytesRead } = await file.read(Buffer.alloc(limit + 1), 0, limit + 1, 0);
    return bytesRead > limit ? null : buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}

/** Replaces a private file as a whole: readers see the old text or the new one. Makes its directory if it is missing. */
export async function writePrivate(path: string, text: string, mode = 0o600): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  // A name of its own: two writers must not share one.
  const next = `${path}.${randomBytes(6).toString('hex')}.new`;
  try {
    const file = await open(next, 'wx', mode);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(next, path);
  } catch (error) {
    await rm(next, { force: true });
    throw error;
  }
}

/** Replaces a file of the person's as a whole: one that is a link stays one, and its mode stays. */
export async function replaceText(path: string, text: string): Promise<void> {
  const real = await realpath(path).catch(() => path);
  const mode = await stat(real).then(
    (info) => info.mode & 0o777,
    () => 0o600,
  );
  await writePrivate(real, text, mode);
}
