import { setTimeout as delay } from 'node:timers/promises';
import { beginningOf } from '../base/wellFormed';
import { identity, type ProcessEntry, type ProcessTable } from './processTable';
import { commandLine } from './procTable';

/** The variable that every shell command of a task carries. */
export const taskMarker = 'CODEX_WORKER_TASK';

export interface FoundProcess {
  readonly pid: number;
  readonly command: string;
}

export interface EndReport {
  readonly killed: readonly FoundProcess[];
  readonly alive: readonly FoundProcess[];
  readonly unattributed: readonly FoundProcess[];
}

/** A process and the mark that all its descendants carry; see lineage.ts. */
export interface MarkedProcess {
  readonly pid: number;
  readonly lineage: number | null;
  /** Carries the mark, too, and is of no task. */
  readonly keeperPid?: number | undefined;
}

export interface TaskProcessesOptions {
  readonly table: ProcessTable;
  /** The server that runs the commands of all tasks; undefined while there is none. */
  readonly server: () => MarkedProcess | undefined;
  readonly kill: (pid: number, signal: 'SIGTERM' | 'SIGKILL') => void;
  /** A process was found to be of a task; told once, by its identity. */
  readonly onFound?: (key: string) => void;
}

/** Time that a process gets between SIGTERM and SIGKILL, and between looks, in ms. */
const graceMs = 250;
const lookEveryMs = 10;
const sampleEveryMs = 100;
/** All looking and killing of one `end` together, in ms. */
const endLimitMs = 1_500;
const knownLimit = 20_000;
/** A command's process can be seen before we are told of the command: an orphan's owner is decided only after this time. */
const decideAfterMs = 100;

/**
 * Knows which processes belong to which task, by several signs together, because each alone misses some:
 * the marker in a command's environment (a child may clear it: `env -i`); descent and session, sampled below the server
 * while a command runs (a short-lived parent may fall between two samples); the pipes that a command's children
 * inherit; and, for an orphan of the server's lineage, that only one task ran commands when it appeared. The tree of
 * bwrap is found by marker and descent, and dies with it.
 */
export class TaskProcesses {
  /** Identity of a process → its task. */
  private readonly known = new Map<string, string>();
  /** The tasks of this worker that may have processes. */
  private readonly tasks = new Set<string>();
  private readonly sessions = new Map<number, string>();
  private readonly streams = new Map<string, string>();
  /** Identities of orphans of the server's lineage that may be of several tasks, and of which. */
  private readonly strays = new Map<string, ReadonlySet<string>>();
  /** Orphans of the server's lineage that are not decided about, and the tasks whose they may be. */
  private readonly fresh = new Map<string, { readonly since: number; readonly possible: Set<string> }>();
  /** Task → how many of its commands run. */
  private readonly running = new Map<string, number>();
  /** Tasks that ran a command at some time since the last look began. */
  private recent = new Set<string>();
  /** Tasks that are being ended: they may run commands that we were not told of. */
  private readonly expected = new Set<string>();
  private sampling: Promise<void> | null = null;
  private looking: Promise<unknown> = Promise.resolve();
  /** It has not begun yet. */
  private nextLook: Promise<readonly ProcessEntry[]> | null = null;
  private server: ProcessEntry | undefined;
  private lineage: number | null = null;
  private readonly options: TaskProcessesOptions;

  constructor(options: TaskProcessesOptions) {
    this.options = options;
  }

  /** A command of the task starts: sample until as many have ended. */
  commandStarted(taskId: string): void {
    this.tasks.add(taskId);
    this.running.set(taskId, (this.running.get(taskId) ?? 0) + 1);
    this.recent.add(taskId);
    this.sampling ??= this.sampleWhileRunning();
  }

  commandEnded(taskId: string): void {
    const count = (this.running.get(taskId) ?? 0) - 1;
    if (count > 0) this.running.set(taskId, count);
    else this.running.delete(taskId);
  }

  /** Looks for processes of a task that will be ended and may run a command that we were not told of. */
  async expectCommand(taskId: string): Promise<void> {
    this.tasks.add(taskId);
    this.expected.add(taskId);
    await this.look();
  }

  /** The live processes of a task. */
  async find(taskId: string): Promise<readonly ProcessEntry[]> {
    return this.ofTask(taskId, await this.look());
  }

  /**
   * Ends every process of a task: SIGTERM, then SIGKILL, until none is left or 1.5 s have passed. Processes that come
   * from the server and may be of this task or another one are reported and left alone.
   */
  async end(taskId: string): Promise<EndReport> {
    const started = performance.now();
    const killed = new Map<string, FoundProcess>();
    let table = await this.look();
    let alive = this.ofTask(taskId, table);
    // A process that is forked while the table is read can be missed once: two looks must find nothing.
    let quietLooks = this.isQuiet(alive, table) ? 1 : 0;
    while (quietLooks < 2 && performance.now() - started < endLimitMs) {
      for (const entry of alive) await this.endOne(entry, killed, performance.now() - started > graceMs);
      await delay(lookEveryMs);
      table = await this.look();
      alive = this.ofTask(taskId, table);
      quietLooks = this.isQuiet(alive, table) ? quietLooks + 1 : 0;
    }
    this.running.delete(taskId);
    this.expected.delete(taskId);
    return {
      killed: [...killed.values()],
      alive: await Promise.all(alive.map(describe)),
      unattributed: await Promise.all(
        table.filter((entry) => this.strays.get(identity(entry))?.has(taskId)).map(describe),
      ),
    };
  }

