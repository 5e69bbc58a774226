import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { ResourceUpdatedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CodexRig, startCodexRig } from '../rig/codexRig';
import { exists } from '../rig/installEditor';
import { call, callRefused, connectStdio, type Json } from '../rig/mcpRig';
import { isAlive, processesWith } from '../rig/processes';
import { until } from '../rig/until';

/** Several programs on one store, as several MCP clients of one project start them. */

let rig: CodexRig;
let clients: Client[];

beforeEach(async () => {
  rig = await startCodexRig();
  clients = [];
});
afterEach(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await rig.dispose();
});

async function start(...more: readonly string[]): Promise<{ client: Client; pid: number }> {
  const started = await connectStdio(rig, more);
  clients.push(started.client);
  return started;
}

const full = { sandbox: 'danger-full-access', approval_policy: 'never' };

async function spawn(client: Client, prompt: string): Promise<string> {
  return String((await call(client, 'spawn-task', { prompt, ...full })).task_id);
}

async function scoreboard(client: Client): Promise<string> {
  const { contents } = await client.readResource({ uri: 'task:///all' });
  return (contents[0] as { text: string }).text;
}

const statusOf = async (client: Client, id: string): Promise<unknown> =>
  (await call(client, 'wait-task', { task_id: id, timeout_ms: 0 })).status;

/** A task that is at work. */
async function spawnAtWork(client: Client, prompt: string): Promise<string> {
  const id = await spawn(client, prompt);
  await until('it works', async () => (await statusOf(client, id)) === 'working');
  return id;
}

const wait = (client: Client, id: string): Promise<Json> =>
  call(client, 'wait-task', { task_id: id, timeout_ms: 30_000 });

const record = (): Promise<string> => readFile(join(rig.stateDir, 'worker.json'), 'utf8');

describe('a second program on the store of another', () => {
  it('works through it: the same tasks, and one writer', async () => {
    const [first, second] = [await start(), await start()];
    const hanging = await spawnAtWork(first.client, 'hang');
    expect(await scoreboard(second.client)).toContain(hanging);
    const id = await spawn(second.client, 'say from the second');
    expect(await wait(second.client, id)).toMatchObject({ status: 'completed', final_message: 'from the second' });
    expect(await scoreboard(first.client)).toContain(id);
    expect(await exists(join(rig.stateDir, 'beside'))).toBe(false);
    expect((await stat(join(rig.stateDir, 'worker.json'))).mode & 0o777).toBe(0o600);
  });

  it('takes its own tasks along when its client goes, and no other', async () => {
    const [first, second] = [await start(), await start()];
    const others = await spawnAtWork(first.client, 'hang');
    const own = await spawnAtWork(second.client, 'hang');
    await second.client.close();
    await until('its task has ended', async () => (await statusOf(first.client, own)) === 'cancelled');
    expect(await statusOf(first.client, others)).toBe('working');
  });

  it('takes over when the other ends in order: its own tasks go on, and are not run twice', async () => {
    const [first, second, third] = [await start(), await start(), await start()];
    const others = await spawnAtWork(first.client, 'hang');
    const own = await spawn(second.client, 'run: echo once >> once.txt; sleep 4\nsay went on');
    await until('its command runs', () => exists(join(rig.workspace, 'once.txt')));
    const waiting = callRefused(second.client, 'wait-task', { task_id: own, timeout_ms: 30_000 });
    await first.client.close();
    expect((await waiting).error).toMatchObject({ code: 'shutting_down', retryable: true });
    expect(await wait(second.client, own)).toMatchObject({ status: 'completed', final_message: 'went on' });
    expect(await readFile(join(rig.workspace, 'once.txt'), 'utf8')).toBe('once\n');
    expect(await statusOf(second.client, others)).toBe('cancelled');
    // One of them works through the other now.
    expect(await scoreboard(third.client)).toContain(own);
    expect(await exists(join(rig.stateDir, 'beside'))).toBe(false);
  });

  it('takes over everything when the other is killed', async () => {
    const [first, second] = [await start(), await start()];
    const others = await spawnAtWork(first.client, 'slow 4s 10');
    const told: string[] = [];
    second.client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => void told.push(params.uri));
    await second.client.subscribeResource({ uri: `task:///${others}` });
    const waiting = wait(second.client, others);
    process.kill(first.pid, 'SIGKILL');
    await until('it is gone', () => !isAlive(first.pid));
    told.length = 0;
    expect(await waiting).toMatchObject({ status: 'completed', turn: 1 });
    const id = await spawn(second.client, 'say more');
    expect(await wait(second.client, id)).toMatchObject({ status: 'completed', final_message: 'more' });
    await until('it is still told of what it subscribed to', () => told.length > 0);
  });

  it('leaves nothing when all of them go at once', async () => {
    const all = [await start(), await start(), await start()];
    const marks = all.map((_, index) => `sleep ${700 + index}.${process.pid}`);
    for (const [index, { client }] of all.entries()) await spawn(client, `run: ${marks[index] ?? ''}`);
    await until('they run', () => marks.every((mark) => processesWith(mark).length > 0));
    await Promise.all(all.map(({ client }) => client.close()));
    await until('nothing is left', () => marks.flatMap(processesWith).length === 0, 10_000);
    await until('no program is left', () => all.every(({ pid }) => !isAlive(pid)));
  });

  it('that wants something else keeps a list of its own', async () => {
    const first = await start();
    const id = await spawnAtWork(first.client, 'hang');
    const other = await start('--max-concurrent-tasks', '3');
    expect(await scoreboard(other.client)).not.toContain(id);
    expect(await exists(join(rig.stateDir, 'beside', '1'))).toBe(true);
    expect(await statusOf(first.client, id)).toBe('working');
  });

  it('starts also when the one that is named there does not answer', async () => {
    await start();
    const { choices } = JSON.parse(await record()) as { choices: string };
    const dead = { version: 1, address: join(rig.dir, 'nobody.sock'), token: 'x', choices };
    await writeFile(join(rig.stateDir, 'worker.json'), JSON.stringify(dead));
    const second = await start();
    expect(await scoreboard(second.client)).not.toContain('working');
    expect(await exists(join(rig.stateDir, 'beside', '1'))).toBe(true);
  });
});
