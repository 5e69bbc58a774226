import { constants } from 'node:fs';
import { open, realpath } from 'node:fs/promises';
import { isAbsolute, relative, sep } from 'node:path';

/**
 * The text of a regular file of at most `limit` bytes; null when there is no file. Rejects when it is no regular file, or
 * longer: a device or a pipe would never end.
 */
export async function readText(path: string, limit: number): Promise<string | null> {
  const nonBlocking = process.platform === 'win32' ? 0 : constants.O_NONBLOCK;
  const file = await open(path, constants.O_RDONLY | nonBlocking).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  });
  if (!file) return null;
  try {
    const info = await file.stat();
    if (!info.isFile()) throw new Error(`"${path}" is no regular file.`);
    if (info.size > limit) throw new Error(`"${path}" has more than ${limit} bytes.`);
    // A file that grows meanwhile is read up to the limit.
    const { buffer, bytesRead } = await file.read(Buffer.alloc(info.size), 0, info.size, 0);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}

/** The same, but rejects too when the file, followed through its links, lies outside of a directory. */
export async function readTextWithin(directory: string, path: string, limit: number): Promise<string | null> {
  const real = await realpath(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  });
  if (real === null) return null;
  const inside = relative(await realpath(directory), real);
  if (isAbsolute(inside) || inside === '..' || inside.startsWith(`..${sep}`)) {
    throw new Error(`"${path}" leads out of "${directory}".`);
  }
  return readText(real, limit);
}
