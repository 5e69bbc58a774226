import { type ProcessEntry, processTable } from './processTable';

/** Stands in the environment of each app-server of ours, and so of what it starts, unless Codex clears it. */
export const serverMarker = 'CODEX_WORKER_SERVER';

/** Longer than any chain of processes. */
const depthLimit = 100;

/**
 * Whether this program was started by an app-server of ours, by way of whatever is in between: Codex starts the MCP servers
 * of its configuration once for each thread, and so ours too when it is listed there. Codex clears the environment of what
 * it starts, but not its own.
 */
export async function isBelowOurServer(): Promise<boolean> {
  if (process.env[serverMarker] !== undefined) return true;
  const table = processTable();
  // It tells nobody's environment, and takes a second.
  if (process.platform === 'win32') return false;
  const byPid = new Map((await table.list()).map((entry) => [entry.pid, entry]));
  for (const ancestor of ancestorsOf(process.ppid, byPid)) {
    const environment = await table.environment(ancestor);
    if (environment?.split('\n').some((line) => line.startsWith(`${serverMarker}=`))) return true;
  }
  return false;
}

function ancestorsOf(pid: number, byPid: ReadonlyMap<number, ProcessEntry>): readonly ProcessEntry[] {
  const chain: ProcessEntry[] = [];
  for (let entry = byPid.get(pid); entry && chain.length < depthLimit; entry = byPid.get(entry.parent)) {
    if (chain.includes(entry)) break;
    chain.push(entry);
  }
  return chain;
}
