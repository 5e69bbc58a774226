import { mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { makeDoorsDir } from './base/door';
import { type Client, findClients, plainEntry } from './clients/clients';
import { CodexAgent } from './codex/codexAgent';
import { CodexAgents } from './codex/codexAgents';
import { type CodexBinary, findCodex, thisMachine } from './codex/findCodex';
import { callerId, clientOf } from './core/caller';
import { type Disposable, DisposableStore } from './core/disposable';
import { CallError, messageOf } from './core/errors';
import { hashOf } from './core/hash';
import type { Log, WorkerSettings } from './core/ports';
import { TaskManager } from './core/taskManager';
import { type DoctorOptions, examine, type Finding } from './doctor';
import { type HttpHost, type McpTransport, startHttpHost } from './mcp/httpHost';
import { createTools, listedTool, toolFields } from './mcp/mcpServer';
import type { Identify } from './mcp/callers';
import type { TakeRoots } from './mcp/clientRoots';
import { type SharedCaller, Sharing } from './mcp/sharing';
import { WindowDoor } from './mcp/windowDoor';
import { serveStdio } from './mcp/stdioHost';
import type { StdioClient } from './pipe/stdioClient';
import { Policies } from './policy/policies';
import { advicesFor, type Mistake } from './policy/readPolicy';
import { gatedDir, keeperDirs, readRecord } from './process/keeperFiles';
import { proveGate } from './gateProbe';
import { endLeftServer, KeeperHost } from './process/keeperLink';
import { ProcessRegistry } from './process/processRegistry';
import { directHost } from './process/serverProcess';
import { type StoreLock, takeStoreLock } from './store/storeLock';
import { TaskFiles } from './store/taskFiles';
import { version } from './version';

export { describeFindings, type Finding } from './doctor';
export { type Outer, outerServer } from './process/ancestry';
export { refuseStdio } from './mcp/refusingHost';
export { accountKey } from './codex/codexAccount';
export { findSharedWorker, findWorkerOf, serveThrough, type SharedCaller } from './mcp/sharing';
export type { WindowDoor } from './mcp/windowDoor';
export type { ServerDefinition } from './doorProbe';
export type { Client, ClientState } from './clients/clients';
export type { AuditLine } from './policy/audit';
export { writeLauncher } from './clients/launcher';
export { builtInText, scaffoldText } from './policy/builtIn';
export { type Policies, workspaceFile } from './policy/policies';
export { type Mistake, readPolicy } from './policy/readPolicy';

/** What is unwise in the text of a policy. */
export const advicesForPolicy = (text: string): readonly Mistake[] => advicesFor(text, toolFields());
export { type HttpHost, type McpTransport, newToken, transports as mcpTransports } from './mcp/httpHost';

/** What a person can connect to this window. */
export interface ConnectableClients {
  readonly clients: readonly Client[];
  /** For any other client. */
  readonly plain: string;
  /** The server itself, where it is reached without the pipe. */
  readonly direct: { readonly uri: string; readonly token: string } | null;
}

export interface WorkerOptions {
  /** The user's data directory, in which doors and windows are found. */
  readonly dataDir: string;
  /** Where the tasks' files go; made when it is missing. */
  readonly stateDir: string;
  readonly settings: WorkerSettings;
  readonly log: Log;
  /** The person's choice of Codex; read at each start of it. */
  readonly codexPath: () => string | null;
  /** Directory of the installed OpenAI extension, if there is one. */
  readonly extensionDir?: () => string | null;
  /** Added to the environment of Codex. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** More configuration for each Codex thread, by dotted key. */
  readonly threadConfig?: Readonly<Record<string, unknown>>;
  /** Tools that the model may call, as Codex's `thread/start` takes them; each call is asked like a question. */
  readonly dynamicTools?: readonly unknown[];
  /** How long the store of another program is waited for, in ms. */
  readonly lockWaitMs?: number;
  /** How long a Codex thread stays loaded after its turn, in ms. */
  readonly lingerMs?: number;
  /** What owns Codex when this program is gone; without it Codex ends with this program. */
  readonly keeper?: {
    /** The bundled program, `dist/keeper.js`. */
    readonly program: string;
    /** How long work goes on without this program, in ms; null until it is done, 0 not at all. */
    readonly keepMs: () => number | null;
  };
  /** The user's policy file; null for the built-in policy. Read at each call. */
  readonly policyPath: () => string | null;
  /** Called before the first task of this worker that may write; see `TaskManagerOptions`. */
  readonly onFirstWritableTask?: (cwd: string) => void;
}

export type DoctorQuestion = Pick<DoctorOptions, 'repair' | 'endpoint' | 'policy' | 'more'>;

/** A window that is reloaded takes a moment to go, in ms. */
const defaultLockWaitMs = 2_000;
const lockEveryMs = 100;
const besideLimit = 50;

/** Everything that needs no editor: tasks, Codex and the files, behind one owner. */
export class Worker implements Disposable {
  private readonly owned = new DisposableStore();
  readonly tasks: TaskManager;
  private readonly agent: CodexAgents;
  private readonly log: Log;
  /** Where the tasks' files are: beside the wanted directory when another program works in that. */
  readonly stateDir: string;
  /** The number of the store beside the wanted one; 0 for the wanted one. */
  readonly beside: number;
  private readonly lock: StoreLock;
  private readonly options: WorkerOptions;
  private readonly settings: WorkerSettings;
  private sharing: Sharing | null = null;
  /** Null where there can be no door. */
  private readonly doorsDir: string | null;

  /** What agents may do. */
  readonly policies: Policies;

  private constructor(options: WorkerOptions, store: Store, policies: Policies) {
    const { dir, beside, lock, processes, journal, doorsDir } = store;
    const { settings, log, env, threadConfig, dynamicTools, lingerMs } = options;
    this.log = log;
    this.options = options;
    this.policies = this.owned.add(policies);
    this.stateDir = dir;
    this.beside = beside;
    this.lock = lock;
    this.settings = settings;
    this.doorsDir = doorsDir;
    const codex = {
      locate: () => locate(options),
      log,
      version,
      stateDir: dir,
      doorsDir,
      mayNest: (id: string) => this.tasks.mayNest(id),
      onProcess: (key: string) => processes.add(key),
      gate: policies.gate,
      ...(env ? { env } : {}),
      ...(threadConfig ? { threadConfig } : {}),
      ...(dynamicTools ? { dynamicTools } : {}),
      ...(lingerMs === undefined ? {} : { lingerMs }),
    };
    const keeper = options.keeper && doorsDir !== null ? { ...options.keeper, doorsDir } : null;
    const gatedHost = keeper && new KeeperHost({ ...keeper, stateDir: gatedDir(dir), gated: true });
    this.agent = this.owned.add(
      new CodexAgents({
        plain: new CodexAgent({ ...codex, host: keeper ? new KeeperHost({ ...keeper, stateDir: dir }) : directHost }),
        gated: gatedHost && new CodexAgent({ ...codex, host: gatedHost, gated: true }),
        gate: policies.gate,
        probe: (gated) => proveGate({ agent: gated, dir: gatedDir(dir), version }),
        log,
      }),
    );
    this.tasks = this.owned.add(
      new TaskManager({
        agent: this.agent,
        journal,
        settings,
        log,
        gate: policies.gate,
        onPerson: (tool, args) => policies.gate.notePerson(tool, args),
        onFirstWritableTask: options.onFirstWritableTask,
      }),
    );
  }

  /** Throws `store_unavailable` when the state directory cannot be used. Codex starts with the first task. */
  static async create(options: WorkerOptions): Promise<Worker> {
    return Worker.over(options, await usable(options.stateDir, () => lockAnyhow(options)));
  }

  /** A look at everything that a task needs, where there is no worker because it could not be made. */
  static examineWithout(
    { stateDir, codexPath, extensionDir }: Pick<WorkerOptions, 'stateDir' | 'codexPath' | 'extensionDir'>,
    how: DoctorQuestion,
  ): Promise<readonly Finding[]> {
    return examine({
      ...how,
      stateDir,
      ownsStore: false,
      codexPath: codexPath(),
      extensionDir: extensionDir?.() ?? null,
    });
  }

  /** Settings, folders or trust have changed: what follows from them holds at once. */
  async reconsider(): Promise<void> {
    this.tasks.reconsider();
    await this.policies.reconsider();
  }

  /** The same, but null while another program works in the state directory. */
  static async createSole(options: WorkerOptions): Promise<Worker | null> {
    const { stateDir, lockWaitMs = 0 } = options;
    const locked = await usable(stateDir, () => lockStore(stateDir, lockWaitMs));
    return locked && Worker.over(options, locked);
  }

  private static async over(options: WorkerOptions, locked: LockedStore): Promise<Worker> {
    try {
      return await Worker.overLocked(options, locked);
    } catch (error) {
      // Who tries again finds it free.
      await locked.lock.release();
      throw error;
    }
  }

  private static async overLocked(options: WorkerOptions, locked: LockedStore): Promise<Worker> {
    const store = await usable(options.stateDir, () => openStore(locked, options));
    const { settings, log, policyPath } = options;
    // Nothing is judged before the worker is there.
    let worker: Worker | null = null;
    const policies = await Policies.open({
      stateDir: store.dir,
      path: policyPath,
      roots: () => settings.roots(),
      trusted: () => settings.trusted(),
      log,
      personPresent: () => settings.personPresent(),
      factsOf: (id, caller) => worker?.factsOf(id, caller),
      isAtWork: (root, until) => worker?.tasks.isAtWork(root, until) ?? null,
      taskIds: (about, caller) => worker?.tasks.about(about, caller).map(({ id }) => id) ?? [],
    });
    worker = new Worker(options, store, policies);
    return worker;
  }

  /** Changes with this program and with the form of its tools. */
  get mcpVersion(): string {
    return `${version}+${hashOf(createTools().map(listedTool)).slice(0, 8)}`;
  }

  private doors(): string {
    if (this.doorsDir !== null) return this.doorsDir;
    throw new Error('There is no directory for doors.');
  }

  /** Serves MCP over a socket, a pipe or a loopback port; close the result before the worker. */
  serveHttp(options: { readonly transport: McpTransport; readonly token: string }): Promise<HttpHost> {
    return startHttpHost({ ...options, ...this.mcpParts() });
  }

  /** Serves an MCP client over its streams until it goes away or `stopped` resolves. */
  serveStdio(
    client: StdioClient,
    { caller, session }: SharedCaller,
    stopped: Promise<unknown>,
    takeRoots?: TakeRoots,
  ): Promise<void> {
    const identify: Identify = (_name, conversation) => callerId(caller, conversation ?? session ?? null);
    return serveStdio({ ...this.mcpParts(), takeRoots }, client, identify, stopped);
  }

  /** Opens the door for pipes into this window; close the result before the worker. */
  async openDoor(): Promise<WindowDoor> {
    // Programs that Codex starts here find this worker by its store; others have choices of their own.
    await this.share('those of a window').catch((error: unknown) => {
      this.log('warn', `Programs that Codex starts cannot work through this window: ${messageOf(error)}`);
    });
    return WindowDoor.open({
      ...this.mcpParts(),
      doorsDir: this.doors(),
      tools: this.mcpVersion,
      onAttached: (client) => this.policies.gate.noteAttached(client),
    });
  }

  /** Lets other programs that made the same choices work through this one. */
  async share(choices: string): Promise<void> {
    if (this.sharing) return;
    this.sharing = await Sharing.start({
      ...this.mcpParts(),
      stateDir: this.stateDir,
      doorsDir: this.doors(),
      choices,
    });
  }

  /**
   * Ends in order: everything, or what this caller began when other programs work through this one; the next of them takes
   * over what they began.
   */
  async leave(caller: string): Promise<void> {
    if (!this.sharing || this.sharing.count === 0) return this.shutDown();
    await this.tasks.cancelAllOf(caller).catch((error: unknown) => this.log('error', messageOf(error)));
    // They may have gone meanwhile, and then nobody would take over.
    await (this.sharing.count === 0 ? this.shutDown() : this.suspend());
  }

  private mcpParts() {
    const { tasks, log, settings } = this;
    return { tasks, version, log, elicitation: () => settings.elicitation(), gate: this.policies.gate };
  }

  /** What the rules of a policy may know of a task. */
  private factsOf(id: string, caller: string): Readonly<Record<string, unknown>> | undefined {
    const task = this.tasks.tryGet(id);
    if (!task) return undefined;
    const { status, cwd, labels, spawnedBy } = task;
    const isOfClient = clientOf(spawnedBy) === clientOf(caller);
    return { status, cwd, labels, spawned_by_caller: isOfClient, spawned_by_conversation: spawnedBy === caller };
  }

  /** The process id of `codex app-server` while it runs. */
  get serverPid(): number | undefined {
    return this.agent.serverPid;
  }

  /** Ends Codex in order; tasks at work are interrupted and go on as the `recovery` setting says, in the server that the next turn starts. */
  restartCodex(): Promise<void> {
    return this.agent.stop();
  }

  /** Brings back the tasks of earlier runs. */
  restore(): Promise<void> {
    return this.tasks.restore();
  }

  /** Leaves every task to the next run: what works goes on where a keeper owns Codex, and is interrupted elsewhere. */
  async suspend(): Promise<void> {
    await this.tasks.suspend().catch((error: unknown) => this.log('error', messageOf(error)));
    await this.end();
  }

  /** The clients that can be connected; `launcher` is the path that they are given. */
  async clients(launcher: string, folder: string | null): Promise<Pick<ConnectableClients, 'clients' | 'plain'>> {
    const codex = await locate(this.options).then(
      ({ path }) => path,
      () => null,
    );
    const clients = await findClients({ home: homedir(), env: process.env, launcher, folder, codex });
    return { clients, plain: plainEntry(launcher) };
  }

  /** Looks at everything that a task needs; see doctor.ts. */
  examine(how: DoctorQuestion): Promise<readonly Finding[]> {
    const { codexPath, extensionDir } = this.options;
    return examine({
      ...how,
      stateDir: this.stateDir,
      ownsStore: true,
      codexPath: codexPath(),
      extensionDir: extensionDir?.() ?? null,
    });
  }

  private async end(isWell = true): Promise<void> {
    // Each step is taken whatever becomes of the ones before; the lock goes last, when nobody can find this worker any more.
    const steps = [
      () => (isWell ? this.agent.stop() : this.agent.kill('it does not end its tasks')),
      () => this.policies.close(),
      () => this.sharing?.close(),
      () => this.lock.release(),
    ];
    for (const step of steps) {
      try {
        await step();
      } catch (error) {
        this.log('error', `A step of the shutdown failed: ${messageOf(error)}`);
      }
    }
    this.dispose();
  }

  /** Stops every task, then Codex, and writes what is left; within 3 s. */
  async shutDown(): Promise<void> {
    const isWell = await this.tasks.shutDown().catch((error: unknown) => {
      this.log('error', messageOf(error));
      return false;
    });
    await this.end(isWell);
  }

  dispose(): void {
    this.owned.dispose();
  }
}

function locate(options: WorkerOptions): Promise<CodexBinary> {
  return findCodex(thisMachine(options.codexPath(), options.extensionDir?.() ?? null));
}

interface Store {
  readonly doorsDir: string | null;
  readonly dir: string;
  readonly beside: number;
  readonly lock: StoreLock;
  readonly processes: ProcessRegistry;
  readonly journal: TaskFiles;
}

/** The wanted store, or one of its own beside it when another program works in that: there are never two writers. */
async function lockAnyhow({ stateDir, log, lockWaitMs = defaultLockWaitMs }: WorkerOptions): Promise<LockedStore> {
  const wanted = await lockStore(stateDir, lockWaitMs);
  const store = wanted ?? (await lockBeside(stateDir));
  if (!wanted)
    log('warn', `Another program works with the tasks in ${stateDir}; this one keeps its own in ${store.dir}.`);
  return store;
}

async function openStore(
  { dir, beside, lock }: LockedStore,
  { dataDir, settings, log }: WorkerOptions,
): Promise<Store> {
  const processes = new ProcessRegistry(dir);
  // With a keeper the tasks are at work; without one nothing of them may be.
  const keepers = keeperDirs(dir);
  const records = await Promise.all(keepers.map((one) => readRecord(one)));
  for (const [index, one] of keepers.entries()) if (!records[index]) await endLeftServer(one);
  if (records.every((record) => record === null)) await reap(processes, log);
  const doorsDir = await makeDoorsDir(dataDir, settings.roots()).catch((error: unknown) => {
    log(
      'warn',
      `There is no directory for doors, so no other program comes in and Codex ends with this one: ${messageOf(error)}`,
    );
    return null;
  });
  return { dir, beside, lock, processes, doorsDir, journal: await TaskFiles.open(dir, log) };
}

/** Has what goes wrong with the directory told as that. */
async function usable<T>(stateDir: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new CallError('store_unavailable', `The directory "${stateDir}" cannot be used: ${messageOf(cause)}.`, {
      hint: 'It must be a directory that can be written; --state-dir names another one.',
      cause,
    });
  }
}

async function reap(processes: ProcessRegistry, log: Log): Promise<void> {
  for (const { pid, command } of await processes.reap()) {
    log('warn', `Ended process ${pid}, which a task of an earlier run had left: ${command}`);
  }
}

type LockedStore = Pick<Store, 'dir' | 'beside' | 'lock'>;

async function lockStore(dir: string, waitMs: number, beside = 0): Promise<LockedStore | null> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const deadline = performance.now() + waitMs;
  for (;;) {
    const lock = await takeStoreLock(dir);
    if (lock) return { dir, beside, lock };
    if (performance.now() >= deadline) return null;
    await delay(lockEveryMs);
  }
}

async function lockBeside(dir: string): Promise<LockedStore> {
  for (let index = 1; index <= besideLimit; index++) {
    const store = await lockStore(join(dir, 'beside', String(index)), 0, index);
    if (store) return store;
  }
  throw new Error(`${besideLimit} programs work there already.`);
}
