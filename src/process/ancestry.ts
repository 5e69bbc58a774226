import { type ProcessEntry, processTable } from './processTable';
import { taskMarker } from './taskProcesses';

/**
 * Stands in the environment of each app-server of ours, and so of what it starts, unless Codex clears it: the state directory
 * of the worker that owns it.
 */
export const serverMarker = 'CODEX_WORKER_SERVER';

/** Longer than any chain of processes. */
const depthLimit = 100;

/** What started this program, by way of whatever is in between. */
export interface Outer {
  /** The state directory of the worker; empty where that is not known. */
  readonly stateDir: string;
  /** The task whose command did it; null for a server of Codex itself, whose calls name the thread. */
  readonly task: string | null;
}

/**
 * The app-server of ours below which this program was started; null when there is none. Codex starts the MCP servers of its
 * configuration once for each thread, and so ours too when it is listed there. Codex clears the environment of what it
 * starts, but not its own.
 */
export async function outerServer(): Promise<Outer | null> {
  let task: string | null = null;
  for await (const environment of environments()) {
    task ??= environment(taskMarker) ?? null;
    const stateDir = environment(serverMarker);
    if (stateDir !== undefined) return { stateDir, task };
  }
  return null;
}

type Environment = (name: string) => string | undefined;

/** Our own, then those of the programs that started us. */
async function* environments(): AsyncGenerator<Environment> {
  yield (name) => process.env[name];
  const table = processTable();
  // It tells nobody's environment, and takes a second.
  if (process.platform === 'win32') return;
  const byPid = new Map((await table.list()).map((entry) => [entry.pid, entry]));
  for (const ancestor of ancestorsOf(process.ppid, byPid)) {
    const lines = (await table.environment(ancestor))?.split('\n') ?? [];
    yield (name) => lines.find((line) => line.startsWith(`${name}=`))?.slice(name.length + 1);
  }
}

function ancestorsOf(pid: number, byPid: ReadonlyMap<number, ProcessEntry>): readonly ProcessEntry[] {
  const chain: ProcessEntry[] = [];
  for (let entry = byPid.get(pid); entry && chain.length < depthLimit; entry = byPid.get(entry.parent)) {
    if (chain.includes(entry)) break;
    chain.push(entry);
  }
  return chain;
}
