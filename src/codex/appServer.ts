import { randomUUID } from 'node:crypto';
import { PassThrough } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import { LineSplitter } from '../base/lineSplitter';
import { redact } from '../base/redaction';
import type { Disposable } from '../core/disposable';
import { Emitter } from '../core/emitter';
import { CallError, messageOf } from '../core/errors';
import type { Log } from '../core/ports';
import { serverMarker } from '../process/ancestry';
import type { ServerHost, ServerProcess } from '../process/serverProcess';
import { accountKey } from './codexAccount';
import type { CodexBinary } from './findCodex';
import { initializeResult } from './protocol';
import { rpcDefaults, RpcError, type RpcHandlers, type RpcOptions, RpcPeer } from './rpc';

export interface AppServerOptions {
  readonly locate: () => Promise<CodexBinary>;
  /** Starts the server, and finds the one of an earlier run. */
  readonly host: ServerHost;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where programs that the server starts find the worker. */
  readonly stateDir?: string;
  readonly handlers: Pick<RpcHandlers, 'onNotification' | 'onRequest'>;
  readonly log: Log;
  readonly version: string;
}

/** A running `codex app-server` that has answered `initialize`. */
export interface Connection {
  readonly rpc: RpcPeer;
  readonly pid: number;
  /** The mark of everything that the server starts; see lineage.ts. */
  readonly lineage: number | null;
  /** The account that it works for; see codexAccount.ts. */
  readonly account: string;
  /** What it says has a higher position than this. */
  readonly begins: number;
  /** The keeper that owns the server and carries the same mark. */
  readonly keeperPid: number | undefined;
}

interface Running extends Connection {
  readonly child: ServerProcess;
}

/** An idle thread that nobody listens to is unloaded after this time, and its MCP servers end. Codex's unit is seconds. */
const settings = ['-c', 'thread_unload_delay_secs=1'];
/** Start to the answer of `initialize` took 121 to 136 ms (measured); a loaded machine needs longer. */
const startTimeoutMs = 15_000;

/** How long nothing may be heard while we catch up. */
const catchUpLimitMs = 10_000;

/** So many unwanted ends in so short a time stop the restarts: the norm of language clients. */
const crashLimit = 5;
const crashWindowMs = 3 * 60_000;

/** Owns the one `codex app-server` of all tasks: starts it with the first use, and again with the next use after it died. */
export class AppServer implements Disposable {
  private running: Running | null = null;
  private starting: Promise<Running> | null = null;
  private disposed = false;
  /** When the server ended without being asked to, in ms of `performance.now()`; only those of the last minutes. */
  private crashes: number[] = [];
  private stopping: ServerProcess | null = null;
  /** How far the server was heard; see keeperProtocol.ts. */
  private heard = 0;
  private readonly exitEmitter = new Emitter<undefined>();
  private readonly options: AppServerOptions;
  /** The server is gone; everything that it ran is lost. */
  readonly onDidExit = this.exitEmitter.event;

  constructor(options: AppServerOptions) {
    this.options = options;
  }

  get pid(): number | undefined {
    return this.running?.pid;
  }

  /** The connection if there is one now. */
  get current(): Connection | null {
    return this.running;
  }

  /** How far the server was heard: nothing of that has to be said again once it is kept. */
  get position(): number {
    return this.heard;
  }

  acknowledge(position: number): void {
    this.running?.child.acknowledge(position);
  }

  /** Takes over the server of an earlier run, if there is one; it is not heard before `catchUp`. */
  async reattach(): Promise<Connection | null> {
    const child = this.running ? null : await this.options.host.find();
    if (!child) return null;
    const { log } = this.options;
    drain(child, log);
    // The server is the same, so what an earlier client asked it may still be answered: ids must differ.
    const rpc = this.peer(child, { ...rpcDefaults, waits: true, idPrefix: `${randomUUID()}-` });
    this.running = { ...aboutOf(child), rpc, child, lineage: await child.lineage };
    log('info', `codex app-server ${this.running.pid} of an earlier run is here`);
    return this.running;
  }

