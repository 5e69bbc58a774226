import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { lstat, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { LineSplitter } from './lineSplitter';
import { listen, type LocalAddress, newLocalAddress, reach } from './localSocket';
import { makePrivateDir } from './privateFile';
import { isWithin } from './within';

/**
 * A door into a program: a local socket through which another program of the same user comes in. The token alone proves too
 * little: a sandboxed command may read the file that holds it, and connect where it has the network. So whoever knocks also
 * has to *write* a file of a name that the door chooses into the directory of doors, where no sandbox lets a command write.
 *
 *     guest  {"door":1,"token":"…","hello":{…}}
 *     door   {"write":"<directory of doors>/<nonce>"}
 *     guest  {"written":true}
 *     door   {"welcome":{…}}     or at any time {"refused":{"reason":"…"}}; then lines of whatever goes through it
 */
export const doorVersion = 1;

/** Why a door does not let somebody in. */
export type Refusal = 'version' | 'token' | 'proof' | 'closing' | 'full';

const helloLimitMs = 5_000;
const reachLimitMs = 3_000;
const refusalLimitMs = 500;
/** Nobody takes that long from being told a name to having written the file, in ms. */
const nonceLimitMs = 60_000;
/** Characters of a line of the conversation before the welcome. */
const lineLimit = 16_384;
const newline = 10;
const nonceForm = /^[0-9a-f]{64}$/;
const guestLimit = 200;

type Json = Readonly<Record<string, unknown>>;

/** Somebody who was let in. */
export interface Guest {
  readonly socket: Socket;
  /** What it said of itself: text of anybody. */
  readonly hello: Json;
  /** From now on it gets what the guest says, one line each. */
  readonly onLine: (listener: (line: string) => void) => void;
  /** Leaves what the guest says to be read from the socket, which is paused. */
  readonly leave: () => Socket;
}

export interface DoorOptions {
  /** See `makeDoorsDir`. */
  readonly doorsDir: string;
  /** Whether it is there longer than a session of the user. */
  readonly lasting?: boolean;
  /** What a guest is told of us. */
  readonly welcome: () => Json;
  readonly onGuest: (guest: Guest) => void;
}

const doorsName = 'doors';

/**
 * Makes the directory of doors: below the user's data directory, whatever a program keeps its state in, or in the runtime
 * directory of the session where that cannot be written, or lies where tasks may write (`writable`). Rejects when neither can.
 */
export async function makeDoorsDir(dataDir: string, writable: readonly string[]): Promise<string> {
  const runtime = process.env.XDG_RUNTIME_DIR ?? '';
  const first = join(dataDir, doorsName);
  const all = runtime === '' ? [first] : [first, join(runtime, 'codex-worker', doorsName)];
  const isSafe = (dir: string): boolean => !writable.some((root) => isWithin(root, dir));
  let failed: unknown;
  for (const dir of [...all.filter(isSafe), ...all.filter((one) => !isSafe(one))]) {
    try {
      await makePrivateDir(dir);
      return dir;
    } catch (error) {
      failed ??= error;
    }
  }
  throw failed;
}

export class Door {
  readonly token = randomBytes(32).toString('base64url');
  private readonly sockets = new Set<Socket>();
  private closing = false;
  private readonly options: DoorOptions;
  private readonly server: Server;
  private readonly local: LocalAddress;

  private constructor(options: DoorOptions, server: Server, local: LocalAddress) {
    this.options = options;
    this.server = server;
    this.local = local;
    server.on('connection', (socket) => this.meet(socket));
  }

  /** Rejects when there can be no socket. */
  static async open(options: DoorOptions): Promise<Door> {
    const { doorsDir, lasting = false } = options;
    await removeLeft(doorsDir);
    const local = await newLocalAddress(lasting ? 'lasting' : 'session');
    const server = createServer();
    const door = new Door(options, server, local);
    await listen(server, { path: local.address });
    return door;
  }

  get address(): string {
    return this.local.address;
  }

  /** Lets nobody in any more, and lets go of everybody who is in. */
  async close(): Promise<void> {
    this.closing = true;
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
    await this.local.cleanUp();
  }

  private meet(socket: Socket): void {
    this.sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => this.sockets.delete(socket));
    if (this.sockets.size > guestLimit) refuse(socket, 'full');
    else void this.admit(socket).catch(() => socket.destroy());
  }

  private async admit(socket: Socket): Promise<void> {
    const late = setTimeout(() => socket.destroy(), helloLimitMs);
    const lines = new Lines(socket);
    try {
      const knock = parse(await lines.next()) ?? {};
      const reason = this.refusalOf(knock) ?? ((await this.isProven(socket, lines)) ? null : 'proof');
      if (reason !== null) {
        refuse(socket, reason);
        return;
      }
      // It may have gone, or we may be closing, while the proof was looked at.
      if (socket.destroyed || this.closing) {
        socket.destroy();
        return;
      }
      say(socket, { welcome: this.options.welcome() });
      const hello = isJson(knock.hello) ? knock.hello : {};
      this.options.onGuest({
        socket,
        hello,
        onLine: (listener) => lines.pass(listener),
        leave: () => lines.leave(),
      });
    } finally {
      clearTimeout(late);
    }
  }

  private refusalOf({ door, token }: Json): Refusal | null {
    if (this.closing) return 'closing';
    if (door !== doorVersion) return 'version';
    return typeof token === 'string' && isEqual(token, this.token) ? null : 'token';
  }

  private async isProven(socket: Socket, lines: Lines): Promise<boolean> {
    const path = join(this.options.doorsDir, randomBytes(32).toString('hex'));
    try {
      say(socket, { write: path });
      if (parse(await lines.next())?.written !== true) return false;
      const info = await lstat(path).catch(() => null);
      return info?.isFile() === true && (process.getuid === undefined || info.uid === process.getuid());
    } finally {
      await rm(path, { force: true });
    }
  }
}

