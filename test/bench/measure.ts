import { readFile } from 'node:fs/promises';
import { descendants } from '../../src/process/killTree';
import { processTable } from '../../src/process/processTable';

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

/** Milliseconds that the work takes. */
export async function time(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** Megabytes of proportional memory (PSS) of processes and all below them. */
export async function memoryOf(...roots: readonly number[]): Promise<number> {
  const table = await processTable().list();
  const pids = new Set(roots.flatMap((root) => [root, ...descendants(table, root)]));
  const sizes = await Promise.all([...pids].map(pssOf));
  return sizes.reduce((sum, size) => sum + size, 0) / 1024;
}

async function pssOf(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
  return Number(/^Pss:\s+(\d+) kB/m.exec(text)?.[1] ?? 0);
}

/** Prints medians of the two sides and their ratio. */
export function report(name: string, unit: string, ours: readonly number[], script: readonly number[]): void {
  const [a, b] = [median(ours), median(script)];
  const row = [name.padEnd(52), `${a.toFixed(1)} ${unit}`.padStart(12), `${b.toFixed(1)} ${unit}`.padStart(12)];
  process.stdout.write(`${row.join(' ')}  ${(a / b).toFixed(2).padStart(6)} ×\n`);
}
