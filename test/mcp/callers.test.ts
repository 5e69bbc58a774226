import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CodexRig, startCodexRig, startWorker } from '../rig/codexRig';
import { type Json } from '../rig/mcpRig';
import { connectAttached, connectPipe, openWindow, type TestWindow } from '../rig/window';
import { until } from '../rig/until';

/** Who calls: conversations of one window, and clients; see core/caller.ts. */

let rig: CodexRig;
let worker: Awaited<ReturnType<typeof startWorker>>;
let window: TestWindow;
let clients: Client[] = [];

beforeEach(async () => {
  rig = await startCodexRig();
  worker = await startWorker(rig);
  window = await openWindow(worker, rig);
  clients = [];
});
afterEach(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await window.close();
  await worker.shutDown();
  await rig.dispose();
});

async function harness(): Promise<Client> {
  const { client } = await connectPipe(rig);
  clients.push(client);
  return client;
}

/** A conversation as VS Code's local agent and Codex name theirs, over one connection or another. */
function chat(client: Client, name: string, field = 'vscode.conversationId') {
  const ask = async (
    tool: string,
    args: Json = {},
    more: { signal?: AbortSignal; meta?: Json } = {},
  ): Promise<Json> => {
    const { signal, meta } = more;
    const call = { name: tool, arguments: args, _meta: { [field]: name, ...meta } };
    const result = await client.callTool(call, undefined, signal ? { signal } : {});
    return result.structuredContent as Json;
  };
  return {
    ask,
    spawn: async (prompt: string, more: Json = {}) => String((await ask('spawn-task', { prompt, ...more })).task_id),
    news: async () => ((await ask('wait-task', { timeout_ms: 0 })).tasks as Json[]).map(({ task_id }) => task_id),
  };
}

/** Resolves when it is in force. */
async function setPolicy(text: string): Promise<void> {
  const changed = new Promise((resolve) => worker.policies.gate.onDidChange(() => resolve(null)));
  await writeFile(rig.policyPath, text);
  await changed;
}

const ended = (id: string): Promise<unknown> =>
  until('it has ended', () => worker.tasks.get(id).endedAt !== null, 20_000);

describe('two chats of one window', () => {
  it('never take each other’s news, and each is told how much there is beside', async () => {
    const client = await harness();
    const [one, two] = [chat(client, 'chat-1'), chat(client, 'chat-2')];
    const [first, second] = [await one.spawn('say one'), await two.spawn('hang')];
    await ended(first);
    expect(await two.news()).toEqual([second]);
    expect(await one.news()).toEqual([first]);
    // Told once; what an answer lost is still named.
    expect(await one.ask('wait-task', { timeout_ms: 0 })).toMatchObject({
      tasks: [],
      others: 1,
      recent: [{ task_id: first, status: 'completed', summary: 'one' }],
      next: expect.stringMatching(/task_id "all"/) as string,
    });
    expect(await one.ask('wait-task', { task_id: 'all', timeout_ms: 0 })).toMatchObject({ tasks: [{ task_id: second }] });
    // Named before, it is the caller's own.
    await one.ask('wait-task', { task_id: second, timeout_ms: 0 });
    expect(await one.news()).toEqual([second]);
    expect(await two.news()).toEqual([second]);
  }); // prettier-ignore

  it('keep what they were told over a reconnect, and are one client with one quota and one set of rights', async () => {
    await setPolicy(
      `tools:
  spawn-task: { rules: [{ rate_limit: { max: 2, window: 600 } }] }
  cancel-task: { rules: [{ action: deny, conditions: [{ path: task.spawned_by_caller, op: eq, value: false }] }] }
  message-task: { rules: [{ action: deny, conditions: [{ path: task.spawned_by_conversation, op: eq, value: false }] }] }
`,
    );
    const before = await harness();
    const first = await chat(before, 'chat-1').spawn('say one');
    await ended(first);
    expect(await chat(before, 'chat-1').news()).toEqual([first]);
    await before.close();
    const after = await harness();
    expect(await chat(after, 'chat-1').news()).toEqual([]);
    const second = await chat(after, 'chat-2').spawn('hang');
    // A new chat is no new quota.
    expect(await chat(after, 'chat-3').ask('spawn-task', { prompt: 'say three' })).toMatchObject({ error: { code: 'policy_denied', retryable: true } });
    // It may do what any chat of the window may, and a rule can want less.
    expect(await chat(after, 'chat-3').ask('message-task', { task_id: second, message: 'x' })).toMatchObject({ error: { code: 'policy_denied' } });
    expect(await chat(after, 'chat-3').ask('cancel-task', { task_id: second })).toMatchObject({ cancelled: [second] });
  }); // prettier-ignore

  it('are known by the thread of a Codex session as well', async () => {
    const client = await harness();
    const id = await chat(client, 'thread-1', 'threadId').spawn('say x');
    expect(worker.tasks.get(id).spawnedBy).toBe('window#thread-1');
  });
});

describe('a conversation is a label inside its client', () => {
  it('the same label of another client is another caller, which may not do what the window may', async () => {
    await setPolicy(
      'tools: {cancel-task: {rules: [{action: deny, conditions: [{path: task.spawned_by_caller, op: eq, value: false}]}]}}',
    );
    const inside = chat(await harness(), 'same');
    const { client } = await connectAttached(rig, { name: 'claude-code' });
    clients.push(client);
    const outside = chat(client, 'same');
    const id = await inside.spawn('hang');
    expect(await outside.news()).toEqual([]);
    expect(await outside.ask('cancel-task', { task_id: id })).toMatchObject({ error: { code: 'policy_denied' } });
    expect(await inside.ask('cancel-task', { task_id: id })).toMatchObject({ cancelled: [id] });
  });

  it('no name makes a client another one', async () => {
    const names = ['window', 'person', 'a#b', 'x\ny', 'window#same', ''];
    for (const name of names) {
      const { client } = await connectAttached(rig, { name });
      clients.push(client);
      const id = await chat(client, 'window#1').spawn('say x');
      expect(worker.tasks.get(id).spawnedBy).toMatch(/^attached [\w.-]+#[0-9a-f]{16}$/);
    }
  });
});

describe('a spawn whose caller gave up', () => {
  const args = { prompt: 'slow 3s', wait_ms: 60_000 };

  async function giveUp(one: ReturnType<typeof chat>): Promise<string> {
    const count = worker.tasks.snapshots().length;
    const abort = new AbortController();
    const call = one.ask('spawn-task', args, { signal: abort.signal });
    await until('it is there', () => worker.tasks.snapshots().length === count + 1);
    abort.abort();
    await expect(call).rejects.toThrow();
    return worker.tasks.snapshots().at(-1)!.id;
  }

  it('is found again by its repetition, by the same conversation only', async () => {
    const client = await harness();
    const [one, two] = [chat(client, 'chat-1'), chat(client, 'chat-2')];
    const id = await giveUp(one);
    expect(await two.spawn(args.prompt)).not.toBe(id);
    expect(await one.spawn(`${args.prompt} `)).not.toBe(id);
    expect(await one.spawn(args.prompt)).toBe(id);
    // That one was answered.
    expect(await one.spawn(args.prompt)).not.toBe(id);
  });

  it('is found again after it ended, too', async () => {
    const one = chat(await harness(), 'chat-1');
    const id = await giveUp(one);
    await ended(id);
    expect(await one.ask('spawn-task', args)).toMatchObject({ task_id: id, status: 'completed' });
  });

  it('is two tasks where both were answered', async () => {
    const one = chat(await harness(), 'chat-1');
    expect(await one.spawn('say x')).not.toBe(await one.spawn('say x'));
  });
});
