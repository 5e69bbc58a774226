import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { connect, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isPrivateDir, readPrivate } from './privateFile';
import { isAlive, startOf } from './processStart';

/** A socket's address has 104 bytes on macOS and 108 on Linux, its end included. */
const addressLimit = 100;
const socketName = 's.sock';
/** Who made the directory, as `pid:startTime`. */
const ownerFile = 'owner';
const directoryForm = /^codex-worker-[A-Za-z0-9]{6}$/;
/** Directories that one look takes. */
const sweepLimit = 200;
const answerLimitMs = 500;

/** Where a server can listen. */
export interface LocalAddress {
  /** A Unix socket in a directory of mode 0700, or a Windows named pipe that nobody can guess. */
  readonly address: string;
  readonly cleanUp: () => Promise<void>;
}

/**
 * A new address. Rejects when none can be made. The directory is in the runtime directory of the session, which is gone when
 * the user logs out, or in a temporary one; one that has to last longer is in a temporary one.
 */
export async function newLocalAddress(how: 'session' | 'lasting' = 'session'): Promise<LocalAddress> {
  if (process.platform === 'win32') {
    const address = `\\\\.\\pipe\\codex-worker-${randomBytes(16).toString('hex')}`;
    return { address, cleanUp: () => Promise.resolve() };
  }
  const prefix = 'codex-worker-';
  const longest = join(`${prefix}XXXXXX`, socketName).length + 1;
  const parents = [how === 'session' ? (process.env.XDG_RUNTIME_DIR ?? '') : '', tmpdir(), '/tmp'];
  const short = parents.filter((dir) => dir !== '' && Buffer.byteLength(dir) + longest < addressLimit);
  for (const parent of short) {
    // mkdtemp makes it with mode 0700: nobody else gets at the socket, not even before its own mode is set.
    const dir = await mkdtemp(join(parent, prefix)).catch(() => null);
    if (dir === null) continue;
    await writeFile(join(dir, ownerFile), `${process.pid}:${await startOf(process.pid)}`, { mode: 0o600 });
    removeDead(parent).catch(() => undefined);
    return { address: join(dir, socketName), cleanUp: () => rm(dir, { recursive: true, force: true }) };
  }
  throw new Error(`No directory for a socket can be made in ${short.join(', ')}.`);
}

/**
 * Removes the directories of owners that were killed: told by their exact identity, and nobody answers there, for the owner
 * may be in another container that sees the same directory.
 */
async function removeDead(parent: string): Promise<void> {
  const names = await readdir(parent);
  for (const name of names.filter((one) => directoryForm.test(one)).slice(0, sweepLimit)) {
    const dir = join(parent, name);
    if (!(await isPrivateDir(dir))) continue;
    const [pid = 0, started = 0] = ((await readPrivate(join(dir, ownerFile), 64)) ?? '').split(':').map(Number);
    if (!Number.isSafeInteger(pid) || pid <= 0 || (await isAlive(pid, started))) continue;
    const socket = await reach(join(dir, socketName), answerLimitMs);
    socket?.destroy();
    if (!socket) await rm(dir, { recursive: true, force: true });
  }
}

/** Resolves when the server listens; rejects when it cannot. A socket can be connected to by this user alone. */
export async function listen(
  server: Server,
  where: { readonly path: string } | { host: string; port: number },
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(where, () => {
      server.off('error', reject);
      resolve();
    });
  });
  if ('path' in where && process.platform !== 'win32') await chmod(where.path, 0o600);
}

/** A connection, or null when nobody answers there within `limitMs`. It has a listener for errors, which end it. */
export function reach(address: string, limitMs: number): Promise<Socket | null> {
  return new Promise((resolve) => {
    const socket = connect(address);
    const late = setTimeout(() => socket.destroy(new Error('It does not answer.')), limitMs);
    socket.on('error', () => {
      clearTimeout(late);
      resolve(null);
    });
    socket.once('connect', () => {
      clearTimeout(late);
      resolve(socket);
    });
  });
}
