import { execa } from 'execa';
import { mkdir, rm } from 'node:fs/promises';
import type { Socket } from 'node:net';

import { PassThrough } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { knock } from '../base/door';
import { readBacklog } from './backlog';
import type { ExitInfo } from './childProcess';
import type { KeeperOptions } from './keeper';
import { backlogPath, type KeeperRecord, readAnyRecord, readRecord, recordPath } from './keeperFiles';
import { controlLine, type KeeperCommand, newsSchema, parseControl } from './keeperProtocol';
import { killTree, signalProcess } from './killTree';
import { readLineage } from './lineage';
import { identity, processTable } from './processTable';
import { directHost, type ServerHost, type ServerOptions, type ServerProcess } from './serverProcess';

export interface KeeperHostOptions {
  /** The directory of doors; see base/door.ts. */
  readonly doorsDir: string;
  /** The bundled keeper program. */
  readonly program: string;
  readonly stateDir: string;
  /** How long work goes on without us, in ms; null until it is done. */
  readonly keepMs: () => number | null;
  /** See `KeeperOptions`. Such a server always has a keeper, which then ends it as soon as we are gone if `keepMs` says so. */
  readonly gated?: boolean;
}

/** A keeper starts in 50 ms and its server in 130 ms (measured); a loaded machine needs longer. */
const startLimitMs = 15_000;
/** End of input, SIGTERM, SIGKILL of the server and the sweep have a second each, or less. */
const stopLimitMs = 5_000;
const killLimitMs = 1_500;
/** The system closes the sockets of a program that was killed before it is gone from the list (seen on a busy machine). */
const vanishLimitMs = 1_000;
const lookEveryMs = 20;
/** A machine that is too busy for one answer may have time for the next: much depends on it. */
const findTries = 3;
const listTries = 3;
const listAgainMs = 200;

/** Servers that a keeper owns, so that they go on when this program ends. */
export class KeeperHost implements ServerHost {
  private readonly options: KeeperHostOptions;

  constructor(options: KeeperHostOptions) {
    this.options = options;
  }

  get keeps(): boolean {
    return this.options.keepMs() !== 0;
  }

  async start(child: ServerOptions): Promise<ServerProcess> {
    return this.keeps || this.options.gated ? this.startKept(child) : directHost.start(child);
  }

  private async startKept({ file, args, env, purpose }: ServerOptions): Promise<ServerProcess> {
    const { program, doorsDir, stateDir, keepMs, gated = false } = this.options;
    await mkdir(stateDir, { recursive: true, mode: 0o700 });
    const before = await readRecord(stateDir);
    if (before) await endKeeper(before);
    const own: KeeperOptions = { doorsDir, stateDir, purpose, file, args, keepMs: keepMs(), gated };
    const child = execa(process.execPath, [program], {
      // In the editor our own program is Electron.
      env: { ...env, ELECTRON_RUN_AS_NODE: '1' },
      detached: true,
      cleanup: false,
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'ignore',
      buffer: false,
      reject: false,
      windowsHide: true,
    });
    child.stdin.end(JSON.stringify(own));
    const first = await firstLine(child.stdout);
    child.unref();
    child.stdout.destroy();
    const record = first === 'ready' ? await readRecord(stateDir) : null;
    if (!record) throw new Error(first === '' ? 'The keeper did not start.' : first);
    return this.attach(record);
  }

  async find(): Promise<ServerProcess | null> {
    const record = await readRecord(this.options.stateDir);
    if (!record) return null;
    for (let attempt = 1; attempt <= findTries; attempt++) {
      const child = await this.attach(record).catch(() => null);
      if (child) return child;
    }
    // Nobody can talk to it, so nobody needs it.
    await endKeeper(record);
    return null;
  }

  missed(): AsyncIterable<string> {
    return readBacklog(backlogPath(this.options.stateDir));
  }

  forget(): Promise<void> {
    return rm(backlogPath(this.options.stateDir), { force: true });
  }

  private async attach(record: KeeperRecord): Promise<ServerProcess> {
    const way = await knock(record, { keepMs: this.options.keepMs() });
    if (way.kind === 'nobody') throw new Error('The keeper does not answer.');
    if (way.kind === 'refused') throw new Error(`The keeper's door refuses: ${way.reason}.`);
    return new KeptServer(way.leave(), record, this.options.keepMs);
  }
}

/** A server of a keeper, as its client sees it. */
class KeptServer implements ServerProcess {
  readonly pid: number;
  readonly keeperPid: number;
  readonly purpose: string;
  readonly begins: number;
  readonly lineage: Promise<number | null>;
  readonly stderr = new PassThrough();
  readonly exited: Promise<ExitInfo>;
  readonly caughtUp: Promise<void>;
  private onCaughtUp: () => void = () => undefined;
  private onExit: (exit: ExitInfo) => void = () => undefined;
  private detached = false;
  private readonly socket: Socket;
  private readonly record: KeeperRecord;

