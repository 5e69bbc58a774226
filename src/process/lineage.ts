import { randomInt } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

/**
 * A mark that every descendant of a process inherits and keeps, whatever it does to its environment, session or parent:
 * bits of the kernel's core-dump filter (core(5)), inherited over fork and kept over exec. We use the bits for huge pages and
 * DAX pages, which change a core dump only where a program has such memory. Linux only.
 *
 * Four bits make fourteen marks: one of them is set in most processes, so that it alone, or none, is no mark. Each server claims
 * one that no live process carries, so that one window never takes the processes of another for its own; when none is free there
 * is no mark.
 */
const markBits = 0x1e0;
/** Not set by anybody else. */
const ownBits = 0x1c0;
const marks = Array.from({ length: markBits / 0x20 + 1 }, (_, index) => index * 0x20).filter(isMark);

function isMark(bits: number): boolean {
  return (bits & ownBits) !== 0;
}

/** Together about as long as a server takes to start (measured: 120 ms). */
const attempts = 8;
/** From and up to, in ms. */
const pauseMs = [5, 25] as const;

/** Marks a process before it starts others, and gives its mark; null where that cannot be done. */
export async function claimLineage(pid: number): Promise<number | null> {
  const filter = await readFilter(pid);
  if (filter === null) return null;
  for (let attempt = 0; attempt < attempts; attempt++) {
    // Servers that start or end at the same moment as this one: look again when they have.
    if (attempt > 0) await delay(randomInt(...pauseMs));
    const used = await marksInUse(pid);
    const free = marks.filter((mark) => !used.has(mark));
    const mark = free[randomInt(Math.max(1, free.length))];
    if (mark === undefined) continue;
    if (!(await writeFilter(pid, (filter & ~markBits) | mark))) return null;
    // Two servers may have chosen the same at the same moment: then neither keeps it.
    if (!(await marksInUse(pid)).has(mark)) return mark;
    await writeFilter(pid, filter & ~ownBits);
  }
  return null;
}

/** The mark of a process; 0 for one that has none. */
export async function readLineage(pid: number): Promise<number> {
  const bits = ((await readFilter(pid)) ?? 0) & markBits;
  return isMark(bits) ? bits : 0;
}

/** The marks that processes other than `except` carry. */
async function marksInUse(except: number): Promise<ReadonlySet<number>> {
  const names = await readdir('/proc').catch(() => []);
  const pids = names.map(Number).filter((pid) => Number.isInteger(pid) && pid !== except);
  return new Set(await Promise.all(pids.map(readLineage)));
}

async function readFilter(pid: number): Promise<number | null> {
  const text = await readFile(`/proc/${pid}/coredump_filter`, 'utf8').catch(() => '');
  return text.trim() === '' ? null : Number.parseInt(text, 16);
}

async function writeFilter(pid: number, filter: number): Promise<boolean> {
  return writeFile(`/proc/${pid}/coredump_filter`, `0x${filter.toString(16)}`).then(
    () => true,
    () => false,
  );
}
