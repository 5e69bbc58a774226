import { execa } from 'execa';
import { type ProcessEntry, processTable } from './processTable';

/** Kills a process and everything below it at once. Processes that are gone already are no error. */
export async function killTree(pid: number, platform: NodeJS.Platform = process.platform): Promise<void> {
  if (platform === 'win32') {
    await execa('taskkill', taskkillArguments(pid), { reject: false, timeout: 3_000, stdin: 'ignore' });
    return;
  }
  const tree = descendants(await processTable(platform).list(), pid);
  for (const target of [pid, ...tree]) signalProcess(target, 'SIGKILL');
}

export function taskkillArguments(pid: number): string[] {
  return ['/PID', String(pid), '/T', '/F'];
}

/** The pids below `root`, parents first. */
export function descendants(table: readonly ProcessEntry[], root: number): number[] {
  const found = [root];
  for (const parent of found) {
    for (const entry of table) if (entry.parent === parent && !found.includes(entry.pid)) found.push(entry.pid);
  }
  return found.slice(1);
}

/** Signals one process; one that is gone already is no error. Windows knows only the forced end. */
export function signalProcess(pid: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended by itself.
  }
}
