import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { execa } from 'execa';
import { bundled } from '../rig/bundled';
import { type CodexRig, startCodexRig } from '../rig/codexRig';
import { call, connectStdio, type Json } from '../rig/mcpRig';
import { isAlive, processesWith } from '../rig/processes';
import { until } from '../rig/until';

/**
 * Kills each process at each moment, once here and many times in `npm run test:faults`. Afterwards every task has a true
 * status, nothing ran twice, nothing is left alive, and the next task works.
 */

const rounds = Number(process.env.FAULT_ROUNDS ?? 1);
const seed = Number(process.env.FAULT_SEED ?? Date.now() % 1_000_000);
let marks = 0;
const full = { sandbox: 'danger-full-access', approval_policy: 'never' };

const victims = ['the app-server', 'the keeper', 'the program', 'a command'] as const;
type Victim = (typeof victims)[number];

interface Scene {
  readonly client: Client;
  readonly mark: string;
  readonly spawn: (prompt: string, more?: Json) => Promise<string>;
}

/** What is brought about before the kill, and how many ms at most pass until then. */
const moments: Readonly<
  Record<string, { readonly set: (scene: Scene) => Promise<unknown>; readonly withinMs?: number }>
> = {
  'before thread/start answers': {
    set: ({ spawn, mark }) => (
      void spawn(`run: echo once >> ${mark}\nsay done`).catch(() => undefined),
      Promise.resolve()
    ),
    withinMs: 60,
  },
  'in the middle of a stream': {
    set: async ({ spawn, client }) => {
      const id = await spawn('slow 1s 20');
      await until('it streams', async () => (await status(client, id)).status === 'working');
    },
    withinMs: 300,
  },
  'in the middle of a command': {
    set: async ({ spawn, mark }) => {
      await spawn(`run: echo once >> ${mark}; sleep 1.${mark}\nsay done`);
      await until('the command runs', () => processesWith(`sleep 1.${mark}`).length > 0);
    },
  },
  'with an approval pending': {
    set: ({ spawn, mark }) =>
      spawn(`run: echo once >> ${mark}\nsay done`, { approval_policy: 'untrusted', wait_ms: 20_000 }),
  },
  'right after a turn': {
    set: ({ spawn, mark }) => spawn(`run: echo once >> ${mark}\nsay done`, { wait_ms: 20_000 }),
  },
  'with a task queued': {
    set: async ({ spawn, mark }) => {
      for (let count = 0; count < 2; count++) await spawn('slow 1s');
      await spawn(`run: echo once >> ${mark}\nsay done`);
    },
  },
  'during a cancel': {
    set: async ({ spawn, client, mark }) => {
      const id = await spawn(`run: echo once >> ${mark}; sleep 8.${mark}`);
      await until('the command runs', () => processesWith(`sleep 8.${mark}`).length > 0);
      void client.callTool({ name: 'cancel-task', arguments: { task_id: id } }).catch(() => undefined);
    },
    withinMs: 60,
  },
  'during the shutdown': {
    set: async ({ spawn, client, mark }) => {
      await spawn(`run: echo once >> ${mark}; sleep 8.${mark}`);
      await until('the command runs', () => processesWith(`sleep 8.${mark}`).length > 0);
      void client.close();
    },
    withinMs: 60,
  },
};

describe.each(Object.entries(moments))(`seed ${seed}: %s`, (name, { set, withinMs = 0 }) => {
  it.concurrent.each(victims)('%s is killed', { timeout: 60_000 * rounds }, async (victim) => {
    for (let round = 0; round < rounds; round++) {
      const rig = await startCodexRig();
      await kill(rig, victim, set, withinMs * random(`${name} ${victim} ${round}`));
      await rig.dispose();
    }
  });
});

