import { readdir } from 'node:fs/promises';
import { startCodexRig } from '../rig/codexRig';
import { call, connectStdio } from '../rig/mcpRig';
import { descendants } from '../../src/process/killTree';
import { processTable } from '../../src/process/processTable';
import { memoryOf } from './measure';

/** `npm run soak`: 500 short tasks through one program; memory, open files and processes should stay flat. */

const tasks = Number(process.env.SOAK_TASKS ?? 500);
const atOnce = 10;
const reports = 10;

const rig = await startCodexRig();
const { client, pid } = await connectStdio(rig, ['--max-concurrent-tasks', String(atOnce)]);
const run = async (count: number): Promise<void> => {
  const args = { prompt: 'run: echo hi\nsay done', sandbox: 'danger-full-access', approval_policy: 'never' };
  await Promise.all(
    Array.from({ length: count }, () => call(client, 'spawn-task', { ...args, keep_alive: 1_000, wait_ms: 60_000 })),
  );
};

process.stdout.write(`${'tasks'.padStart(6)} ${'MB'.padStart(8)} ${'files'.padStart(6)} processes\n`);
for (let done = 0; done <= tasks; done += tasks / reports) {
  if (done > 0) for (let left = tasks / reports; left > 0; left -= atOnce) await run(Math.min(left, atOnce));
  const files = (await readdir(`/proc/${pid}/fd`)).length;
  const below = descendants(await processTable().list(), pid).length;
  const memory = (await memoryOf(pid)).toFixed(1);
  process.stdout.write(`${String(done).padStart(6)} ${memory.padStart(8)} ${String(files).padStart(6)} ${below}\n`);
}
await client.close();
await rig.dispose();
process.exit();