  constructor(socket: Socket, record: KeeperRecord, keepMs: () => number | null) {
    this.socket = socket;
    this.record = record;
    this.pid = pidOf(record.server);
    this.keeperPid = pidOf(record.keeper);
    this.purpose = record.purpose;
    this.begins = record.begins;
    this.lineage = readLineage(this.keeperPid).then((mark) => (mark === 0 ? null : mark));
    this.caughtUp = new Promise((resolve) => (this.onCaughtUp = resolve));
    this.exited = new Promise((resolve) => (this.onExit = resolve));
    socket.on('error', () => undefined);
    // It may be gone before anybody listens.
    if (socket.closed) this.onClose();
    else socket.once('close', () => this.onClose());
    // The person may change it meanwhile.
    this.keepMs = keepMs;
  }

  private readonly keepMs: () => number | null;

  private onClose(): void {
    this.onCaughtUp();
    if (!this.detached) this.keeperLost().catch(() => undefined);
  }

  get stdin(): Socket {
    return this.socket;
  }

  get stdout(): Socket {
    return this.socket;
  }

  control(line: string): void {
    const news = parseControl(newsSchema, line);
    if (!news) return;
    if ('caughtUp' in news) this.onCaughtUp();
    else if ('stderr' in news) this.stderr.write(news.stderr);
    else this.onExit(news.exit);
  }

  acknowledge(position: number): void {
    this.say({ acknowledge: position });
  }

  async stop(): Promise<void> {
    this.say({ end: 'stop' });
    await this.ended(stopLimitMs);
  }

  async kill(): Promise<void> {
    this.say({ end: 'kill' });
    await this.ended(killLimitMs);
  }

  async detach(): Promise<boolean> {
    this.detached = true;
    this.say({ keepMs: this.keepMs() });
    await new Promise<void>((resolve) => this.socket.end(resolve));
    this.socket.destroy();
    return true;
  }

  /** Without its keeper the server sees the end of its input, and ends with all that it runs; we wait for that. */
  private async keeperLost(): Promise<void> {
    let startError = 'its keeper is gone';
    try {
      if (await outlives(this.record, vanishLimitMs)) startError = 'another program has it';
      else await endKeeper(this.record, killLimitMs);
    } finally {
      // Also when the processes cannot be listed: whoever waits for the end must not wait for ever.
      this.onExit({ exitCode: null, signal: null, startError });
    }
  }

  /** Waits until keeper and server are gone, and kills them when that takes too long. */
  private async ended(limitMs: number): Promise<void> {
    if (!(await isGone(this.record, limitMs))) await endKeeper(this.record, 0);
    this.socket.destroy();
    await this.exited;
  }

  private say(command: KeeperCommand): void {
    if (this.socket.writable) this.socket.write(controlLine(command));
  }
}

type Kept = Pick<KeeperRecord, 'keeper' | 'server'>;

function pidOf(key: string | null): number {
  return Number(key?.split(':', 1)[0] ?? 0);
}

/** Ends a keeper and its server by force when they do not end in time. Only by exact identity: a pid may be another's by now. */
async function endKeeper(record: KeeperRecord, graceMs = stopLimitMs): Promise<void> {
  const alive = await aliveOf(record);
  if (alive.has(record.keeper)) signalProcess(pidOf(record.keeper), 'SIGTERM');
  if (await isGone(record, graceMs)) return;
  for (const key of [record.server, record.keeper]) {
    if (key !== null && (await aliveOf(record)).has(key)) await killTree(pidOf(key));
  }
  await isGone(record, killLimitMs);
}

/** Whether a keeper whose connection ended is there all the same, for another program. */
async function outlives({ keeper }: KeeperRecord, limitMs: number): Promise<boolean> {
  return !(await isGone({ keeper, server: null }, limitMs));
}

async function isGone(record: Kept, limitMs: number): Promise<boolean> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    if ((await aliveOf(record)).size === 0) return true;
    if (performance.now() >= deadline) return false;
    await delay(lookEveryMs);
  }
}

/**
 * Ends the server of a keeper that is dead, should it be alive: normally it ends by itself with its input. Call it only as
 * the owner of the store.
 */
export async function endLeftServer(stateDir: string): Promise<void> {
  const record = await readAnyRecord(stateDir);
  if (!record || (await readRecord(stateDir))) return;
  await endKeeper(record, killLimitMs);
  await rm(recordPath(stateDir), { force: true });
}

async function aliveOf({ keeper, server }: Kept): Promise<ReadonlySet<string>> {
  const keys = (await listProcesses()).map(identity);
  return new Set(keys.filter((key) => key === keeper || key === server));
}

/** A listing can fail for a moment on a machine that is out of something; much depends on it here. */
async function listProcesses(): ReturnType<ReturnType<typeof processTable>['list']> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await processTable().list();
    } catch (error) {
      if (attempt === listTries) throw error;
      await delay(listAgainMs);
    }
  }
}

async function firstLine(stream: NodeJS.ReadableStream): Promise<string> {
  const late = setTimeout(() => (stream as { destroy?: () => void }).destroy?.(), startLimitMs);
  let text = '';
  try {
    for await (const chunk of stream) {
      text += String(chunk);
      if (text.includes('\n')) break;
    }
  } catch {
    // What it said so far has to do.
  }
  clearTimeout(late);
  return text.split('\n', 1)[0] ?? '';
}