it.each([150, 450, 650, 850])(
  'the app-server is killed, and the program %i ms later while tasks are continued: all go on to their end',
  { timeout: 60_000 * rounds },
  async (afterMs) => {
    for (let round = 0; round < rounds; round++) {
      const rig = await startCodexRig();
      const flags = ['--recovery', 'continue'];
      const first = await connectStdio(rig, flags);
      const spawned = [0, 1, 2].map(() =>
        call(first.client, 'spawn-task', { prompt: 'slow 2s 10\nsay done', ...full }),
      );
      const ids = (await Promise.all(spawned)).map(({ task_id }) => String(task_id));
      await until('they work', async () => {
        const turns = await Promise.all(ids.map(async (id) => (await status(first.client, id)).turn));
        return turns.every((turn) => turn === 1);
      });
      killOne((await record(rig)).server);
      await delay(afterMs + random(`continued ${afterMs} ${round}`) * 50);
      killOne(first.pid);
      await until('the program is gone', () => !isAlive(first.pid));
      const after = await connectStdio(rig, flags);
      const known = await settle(after.client);
      expect(
        ids.map((id) => known.get(id)),
        JSON.stringify([...known]),
      ).toEqual(ids.map(() => 'completed'));
      await after.client.close();
      await until('the program ends', () => !isAlive(after.pid));
      await rig.dispose();
    }
  },
);

async function kill(
  rig: CodexRig,
  victim: Victim,
  set: (scene: Scene) => Promise<unknown>,
  delayMs: number,
): Promise<void> {
  const mark = `${process.pid}${++marks}${Math.floor(performance.now())}`;
  const ids: string[] = [];
  const flags = ['--max-concurrent-tasks', '3'];
  const { client, pid } = await connectStdio(rig, flags);
  const spawn = async (prompt: string, more: Json = {}): Promise<string> => {
    const id = String((await call(client, 'spawn-task', { prompt, ...full, ...more })).task_id);
    ids.push(id);
    return id;
  };
  const bystander = await spawn(`run: echo once >> by${mark}; sleep 0.9${mark}; echo after\nsay bystander`);
  const bystanders = await until('its command runs', async () => {
    const pids = processesWith(`sleep 0.9${mark}`);
    return (await linesOf(rig, `by${mark}`)) === 1 && pids.length > 0 ? pids : null;
  });
  const { keeper, server } = await record(rig);
  await set({ client, mark, spawn });
  await delay(delayMs);
  const targets = { 'the app-server': [server], 'the keeper': [keeper], 'the program': [pid], 'a command': bystanders };
  for (const target of targets[victim]) killOne(target);

  const isGone = (): boolean => !isAlive(pid);
  const ends = set === moments['during the shutdown']!.set || victim === 'the program';
  if (ends) await until('the program is gone', isGone);
  const after = ends ? await connectStdio(rig, flags) : { client, pid };
  const known = await settle(after.client);
  for (const id of ids)
    expect(known.get(id) ?? 'lost', `${id} ${JSON.stringify([...known])}`).toMatch(/^(completed|failed|cancelled)$/);
  for (const file of [mark, `by${mark}`]) expect(await linesOf(rig, file)).toBeLessThanOrEqual(1);
  expect(await linesOf(rig, `by${mark}`), bystander).toBe(1);
  const next = await call(after.client, 'spawn-task', { prompt: 'say it works', ...full, wait_ms: 20_000 });
  expect(next).toMatchObject({ status: 'completed', final_message: 'it works' });
  const last = await record(rig);
  await after.client.close();
  await until('the program ends', () => !isAlive(after.pid));
  const left = () => [keeper, server, last.keeper, last.server, ...processesWith(mark)].filter(isAlive);
  await until(`nothing is left: ${left().join(' ')}`, () => left().length === 0, 8_000);
  for (const id of await readdir(join(rig.stateDir, 'tasks'))) {
    JSON.parse(await readFile(join(rig.stateDir, 'tasks', id, 'meta.json'), 'utf8'));
  }
}