  /** Hears what the server said while nobody listened; resolves when that is all. Also of one that is gone by now. */
  async catchUp(): Promise<void> {
    const { running } = this;
    if (running) {
      running.rpc.listen();
      await this.hearAll(running.child.caughtUp);
      await this.introduce(running.rpc);
      // One that ended meanwhile may have left more in the file.
      if (this.running) return;
    }
    const nobody = new PassThrough().resume();
    const rpc = new RpcPeer(
      nobody,
      nobody,
      this.handlers(() => undefined),
      { ...rpcDefaults, waits: true },
    );
    for await (const line of this.options.host.missed()) rpc.take(line);
  }

  /** Whoever started the server may have been killed before it said who it is; a server that knows that refuses it. */
  private async introduce(rpc: RpcPeer): Promise<void> {
    try {
      await rpc.request('initialize', this.identity(), startTimeoutMs);
      rpc.notify('initialized');
      this.options.log('info', 'The server of an earlier run was not in use yet, and is now.');
    } catch (error) {
      if (!(error instanceof RpcError))
        this.options.log('warn', `The server of an earlier run does not answer: ${messageOf(error)}`);
    }
  }

  /** Waits for as long as more is heard. */
  private async hearAll(done: Promise<void>): Promise<void> {
    for (let before = -1; before !== this.heard;) {
      before = this.heard;
      const late = delay(catchUpLimitMs, 'late', { ref: false });
      if ((await Promise.race([done, late])) !== 'late') return;
    }
    this.options.log('warn', 'Not all that Codex said without us was heard in time; the rest comes later.');
  }

  /** Leaves the server to its keeper; false when it ends with this program. */
  async detach(): Promise<boolean> {
    // A call that is still under way must not start another server in its place.
    this.disposed = true;
    await this.starting?.catch(() => undefined);
    const { running } = this;
    if (!running) return true;
    this.running = null;
    return running.child.detach();
  }

  /** Starts the server if it does not run. Throws a `CallError` that says what to do. */
  async connect(): Promise<Connection> {
    if (this.running) return this.running;
    if (this.disposed) throw unavailable('The worker is stopping.', undefined);
    this.assertSteady();
    this.starting ??= this.start().finally(() => {
      this.starting = null;
    });
    return this.starting;
  }

  /** Throws when the server has ended too often to be started again by itself. */
  private assertSteady(): void {
    const since = performance.now() - crashWindowMs;
    this.crashes = this.crashes.filter((at) => at > since);
    if (this.crashes.length < crashLimit) return;
    throw new CallError(
      'codex_unavailable',
      `Codex ended ${crashLimit} times within 3 minutes, so it is not started again.`,
      {
        hint: 'Read the log of the worker. Codex Worker: Restart Codex starts it again at once; else it is tried again in 3 minutes.',
        retryable: true,
        retryAfterMs: crashWindowMs,
      },
    );
  }

  /** Kills the server and everything below it at once: for one that does not answer. */
  async kill(reason: string): Promise<void> {
    const { running } = this;
    if (!running) return;
    this.options.log('warn', `Killing codex app-server ${running.pid}: ${reason}`);
    await running.child.kill();
  }

  /** Ends the server in order: end of input, SIGTERM, SIGKILL. The next use starts it again. */
  async stop(): Promise<void> {
    await this.starting?.catch(() => undefined);
    const { running } = this;
    // Its end is wanted, so that it is no crash, and the crashes before it are forgiven.
    this.stopping = running?.child ?? null;
    await running?.child.stop();
    // We heard all of it; a later run would take its last words for news.
    if (running) await this.options.host.forget();
    this.crashes = [];
  }

  dispose(): void {
    this.disposed = true;
    void this.stop().finally(() => this.exitEmitter.dispose());
  }

