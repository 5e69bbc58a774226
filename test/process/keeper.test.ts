import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { TaskSnapshot } from '../../src/core/taskSnapshot';
import type { Answer } from '../../src/core/pendingRequest';
import { type CodexRig, startCodexRig, startWorker } from '../rig/codexRig';
import { isAlive, processesWith } from '../rig/processes';
import { until } from '../rig/until';

let rig: CodexRig;
let worker: Awaited<ReturnType<typeof startWorker>>;
let keepMs: number | null = 30_000;

beforeAll(async () => {
  rig = await startCodexRig();
});
afterAll(() => rig.dispose());
beforeEach(() => {
  keepMs = 30_000;
});
afterEach(() => worker.shutDown());

const caller = 'test';
const accept: Answer = { kind: 'decision', decision: 'accept' };
const asPerson = { by: 'person', caller: 'person' } as const;

async function start(): Promise<void> {
  worker = await startWorker(rig, { keepMs: () => keepMs, settings: { recovery: () => 'ask' } });
  await worker.restore();
}

async function spawn(prompt: string, more: object = {}): Promise<string> {
  const { id } = await worker.tasks.spawn({ prompt, ...more }, caller);
  await until('its turn runs', () => worker.tasks.get(id).turns === 1);
  return id;
}

async function finish(id: string): Promise<TaskSnapshot> {
  return until(
    'it ends',
    () => {
      const task = worker.tasks.get(id);
      return task.endedAt === null ? null : task;
    },
    30_000,
  );
}

async function transcript(id: string): Promise<string> {
  return (await worker.tasks.readJournal(id, 'verbose', 0, 1_000_000)).text;
}

async function keeperPid(): Promise<number> {
  const record = JSON.parse(await readFile(join(rig.stateDir, 'keeper.json'), 'utf8')) as { keeper: string };
  return Number.parseInt(record.keeper);
}

const serverCount = (): number => processesWith(`${rig.codexPath} app-server`).length;

describe('a worker that goes away and comes back', () => {
  it('has its tasks at work again: streaming, running a command, and asking', async () => {
    await start();
    const streaming = await spawn('slow 4s 40');
    const marked = `sleep 3.${process.pid}`;
    const running = await spawn(`run: echo once >> once.txt; echo before; ${marked}; echo after\nsay ran`);
    const asking = await spawn('run: echo asked >> asked.txt\nsay allowed', { approvalPolicy: 'untrusted' });
    await until('it asks', () => worker.tasks.get(asking).pending.length === 1);
    await until('it streams', async () => (await transcript(streaming)).includes('tick3'));
    await until('the command runs', () => processesWith(marked).length > 0);
    const before = worker.tasks.get(asking).pending;
    const pid = worker.serverPid;
    await worker.suspend();
    expect([isAlive(pid!), processesWith(marked).length > 0]).toEqual([true, true]);
    await new Promise((resolve) => setTimeout(resolve, 1_000));

    await start();
    expect(worker.serverPid).toBe(pid);
    expect(worker.tasks.get(asking)).toMatchObject({ status: 'input_required', pending: before });
    expect(worker.tasks.get(streaming)).toMatchObject({ status: 'working', pending: [] });
    await worker.tasks.respond(asking, 'r1', accept, asPerson);
    for (const id of [streaming, running, asking])
      expect(await finish(id)).toMatchObject({ status: 'completed', turns: 1 });
    const ticks = Array.from({ length: 40 }, (_, index) => `tick${index} `).join('');
    expect(await transcript(streaming)).toContain(`\n${ticks}\n──`);
    expect(await transcript(running)).toMatch(/\$ echo once[\s\S]*\nafter\n[\s\S]*\nbefore\n/);
    for (const [name, line] of [
      ['once', 'once'],
      ['asked', 'asked'],
    ] as const)
      expect(await readFile(join(rig.workspace, `${name}.txt`), 'utf8')).toBe(`${line}\n`);
    expect(serverCount()).toBe(1);
    const keeper = await keeperPid();
    await worker.shutDown();
    expect([serverCount(), isAlive(keeper)]).toEqual([0, false]);
  });
});