/** What a guest wrote whose door was gone by then. */
async function removeLeft(doors: string): Promise<void> {
  const names = await readdir(doors);
  const late = Date.now() - nonceLimitMs;
  for (const path of names.filter((name) => nonceForm.test(name)).map((name) => join(doors, name))) {
    const info = await lstat(path).catch(() => null);
    if (info && info.mtimeMs < late) await rm(path, { force: true });
  }
}

/** A way in, or why there is none: nobody answers, or the door refuses. */
export type Knocked =
  | {
      readonly kind: 'in';
      readonly socket: Socket;
      readonly welcome: Json;
      readonly onLine: (listener: (line: string) => void) => void;
      /** Leaves what the door's owner says to be read from the socket, which is paused. */
      readonly leave: () => Socket;
    }
  | { readonly kind: 'nobody' }
  | { readonly kind: 'refused'; readonly reason: Refusal };

export interface Address {
  readonly address: string;
  readonly token: string;
}

/** Goes through a door. Never rejects. */
export async function knock({ address, token }: Address, hello: Json): Promise<Knocked> {
  const socket = await reach(address, reachLimitMs);
  if (!socket) return { kind: 'nobody' };
  const late = setTimeout(() => socket.destroy(), helloLimitMs);
  const lines = new Lines(socket);
  try {
    say(socket, { door: doorVersion, token, hello });
    for (;;) {
      const said = parse(await lines.next());
      if (typeof said?.write === 'string') {
        if (await prove(socket, said.write)) continue;
        socket.destroy();
        return { kind: 'refused', reason: 'proof' };
      }
      if (isJson(said?.welcome)) {
        return {
          kind: 'in',
          socket,
          welcome: said.welcome,
          onLine: (listener) => lines.pass(listener),
          leave: () => lines.leave(),
        };
      }
      if (isJson(said?.refused)) {
        socket.destroy();
        return { kind: 'refused', reason: said.refused.reason as Refusal };
      }
      throw new Error('The door says something else.');
    }
  } catch {
    socket.destroy();
    return { kind: 'nobody' };
  } finally {
    clearTimeout(late);
  }
}

/** Writes what the door wants, never a file of another name or place; false where that cannot be, as in a sandbox. */
async function prove(socket: Socket, path: string): Promise<boolean> {
  if (!nonceForm.test(basename(path)) || basename(dirname(path)) !== doorsName) throw new Error('That is no door.');
  const isWritten = await writeFile(path, '', { flag: 'wx', mode: 0o600 }).then(
    () => true,
    () => false,
  );
  if (isWritten) say(socket, { written: true });
  return isWritten;
}

/** What a socket says: line by line at first, then all that follows to somebody else. */
class Lines {
  private held = Buffer.alloc(0);
  private wake: () => void = () => undefined;
  private isClosed = false;
  private readonly socket: Socket;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', this.take);
    socket.once('close', () => {
      this.isClosed = true;
      this.wake();
    });
  }

  private readonly take = (chunk: Buffer): void => {
    this.held = Buffer.concat([this.held, chunk]);
    // What follows a line waits for whoever takes it: a socket that has ended takes nothing back.
    if (this.held.includes(newline) || this.held.length > lineLimit) this.socket.pause();
    this.wake();
  };

  /** Rejects when the connection ends first, and for a line that is too long. */
  async next(): Promise<string> {
    for (;;) {
      const end = this.held.indexOf(newline);
      if ((end < 0 ? this.held.length : end) > lineLimit) throw new Error('A line is too long.');
      if (end >= 0) {
        const line = this.held.subarray(0, end).toString('utf8');
        this.held = this.held.subarray(end + 1);
        return line;
      }
      if (this.isClosed) throw gone();
      this.socket.resume();
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
  }

  /** Gives all lines that follow to a listener. */
  pass(listener: (line: string) => void): void {
    const splitter = new LineSplitter(listener, () => this.socket.destroy());
    const rest = this.leave();
    rest.on('data', (chunk: Buffer) => splitter.push(chunk)).resume();
  }

  /** Leaves all that follows to be read from the socket, which is paused. */
  leave(): Socket {
    this.socket.off('data', this.take).pause();
    if (this.held.length > 0) this.socket.unshift(this.held);
    this.held = Buffer.alloc(0);
    return this.socket;
  }
}

function gone(): Error {
  return new Error('The connection is gone.');
}

function say(socket: Socket, message: Json): void {
  socket.write(`${JSON.stringify(message)}\n`);
}

/** The rest of what it says is thrown away; one that does not hang up is hung up on. */
function refuse(socket: Socket, reason: Refusal): void {
  socket.removeAllListeners('data').resume();
  socket.end(`${JSON.stringify({ refused: { reason } })}\n`);
  const late = setTimeout(() => socket.destroy(), refusalLimitMs);
  socket.once('close', () => clearTimeout(late));
}

function parse(line: string): Json | null {
  try {
    const value: unknown = JSON.parse(line);
    return isJson(value) ? value : null;
  } catch {
    return null;
  }
}

function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Compares digests, so that neither length nor beginning shows in the time it takes. */
function isEqual(a: string, b: string): boolean {
  const [left, right] = [a, b].map((text) => createHash('sha256').update(text).digest());
  return left !== undefined && right !== undefined && timingSafeEqual(left, right);
}
