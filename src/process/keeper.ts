import type { Socket } from 'node:net';
import { rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { Door, type Guest } from '../base/door';
import { Backlog } from './backlog';
import { type ChildProcess, startChild } from './childProcess';
import { backlogPath, recordPath, writeRecord } from './keeperFiles';
import {
  commandSchema,
  controlLine,
  controlMark,
  helloSchema,
  type KeeperCommand,
  type KeeperNews,
  parseControl,
} from './keeperProtocol';
import { signalProcess } from './killTree';
import { claimLineage } from './lineage';
import { LineSplitter } from '../base/lineSplitter';
import { identity, processTable } from './processTable';
import { WorkWatch } from './workWatch';

/** Works beside a server, reads what it and its client say to each other, and talks with the client in its place. */
export interface Companion {
  fromServer(line: string): void;
  /** Whether the line was for the companion, so that the server does not get it. */
  fromClient(line: string): boolean;
  close(): Promise<void>;
}

/** What a companion is made with. */
export interface CompanionHost {
  /** Says a line to the client. */
  readonly say: (line: string) => void;
  /** What the server says has a higher position than this; see backlog.ts. */
  readonly begins: number;
}

export interface KeeperOptions {
  /** The directory of doors; see base/door.ts. */
  readonly doorsDir: string;
  readonly stateDir: string;
  readonly purpose: string;
  /** The server and its arguments. */
  readonly file: string;
  readonly args: readonly string[];
  /** How long its work goes on before a first client came, in ms. */
  readonly keepMs: number | null;
  /** Whether the server has no executor of its own, and works behind the gate; see execGate/. */
  readonly gated: boolean;
}

/** How often the lease is looked at while no client is there, and lines are moved to the file, in ms. */
const lookEveryMs = 100;
/** A turn that was just asked for may not have begun, in ms. */
const settleMs = 1_000;
/** How long the first client may take to come, in ms: whoever started us gives up by then. */
const firstClientMs = 15_000;
/** Work without a limit may wait for an answer that nobody gives: after a week it ends all the same, in ms. */
const longestMs = 7 * 24 * 3_600_000;
const attachLimitMs = 5_000;
/** Bytes that wait for a client beyond which the server is not read on. */
const waitingLimit = 32 * 1024 * 1024;
/** Characters. */
const unheardLimit = 8_192;
const sweepLimitMs = 1_500;
const sweepGraceMs = 250;
const sweepEveryMs = 20;

/**
 * Owns a server over the lives of its clients: passes on what they say to each other, keeps what nobody hears, and ends the
 * server and all that it started when no client came back in time, or it has nothing to do.
 */
export class Keeper {
  private client: Socket | null = null;
  private readonly backlog: Backlog;
  private readonly work = new WorkWatch();
  private readonly watch: NodeJS.Timeout;
  private keepMs: number | null;
  private detachedAt = performance.now();
  private hadClient = false;
  private greet: () => void = () => undefined;
  /** Resolves when the first client is there. */
  private readonly greeted = new Promise<void>((resolve) => (this.greet = resolve));
  private outgoing: string[] = [];
  private ending = false;
  /** What the server wrote to its log while no client was there, the end of it. */
  private unheard = '';
  /** Clients that are being told what they missed. */
  private attaching = 0;
  private attached: Promise<unknown> = Promise.resolve();
  private readonly options: KeeperOptions;
  private readonly child: ChildProcess;
  private readonly door: Door;
  private readonly lineage: number | null;
  private companion: Companion | null = null;

  private constructor(options: KeeperOptions, lineage: number | null, door: Door, begins: number) {
    this.options = options;
    this.keepMs = options.keepMs;
    this.lineage = lineage;
    this.door = door;
    this.backlog = new Backlog(backlogPath(options.stateDir), begins);
    this.child = startChild({ file: options.file, args: options.args });
    this.readServer();
    this.watch = setInterval(() => this.look(), lookEveryMs);
  }

  /** Starts the server; resolves when a client can come. Rejects when that cannot be. */
  static async start(
    options: KeeperOptions,
    accompany: (host: CompanionHost) => Promise<Companion | null> = () => Promise.resolve(null),
  ): Promise<Keeper> {
    // The server and everything below it inherits the mark, which stays ours when the server is gone.
    const lineage = await claimLineage(process.pid);
    let keeper: Keeper | null = null;
    const door = await Door.open({
      doorsDir: options.doorsDir,
      lasting: true,
      welcome: () => ({}),
      onGuest: (guest) => (keeper ? keeper.meet(guest) : guest.socket.destroy()),
    });
    // The time grows over keepers; a server would have to say more than a million lines a second to overtake it.
    const begins = Date.now() * 1_000;
    const record = {
      version: 1,
      keeper: await identityOf(process.pid),
      server: null,
      address: door.address,
      token: door.token,
      purpose: options.purpose,
      begins,
    } as const;
    await writeRecord(options.stateDir, record);
    const companion = await accompany({ begins, say: (line) => keeper?.say(line) });
    keeper = new Keeper(options, lineage, door, begins);
    keeper.companion = companion;
    const { pid } = keeper.child;
    await writeRecord(options.stateDir, { ...record, server: pid === undefined ? null : await identityOf(pid) });
    return keeper;
  }

  /** Ends the server in order, or kills it at once, and everything that it started; then this program may end. */
  async end(how: 'stop' | 'kill'): Promise<void> {
    await (how === 'stop' ? this.child.stop() : this.child.kill());
  }

  /** Resolves when the server and what it started is gone, and everything is told or kept. */
  async ended(): Promise<void> {
    const exit = await this.child.exited;
    this.ending = true;
    clearInterval(this.watch);
    // Its last output may still be in the pipe, and its first client on its way through the door.
    await Promise.race([Promise.all([delay(lookEveryMs), this.greeted]), delay(attachLimitMs)]);
    await Promise.race([this.attached, delay(attachLimitMs)]);
    await this.companion?.close();
    await this.sweep();
    await this.backlog.spool();
    await rm(recordPath(this.options.stateDir), { force: true });
    this.tell({ exit });
    await this.closeClient();
    await this.door.close();
  }

  private readServer(): void {
    const splitter = new LineSplitter(
      (line) => this.fromServer(line),
      () => undefined,
    );
    this.child.stdout.on('data', (chunk: Buffer) => {
      splitter.push(chunk);
      this.flush();
    });
    this.child.stderr.setEncoding('utf8');
    this.child.stderr.on('data', (text: string) => {
      if (this.client) this.tell({ stderr: text });
      else this.unheard = (this.unheard + text).slice(-unheardLimit);
    });
  }

  /** A companion says something as the server does. */
  private say(line: string): void {
    this.keep(line);
    this.flush();
  }

  private fromServer(line: string): void {
    this.work.fromServer(line);
    this.keep(line);
    this.companion?.fromServer(line);
  }

  private keep(line: string): void {
    const text = this.backlog.add(line);
    if (this.client) this.outgoing.push(text);
  }

  private flush(): void {
    const text = this.outgoing.splice(0).join('');
    if (!this.client || text === '') {
      this.regulate();
      return;
    }
    this.client.write(text);
    if (this.client.writableLength >= waitingLimit) this.client.once('drain', () => this.regulate());
    this.regulate();
  }

  /** The server waits while too much of what it said is still to be taken, by the client or by the disk. */
  private regulate(): void {
    const waiting = this.client?.writableLength ?? 0;
    if (waiting >= waitingLimit || this.backlog.crowded) this.child.stdout.pause();
    else this.child.stdout.resume();
  }

  private tell(news: KeeperNews): void {
    this.client?.write(controlLine(news));
  }

  /** Somebody came through the door, and is our client now. */
  private meet({ socket, hello, onLine }: Guest): void {
    const greeting = helloSchema.safeParse(hello).data;
    if (!greeting) {
      socket.destroy();
      return;
    }
    this.hadClient = true;
    this.keepMs = greeting.keepMs;
    socket.on('close', () => {
      if (this.client === socket) this.detach();
    });
    onLine((line) => this.fromClient(line));
    this.attach(socket);
    this.greet();
  }

  /** One client is told what it missed at a time. */
  private attach(socket: Socket): void {
    this.attaching++;
    this.attached = this.attached.then(() => this.attachNow(socket)).finally(() => this.attaching--);
  }

  /** The newest client is the one: an older one may hang. */
  private async attachNow(socket: Socket): Promise<void> {
    const before = this.client;
    this.client = null;
    before?.destroy();
    this.outgoing = [];
    // The older one may have held it up.
    this.regulate();
    await this.backlog.replay((text) => (socket.write(text) ? undefined : drained(socket)));
    if (socket.destroyed) {
      this.detach();
      return;
    }
    this.client = socket;
    // Why it did not start, maybe.
    if (this.unheard !== '') this.tell({ stderr: this.unheard });
    this.unheard = '';
    this.tell({ caughtUp: true });
  }

  private detach(): void {
    this.client = null;
    this.outgoing = [];
    this.detachedAt = performance.now();
    this.regulate();
    this.look();
  }

  private fromClient(line: string): void {
    if (!line.startsWith(controlMark)) {
      if (!this.companion?.fromClient(line)) this.child.stdin.write(`${line}\n`);
      return;
    }
    const command = parseControl(commandSchema, line);
    if (command) this.obey(command);
  }

  private obey(command: KeeperCommand): void {
    if ('acknowledge' in command) {
      this.backlog.acknowledge(command.acknowledge);
      this.regulate();
    } else if ('keepMs' in command) this.keepMs = command.keepMs;
    else if ('end' in command) void this.end(command.end);
  }

  /** Without a client: keeps what is said in the file, and ends the server when it is time. */
  private look(): void {
    // What is moved to the file while it is read would not be heard.
    if (this.client || this.ending || this.attaching > 0) return;
    void this.backlog.spool().then(() => this.regulate());
    const awayMs = performance.now() - this.detachedAt;
    const patienceMs = this.hadClient ? settleMs : firstClientMs;
    // Before its first client was there it is wanted, however short it is kept.
    const isLate = awayMs >= Math.max(this.keepMs ?? longestMs, this.hadClient ? 0 : firstClientMs);
    const isDone = awayMs >= patienceMs && !this.work.working;
    if (!isLate && !isDone && !this.backlog.full) return;
    this.ending = true;
    void this.end('stop');
  }

  private async closeClient(): Promise<void> {
    const { client } = this;
    if (!client) return;
    await Promise.race([new Promise<void>((resolve) => client.end(resolve)), delay(1_000)]);
    client.destroy();
  }

  /** Ends what the server left. Only this program and what comes from it carries the mark. */
  private async sweep(): Promise<void> {
    const { lineage } = this;
    if (lineage === null) return;
    const table = processTable();
    const started = performance.now();
    while (performance.now() - started < sweepLimitMs) {
      const others = (await table.list()).filter(({ pid }) => pid !== process.pid);
      const marks = await Promise.all(others.map(({ pid }) => table.lineage(pid)));
      const left = others.filter((_, index) => marks[index] === lineage);
      if (left.length === 0) return;
      const signal = performance.now() - started > sweepGraceMs ? 'SIGKILL' : 'SIGTERM';
      for (const { pid } of left) signalProcess(pid, signal);
      await delay(sweepEveryMs);
    }
  }
}

/** Resolves when a client has room for more, or is gone. */
function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off('drain', done);
      socket.off('close', done);
      resolve();
    };
    socket.on('drain', done);
    socket.on('close', done);
    if (socket.destroyed) done();
  });
}

async function identityOf(pid: number): Promise<string> {
  const entry = (await processTable().list()).find((one) => one.pid === pid);
  return entry ? identity(entry) : `${pid}:?`;
}