  private async start(): Promise<Running> {
    const { log, env, stateDir = '' } = this.options;
    const binary = await this.options.locate();
    log('info', `Starting codex ${binary.version} from ${binary.path} (${binary.source})`);
    await this.options.host.forget();
    const purpose = await accountKey(env);
    const child = await this.options.host
      .start({
        file: binary.path,
        args: ['app-server', ...settings],
        env: { ...env, [serverMarker]: stateDir },
        purpose,
      })
      .catch((cause: unknown) => {
        throw unavailable(`Codex did not start: ${messageOf(cause)}`, cause);
      });
    const stderr = drain(child, log);
    const rpc = this.peer(child);
    try {
      const [result, lineage] = await Promise.all([
        rpc.request('initialize', this.identity(), startTimeoutMs),
        child.lineage,
      ]);
      initializeResult.parse(result);
      rpc.notify('initialized');
      if (rpc.closed) throw new Error('It ended right after its start.');
      this.running = { ...aboutOf(child), rpc, child, lineage };
      log('info', `codex app-server ${this.running.pid} is ready`);
      if (lineage === null && process.platform === 'linux') log('warn', noLineage);
      return this.running;
    } catch (cause) {
      await child.kill();
      throw unavailable(`Codex did not start: ${stderr() || messageOf(cause)}`, cause);
    }
  }

  private peer(child: ServerProcess, options?: RpcOptions): RpcPeer {
    const rpc = new RpcPeer(
      child.stdout,
      child.stdin,
      this.handlers((line) => child.control(line)),
      options,
    );
    void child.exited.then((exit) => {
      const how = exit.startError ?? exit.signal ?? `exit code ${exit.exitCode ?? 'unknown'}`;
      rpc.close(`Codex stopped (${how}).`);
      this.onExit(child, how);
    });
    return rpc;
  }

  private handlers(onControl: (line: string) => void): RpcHandlers {
    const { handlers, log } = this.options;
    return {
      ...handlers,
      onControl,
      onPosition: (position) => (this.heard = position),
      onTrouble: (message) => log('warn', `codex: ${message}`),
    };
  }

  private identity(): unknown {
    return {
      clientInfo: { name: 'codex_worker', title: 'Codex Worker', version: this.options.version },
      // backgroundTerminals and collaborationMode are experimental in 0.169.
      capabilities: { experimentalApi: true, requestAttestation: false },
    };
  }

  private onExit(child: ServerProcess, how: string): void {
    if (this.running?.child !== child) return;
    this.options.log('warn', `codex app-server ${this.running.pid} ended: ${how}`);
    if (this.stopping !== child) this.crashes.push(performance.now());
    this.running = null;
    this.exitEmitter.fire(undefined);
  }
}

function aboutOf(server: ServerProcess): Pick<Connection, 'pid' | 'keeperPid' | 'account' | 'begins'> {
  const { pid, keeperPid, purpose, begins } = server;
  return { pid: pid ?? 0, keeperPid, account: purpose, begins };
}

const noLineage =
  'Many Codex servers run on this machine, so this one got no mark of its own: a process that a task detaches from itself may go unseen.';

/** Characters of a line of Codex's log. */
const stderrLineLimit = 64 * 1024;

/** Reads stderr for as long as the process lives, because a full pipe stalls it; gives the line that says most. */
function drain(child: ServerProcess, log: Log): () => string {
  let [last, error] = ['', ''];
  const onLine = (line: string): void => {
    last = redact(stripVTControlCharacters(line)).slice(0, 500);
    if (/^error:/i.test(last)) error = last;
    log('debug', `codex: ${last}`);
  };
  const splitter = new LineSplitter(onLine, () => undefined, stderrLineLimit);
  child.stderr.on('data', (chunk: Buffer | string) => splitter.push(Buffer.from(chunk)));
  child.stderr.once('end', () => splitter.end());
  // A trace comes after it.
  return () => error || last;
}

export function unavailable(message: string, cause: unknown): CallError {
  return new CallError('codex_unavailable', message, {
    hint: 'Read the output channel "Codex Worker" (standard error of the program), then try again.',
    retryable: true,
    cause,
  });
}