/** Lets every task come to its end: allows what is asked, and continues what was interrupted. */
async function settle(client: Client): Promise<Map<string, string>> {
  return until(
    'every task has ended',
    async () => {
      const board = await client.readResource({ uri: 'task:///all' });
      const lines = (board.contents[0] as { text: string }).text.trim().split('\n');
      const tasks = new Map(lines.map((line) => [line.split(' ')[1] ?? '', line.split(' ')[2] ?? '']));
      for (const [id, now] of tasks) if (now === 'input_required') await answer(client, id);
      return [...tasks.values()].every((now) => /^(completed|failed|cancelled)$/.test(now)) ? tasks : null;
    },
    30_000,
  );
}

async function answer(client: Client, id: string): Promise<void> {
  const asked = (await status(client, id)).pending_question as { type: string; request_id: string } | undefined;
  if (!asked) return;
  const { type, request_id } = asked;
  await client.callTool({ name: 'respond-task', arguments: { task_id: id, type, request_id, decision: 'accept' } });
}

function status(client: Client, id: string): Promise<Json> {
  return call(client, 'wait-task', { task_id: id, timeout_ms: 0 });
}

async function linesOf(rig: CodexRig, name: string): Promise<number> {
  const text = await readFile(join(rig.workspace, name), 'utf8').catch(() => '');
  return text.split('\n').filter((line) => line !== '').length;
}

async function record(rig: CodexRig): Promise<{ keeper: number; server: number }> {
  const text = await until('a keeper', () => readFile(join(rig.stateDir, 'keeper.json'), 'utf8').catch(() => null));
  const { keeper, server } = JSON.parse(text) as { keeper: string; server: string };
  return { keeper: Number.parseInt(keeper), server: Number.parseInt(server) };
}

function killOne(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It was faster.
  }
}

/** From 0 to 1, the same for the same seed and text. */
function random(text: string): number {
  let hash = seed | 0;
  for (const character of text) hash = Math.imul(hash ^ character.charCodeAt(0), 0x5bd1e995) ^ (hash >>> 13);
  return (hash >>> 0) / 2 ** 32;
}

describe('what is left when everything is killed at once', () => {
  let rig: CodexRig;
  beforeEach(async () => {
    rig = await startCodexRig();
  });
  afterEach(() => rig.dispose());

  async function leaveSomething(): Promise<string> {
    const marked = `sleep 7${process.pid}.${Math.floor(performance.now())}`;
    const { client, pid } = await connectStdio(rig);
    await call(client, 'spawn-task', {
      prompt: `run: (env -i setsid ${marked} > /dev/null 2>&1 &); ${marked}`,
      ...full,
    });
    const registered = () => readFile(join(rig.stateDir, 'processes.txt'), 'utf8').catch(() => '');
    await until('its processes are known', async () => {
      const keys = await registered();
      const pids = processesWith(marked).filter((one) => !processesWith('bash').includes(one));
      return pids.length >= 2 && pids.every((one) => keys.includes(`${one}:`));
    });
    const { keeper, server } = await record(rig);
    for (const target of [pid, keeper, server]) killOne(target);
    await until('they are gone', () => [pid, keeper, server].every((one) => !isAlive(one)));
    await delay(300);
    expect(processesWith(marked).length).toBeGreaterThan(0);
    return marked;
  }

  it('is ended by the next start', async () => {
    const marked = await leaveSomething();
    const { client } = await connectStdio(rig);
    await call(client, 'wait-task', { timeout_ms: 0 });
    expect(processesWith(marked)).toEqual([]);
    await client.close();
  });

  it('is told by the doctor, and ended by its repair', async () => {
    const marked = await leaveSomething();
    const args = [bundled('stdio'), 'doctor', '--state-dir', rig.stateDir, '--codex-path', rig.codexPath];
    const first = await execa(process.execPath, args, { env: rig.env, reject: false });
    expect(first.stdout).toMatch(/! Processes +left by a run that was killed: [1-9].*sleep/);
    expect(processesWith(marked).length).toBeGreaterThan(0);
    const second = await execa(process.execPath, [...args, '--repair'], { env: rig.env, reject: false });
    expect(second.stdout).toMatch(/Repaired: ended [1-9]/);
    expect(second.stdout).toMatch(/✓ Store +1 tasks/);
    expect(processesWith(marked)).toEqual([]);
  });
});