  /** Ends the server by `stopServer`, and then whatever it ran, also what may be of several tasks: all of them end. */
  async endWith(stopServer: () => Promise<void>): Promise<void> {
    // Only while the server lives can what comes from it be told.
    const table = this.options.server() ? await this.look().catch(() => []) : [];
    const own = new Set(table.map(identity).filter((key) => this.isOurs(key)));
    await stopServer();
    if (own.size > 0) await this.endThese(own);
  }

  /** The marker names tasks of other workers, too: what is known may be theirs. */
  private isOurs(key: string): boolean {
    const owner = this.known.get(key);
    return (owner !== undefined && this.tasks.has(owner)) || this.strays.has(key) || this.fresh.has(key);
  }

  private async endThese(own: ReadonlySet<string>): Promise<void> {
    const started = performance.now();
    const told = new Set<string>();
    while (performance.now() - started < endLimitMs) {
      const left = (await this.options.table.list()).filter((entry) => own.has(identity(entry)));
      if (left.length === 0) return;
      for (const entry of left) {
        if (performance.now() - started > graceMs) this.options.kill(entry.pid, 'SIGKILL');
        else if (!told.has(identity(entry))) this.options.kill(entry.pid, 'SIGTERM');
        told.add(identity(entry));
      }
      await delay(lookEveryMs);
    }
  }

  /** Forgets what is known of a task whose processes are gone. */
  forget(taskId: string): void {
    this.tasks.delete(taskId);
    for (const map of [this.known, this.sessions, this.streams] as Map<unknown, string>[]) {
      for (const [key, owner] of map) if (owner === taskId) map.delete(key);
    }
  }

  private isQuiet(alive: readonly ProcessEntry[], table: readonly ProcessEntry[]): boolean {
    return alive.length === 0 && !table.some((entry) => this.fresh.has(identity(entry)));
  }

  private ofTask(taskId: string, table: readonly ProcessEntry[]): readonly ProcessEntry[] {
    return table.filter((entry) => this.known.get(identity(entry)) === taskId);
  }

  private async endOne(entry: ProcessEntry, killed: Map<string, FoundProcess>, forced: boolean): Promise<void> {
    const key = identity(entry);
    const first = !killed.has(key);
    if (first) killed.set(key, await describe(entry));
    if (forced) this.options.kill(entry.pid, 'SIGKILL');
    else if (first) this.options.kill(entry.pid, 'SIGTERM');
  }

  private async sampleWhileRunning(): Promise<void> {
    // One more look after the last command, for what it left.
    for (let more = true; more;) {
      more = this.running.size > 0;
      const started = performance.now();
      // A table that cannot be read now may be read the next time; the end of a task tells if not.
      await this.look().catch(() => undefined);
      // Where a look takes long (a program of its own on macOS and Windows) it must not take the whole machine.
      const pauseMs = Math.max(sampleEveryMs, (performance.now() - started) * 4);
      if (more) await delay(pauseMs, undefined, { ref: false });
    }
    this.sampling = null;
  }

  /**
   * Reads the table and attributes what is new in it. Looks follow each other, and whoever asks while one is under way
   * shares the next one: it begins after they asked.
   */
  private look(): Promise<readonly ProcessEntry[]> {
    this.nextLook ??= this.looking.then(() => {
      this.nextLook = null;
      return this.lookNow();
    });
    this.looking = this.nextLook.catch(() => undefined);
    return this.nextLook;
  }

  private async lookNow(): Promise<readonly ProcessEntry[]> {
    const candidates = this.recent;
    this.recent = new Set(this.running.keys());
    const table = await this.options.table.list();
    this.meetServer(table);
    const since = this.server?.startTime ?? 0;
    // Nothing of a task is older than the server. Of a crashed one, what it left may still be alive.
    const own = [this.server?.pid, this.options.server()?.keeperPid];
    const entries = table.filter((entry) => entry.startTime >= since && !own.includes(entry.pid));
    this.forgetDeadSessions(table);
    await this.attribute(entries, candidates);
    if (this.known.size > knownLimit) this.prune(table);
    return table;
  }

  /**
   * Keeps what is known of the last server, because what a crashed one left may still be alive. Not its mark: once it is
   * gone, the server of another window may claim the same one.
   */
  private meetServer(table: readonly ProcessEntry[]): void {
    const current = this.options.server();
    const server = table.find((entry) => entry.pid === current?.pid);
    this.lineage = server && current ? current.lineage : null;
    if (server) this.server = server;
  }

