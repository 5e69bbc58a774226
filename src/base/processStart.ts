import { readFile } from 'node:fs/promises';

/**
 * When a process started, in clock ticks since boot: with its id it names one process for good, whatever gets the id later.
 * 0 where the platform does not tell it without another program; there the id alone has to do.
 */
export async function startOf(pid: number): Promise<number> {
  if (process.platform !== 'linux') return 0;
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // The name stands in parentheses and may hold any character; field 22 is the 20th after it (proc(5)).
  const ticks = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
  return Number.isFinite(ticks) ? ticks : 0;
}

/** Whether the process of that id that started then is alive. */
export async function isAlive(pid: number, started: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // A process of another user is alive, but no window of ours.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  return (await startOf(pid)) === started;
}