  private async attribute(entries: readonly ProcessEntry[], candidates: ReadonlySet<string>): Promise<void> {
    const byPid = new Map(entries.map((entry) => [entry.pid, entry]));
    const unknown = entries.filter((entry) => !this.known.has(identity(entry)));
    await Promise.all(unknown.map((entry) => this.attributeByMarker(entry)));
    // A parent may stand behind its child in the table: repeat until nothing is added.
    for (let added = true; added;) {
      added = false;
      for (const entry of unknown) {
        if (this.known.has(identity(entry))) continue;
        const owner = this.inherited(entry, byPid) ?? (await this.byStream(entry));
        if (owner === undefined) continue;
        await this.own(entry, owner);
        added = true;
      }
    }
    for (const entry of unknown) {
      if (!this.known.has(identity(entry))) await this.attributeOrphan(entry, candidates);
    }
  }

  private async attributeByMarker(entry: ProcessEntry): Promise<void> {
    const marked = markerOf(await this.options.table.environment(entry));
    if (marked !== null) await this.own(entry, marked);
  }

  private inherited(entry: ProcessEntry, byPid: ReadonlyMap<number, ProcessEntry>): string | undefined {
    const parent = byPid.get(entry.parent);
    const byParent = parent && this.known.get(identity(parent));
    return byParent ?? this.sessions.get(entry.session) ?? this.sessions.get(entry.group);
  }

  private async byStream(entry: ProcessEntry): Promise<string | undefined> {
    // A pipe's name may come back for another one: only what comes from the server can have inherited it.
    if (this.streams.size === 0 || !(await this.isOfServer(entry.pid))) return undefined;
    for (const stream of await this.options.table.streams(entry.pid)) {
      const owner = this.streams.get(stream);
      if (owner !== undefined) return owner;
    }
    return undefined;
  }

  /** An orphan that comes from the server is the task's whose command alone ran when it appeared. */
  private async attributeOrphan(entry: ProcessEntry, candidates: ReadonlySet<string>): Promise<void> {
    const key = identity(entry);
    if (entry.parent === this.server?.pid || this.strays.has(key)) return;
    const known = this.fresh.get(key);
    // Once it was the server's it stays so, also when the server is gone.
    if (!known && (!(await this.isOfServer(entry.pid)) || (await this.isOfServer(entry.parent)))) return;
    const seen = known ?? { since: performance.now(), possible: new Set<string>() };
    for (const taskId of [...candidates, ...this.recent, ...this.expected]) seen.possible.add(taskId);
    this.fresh.set(key, seen);
    if (performance.now() - seen.since < decideAfterMs) return;
    this.fresh.delete(key);
    const [owner, ...others] = seen.possible;
    if (owner !== undefined && others.length === 0) await this.own(entry, owner);
    else this.strays.set(key, seen.possible);
  }

  private async isOfServer(pid: number): Promise<boolean> {
    const { lineage, server } = this;
    if (lineage === null || !server || (await this.options.table.lineage(pid)) !== lineage) return false;
    // The mark is ours for as long as the server lives: it may have died, and another claimed it, since the table was read.
    return (await this.options.table.lineage(server.pid)) === lineage;
  }

  private async own(entry: ProcessEntry, taskId: string): Promise<void> {
    const key = identity(entry);
    // The marker names tasks of other workers, too.
    if (!this.known.has(key) && this.tasks.has(taskId)) this.options.onFound?.(key);
    this.known.set(key, taskId);
    if (entry.session === entry.pid) this.sessions.set(entry.session, taskId);
    if (entry.group === entry.pid) this.sessions.set(entry.group, taskId);
    // The server's own streams are everybody's.
    const shared = this.server ? await this.options.table.streams(this.server.pid) : [];
    for (const stream of await this.options.table.streams(entry.pid)) {
      if (!shared.includes(stream)) this.streams.set(stream, taskId);
    }
  }

  /** The number of a session that has no member any more may be given to another one. */
  private forgetDeadSessions(table: readonly ProcessEntry[]): void {
    const live = new Set(table.flatMap((entry) => [entry.session, entry.group]));
    for (const session of this.sessions.keys()) if (!live.has(session)) this.sessions.delete(session);
  }

  private prune(table: readonly ProcessEntry[]): void {
    const alive = new Set(table.map(identity));
    for (const key of this.known.keys()) if (!alive.has(key)) this.known.delete(key);
    for (const key of this.strays.keys()) if (!alive.has(key)) this.strays.delete(key);
    for (const key of this.fresh.keys()) if (!alive.has(key)) this.fresh.delete(key);
  }
}

/** The task that an environment names. */
export function markerOf(environment: string | null): string | null {
  const name = `${taskMarker}=`;
  const line = (environment ?? '').split('\n').find((one) => one.startsWith(name) && one.length > name.length);
  return line?.slice(name.length) ?? null;
}

async function describe(entry: ProcessEntry): Promise<FoundProcess> {
  return { pid: entry.pid, command: beginningOf((await commandLine(entry.pid)) ?? entry.command, 200) };
}
