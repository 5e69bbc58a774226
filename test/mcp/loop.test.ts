import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { readFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Worker } from '../../src/worker';
import { type CodexRig, startCodexRig, startWorker } from '../rig/codexRig';
import { call, callRefused, connectHttp, connectStdio, type Json, startTestHost } from '../rig/mcpRig';
import { isAlive, processesWith } from '../rig/processes';
import { until } from '../rig/until';

let rig: CodexRig;
let client: Client;
const closing: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  rig = await startCodexRig();
});
afterAll(() => rig.dispose());
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const doors: Record<string, () => Promise<void>> = {
  async socket() {
    await throughHttp('socket');
  },
  async tcp() {
    await throughHttp('tcp');
  },
  async stdio() {
    ({ client } = await connectStdio(rig));
    closing.push(() => client.close());
  },
};

async function throughHttp(transport: 'socket' | 'tcp', limits: { heartbeatMs?: number } = {}): Promise<Worker> {
  const worker = await startWorker(rig);
  closing.push(() => worker.shutDown());
  const host = await startTestHost(worker, transport, limits);
  closing.push(() => host.close());
  client = await connectHttp(host);
  closing.push(() => client.close());
  return worker;
}

const accept = { kind: 'decision', decision: 'accept' } as const;
const full = { sandbox: 'danger-full-access' };

describe.each(Object.keys(doors))('over %s', (door) => {
  it('the whole loop: spawn, wait, respond, wait, message, cancel', async () => {
    await doors[door]!();
    const prompt = 'run: echo asked\nsay all done';
    const spawned = await call(client, 'spawn-task', {
      prompt,
      ...full,
      approval_policy: 'untrusted',
      labels: ['loop'],
    });
    const task_id = spawned.task_id as string;
    expect(spawned).toMatchObject({
      status: expect.stringMatching(/^(submitted|working)$/) as string,
      labels: ['loop'],
      resources: { detail: `task:///${task_id}` },
    });

    const asking = await call(client, 'wait-task', { task_id });
    expect(asking).toMatchObject({
      status: 'input_required',
      pending_question: { type: 'command_approval', request_id: 'r1', command: 'echo asked' },
      timed_out: false,
    });
    const waited = await call(client, 'wait-task', { task_id, timeout_ms: 50 });
    expect(waited).toMatchObject({ timed_out: true, pending_question: { request_id: 'r1' } });

    const answer = { task_id, type: 'command_approval', decision: 'accept', wait_ms: 20_000 };
    const done = await call(client, 'respond-task', answer);
    expect(done).toMatchObject({ status: 'completed', final_message: 'all done', answered_by: 'agent', turn: 1 });
    expect((done.output as string[]).join('\n')).toContain('asked');

    const more = await call(client, 'message-task', { task_id, message: 'hang' });
    expect(more).toMatchObject({ delivered: 'new_turn', status: 'working' });
    expect(await call(client, 'cancel-task', { task_id: [task_id, 'no-such-1'] })).toEqual({
      cancelled: [task_id],
      already_terminal: [],
      not_found: ['no-such-1'],
    });
    expect(await call(client, 'wait-task', { task_id })).toMatchObject({ status: 'cancelled' });
    // A result that got lost on its way is not lost.
    expect(await call(client, 'wait-task', {})).toEqual({
      tasks: [],
      others: 0,
      recent: [{ task_id, status: 'cancelled', summary: expect.any(String) as string }],
      timed_out: false,
      next: expect.any(String) as string,
    });
  });

  it('a call that is cancelled while it waits ends at once, and the task goes on', async () => {
    await doors[door]!();
    const { task_id } = await call(client, 'spawn-task', { prompt: 'slow 1s', ...full });
    const abort = new AbortController();
    const progress: string[] = [];
    const waiting = call(
      client,
      'wait-task',
      { task_id, timeout_ms: 60_000 },
      {
        signal: abort.signal,
        onprogress: ({ message }) => {
          progress.push(message ?? '');
          abort.abort('enough');
        },
      },
    );
    await expect(waiting).rejects.toThrow(/enough/);
    expect(progress[0]).toContain(String(task_id));
    expect(await call(client, 'wait-task', { task_id })).toMatchObject({ status: 'completed' });
  });
});

it('a call that shows its progress repeats where it is while nothing happens', async () => {
  await throughHttp('socket', { heartbeatMs: 100 });
  const { task_id } = await call(client, 'spawn-task', { prompt: 'hang', ...full });
  const heard: string[] = [];
  const onprogress = ({ message }: { message?: string | undefined }): void => void heard.push(message ?? '');
  await call(client, 'wait-task', { task_id, timeout_ms: 1_500 }, { onprogress });
  expect(heard.length).toBeGreaterThan(2);
  expect(heard.at(-1)).toBe(heard.at(-2));
});

it('results, resources and progress have whole characters only, wherever they are cut, and a line of output is one', async () => {
  await throughHttp('socket');
  const bad: string[] = [];
  const check = (value: unknown): void => {
    const text = JSON.stringify(value);
    if (/\\u(?:d[89a-f]|fffd)|\ufffd/i.test(text)) bad.push(text.slice(0, 300));
  };
  const names: unknown[] = [];
  for (const start of ['', 'a']) {
    const prompt = `run: printf '${start}${'🎉'.repeat(300)}'\nsay 4 tests failed${'🎉'.repeat(300)}`;
    const labels = [`${start}]\n✓ other-1 completed`];
    const { task_id } = await call(client, 'spawn-task', { prompt, ...full, labels });
    names.push(task_id);
    const onprogress = (message: unknown): void => check(message);
    const done = await call(client, 'wait-task', { task_id }, { onprogress });
    check(done);
    expect((done.output as string[]).at(-1)).toMatch(/^4 tests failed/);
    check(await call(client, 'wait-task', {}));
    for (const path of ['', '/log', '/log.verbose', '/timeline', '/events/summary', '/diff']) {
      check(await client.readResource({ uri: `task:///${String(task_id)}${path}` }));
    }
  }
  check(await client.listResources());
  const { contents } = await client.readResource({ uri: 'task:///all' });
  check(contents);
  expect(bad).toEqual([]);
  const [all] = contents as { text: string }[];
  expect(all?.text.trim().split('\n')).toHaveLength(names.length);
});

describe('news', () => {
  it('ends a wait for any of several tasks with the first, and names each end once', async () => {
    await throughHttp('socket');
    const prompts = ['slow 60s', 'say quick'];
    const ids = (await Promise.all(prompts.map((prompt) => call(client, 'spawn-task', { prompt, ...full })))).map(
      (task) => task.task_id,
    );
    const first = await call(client, 'wait-task', { task_id: ids });
    expect(first.tasks).toMatchObject([
      { task_id: ids[1], status: 'completed', summary: 'quick' },
      { task_id: ids[0] },
    ]);
    const rest = await call(client, 'wait-task', { timeout_ms: 0 });
    expect((rest.tasks as Json[]).map((task) => task.task_id)).toEqual([ids[0]]);
  });

  it('waits for all, and returns early when one newly needs an answer', async () => {
    const worker = await throughHttp('socket');
    const specs = [{ prompt: 'run: true\nsay a', approval_policy: 'untrusted' }, { prompt: 'slow 8s' }];
    const ids = (await Promise.all(specs.map((spec) => call(client, 'spawn-task', { ...spec, ...full })))).map(
      (task) => task.task_id as string,
    );
    const early = await call(client, 'wait-task', { task_id: ids, until: 'all' });
    expect(early).toMatchObject({
      tasks: [
        { task_id: ids[0], status: 'input_required', pending_question: { command: 'true' } },
        { status: 'working' },
      ],
    });
    const waiting = call(client, 'wait-task', { task_id: ids, until: 'all' });
    await worker.tasks.respond(ids[0]!, undefined, accept, { by: 'person', caller: 'person' });
    expect((await waiting).tasks).toMatchObject([{ status: 'completed' }, { status: 'completed' }]);
  });

  it("is the person's answer to a request that the caller was told of", async () => {
    const worker = await throughHttp('socket');
    const { task_id } = await call(client, 'spawn-task', {
      prompt: 'run: true\nslow 60s',
      approval_policy: 'untrusted',
      ...full,
      wait_ms: 20_000,
    });
    const waiting = call(client, 'wait-task', { task_id, timeout_ms: 20_000 });
    await worker.tasks.respond(String(task_id), undefined, accept, { by: 'person', caller: 'person' });
    expect(await waiting).toMatchObject({
      answered_by: 'person',
      answered: [{ request_id: 'r1', type: 'command_approval', by: 'person', outcome: 'accepted' }],
      timed_out: false,
    });
    expect(
      await callRefused(client, 'respond-task', {
        task_id,
        type: 'command_approval',
        request_id: 'r1',
        decision: 'accept',
      }),
    ).toMatchObject({
      error: { code: 'already_answered', message: 'Request r1 was already answered by the person: accepted.' },
    });
  });
});

it('a task that depends on another starts when that is completed', async () => {
  await throughHttp('socket');
  const first = await call(client, 'spawn-task', { prompt: 'slow 1s\nsay first' });
  const args = { prompt: 'say second', depends_on: [first.task_id] };
  const second = await call(client, 'spawn-task', args);
  const list = await call(client, 'wait-task', { task_id: [second.task_id], timeout_ms: 0 });
  expect(list.tasks).toMatchObject([{ status: 'submitted', summary: `waits for ${String(first.task_id)}` }]);
  const both = await call(client, 'wait-task', { task_id: [first.task_id, second.task_id], until: 'all' });
  expect(both.tasks).toMatchObject([{ status: 'completed' }, { status: 'completed', summary: 'second' }]);
});

describe('results', () => {
  it('stay below 8 KiB, say what was cut, and the whole is at the URI that they name', async () => {
    await throughHttp('socket');
    const patch = `patch: big.txt ${'é"\\\\'.repeat(20_000)}`;
    const spawned = await call(client, 'spawn-task', {
      prompt: patch,
      ...full,
      approval_policy: 'untrusted',
      wait_ms: 20_000,
    });
    const asked = spawned.pending_question as { file_changes: { patch: string }[] };
    const [, uri] = /bytes cut, see (task:[^\]]+)\]$/.exec(asked.file_changes[0]!.patch) ?? [];
    const { contents } = await client.readResource({ uri: uri! });
    expect((contents[0] as { text: string }).text).toContain('é"\\\\'.repeat(20_000));
  });

  it('of 60 tasks fit, and say how many are missing', async () => {
    const worker = await throughHttp('socket');
    await Promise.all(
      Array.from({ length: 60 }, () => worker.tasks.spawn({ prompt: 'hang', labels: ['x'.repeat(50)] }, 'other')),
    );
    expect(await call(client, 'wait-task', { timeout_ms: 0 })).toMatchObject({ tasks: [], others: 60 });
    const list = await call(client, 'wait-task', { task_id: 'all', timeout_ms: 0 });
    expect((list.tasks as Json[]).length + Number(list.more_tasks ?? 0)).toBe(60);
  });
});

describe('a call that is sent again', () => {
  it('with an idempotency key gives the same task, and with other input is refused', async () => {
    await throughHttp('socket');
    const args = { prompt: 'say once', ...full, idempotency_key: 'k1' };
    const [first, second] = await Promise.all([call(client, 'spawn-task', args), call(client, 'spawn-task', args)]);
    expect(second.task_id).toBe(first.task_id);
    expect(await callRefused(client, 'spawn-task', { ...args, prompt: 'say twice' })).toMatchObject({
      error: { code: 'invalid_argument' },
    });
  });

  it('of the same request of a conversation makes two tasks, because both answers arrived', async () => {
    await throughHttp('socket');
    const params = {
      name: 'spawn-task',
      arguments: { prompt: 'say twin', ...full },
      _meta: { 'vscode.conversationId': 'c', 'vscode.requestId': 'r' },
    };
    const results = [await client.callTool(params), await client.callTool(params)];
    const ids = results.map((result) => (result.structuredContent as Json).task_id);
    expect(new Set(ids).size).toBe(2);
  });
});

describe('resources', () => {
  it('are listed, templated, readable in parts, and every part says where the next one is', async () => {
    await throughHttp('socket');
    const done = await call(client, 'spawn-task', { prompt: 'run: seq 1 2000\nsay counted', ...full, wait_ms: 20_000 });
    const id = String(done.task_id);
    const { resources } = await client.listResources();
    expect(resources.map(({ uri }) => uri)).toEqual(['task:///all', `task:///${id}`, `task:///${id}/log`]);
    const { resourceTemplates } = await client.listResourceTemplates();
    expect(resourceTemplates.map(({ uriTemplate }) => uriTemplate)).toContain(
      'task:///{id}/events/summary{?offset,limit}',
    );

    expect(await read('task:///all')).toMatch(new RegExp(`^✓ ${id} completed`));
    expect(await read(`task:///${id}`)).toContain('- Directory: ');
    expect(await read(`task:///${id}/log`)).toMatch(/\[\d\d:\d\d:\d\d\] cmd \$ seq 1 2000/);
    expect(await read(`task:///${id}/timeline`)).toMatch(/\d\d:\d\d:\d\d TURN completed/);
    const events = (await read(`task:///${id}/events`))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { method: string });
    expect(events.at(-1)?.method).toBe('turn/completed');
    expect(await read(`task:///${id}/events/summary`)).not.toContain('agentMessage/delta');

    const { whole, parts } = await readParts(`task:///${id}/log.verbose?limit=3000`);
    expect(parts).toBeGreaterThan(2);
    expect(whole).toBe(await readFile(`${rig.stateDir}/tasks/${id}/verbose.log`, 'utf8'));
  });

  it('a diff in parts is the diff, whatever characters are in it, and a part of nothing gets on', async () => {
    const worker = await throughHttp('socket');
    const prompt = `patch-raw: *** Begin Patch\\n*** Add File: wide.txt${'\\n+ünï€😀'.repeat(200)}\\n*** End Patch\nsay ok`;
    const done = await call(client, 'spawn-task', { prompt, ...full, wait_ms: 20_000 });
    const { diff } = worker.tasks.get(String(done.task_id));
    expect(diff).toContain('+ünï€😀');
    const { whole, parts } = await readParts(`task:///${String(done.task_id)}/diff?limit=200`);
    expect([whole, parts > 10]).toEqual([diff, true]);
    const tiny = `task:///${String(done.task_id)}/diff?limit=0`;
    expect(await read(tiny)).toMatch(/\nnext: task:.*\?offset=4&limit=0\n$/);
  });

  it('are pages of 50 tasks', async () => {
    const worker = await throughHttp('socket');
    await Promise.all(Array.from({ length: 51 }, () => worker.tasks.spawn({ prompt: 'hang' }, 'other')));
    const first = await client.listResources();
    expect(first.resources).toHaveLength(101);
    const second = await client.listResources({ cursor: first.nextCursor });
    expect(second.resources).toHaveLength(2);
    expect(second.nextCursor).toBeUndefined();
  });

  it('tell their subscribers of changes', async () => {
    const worker = await throughHttp('socket');
    const { id } = await worker.tasks.spawn({ prompt: 'slow 2s' }, 'other');
    const updates: string[] = [];
    const lists: number[] = [];
    client.fallbackNotificationHandler = ({ method, params }) => {
      if (method === 'notifications/resources/updated') updates.push(String(params?.uri));
      if (method === 'notifications/resources/list_changed') lists.push(Date.now());
      return Promise.resolve();
    };
    await client.subscribeResource({ uri: `task:///${id}/log` });
    await until('an update', () => updates.includes(`task:///${id}/log`));
    await worker.tasks.spawn({ prompt: 'hang' }, 'other');
    await until('a changed list', () => lists.length > 0);
    expect(updates.length).toBeLessThan(8);
  });

  it.each(['task:///all/log', 'task:///no-such-1', 'task:///../etc', 'task:///all?offset=x', 'file:///etc/passwd'])(
    '%s is not there',
    async (uri) => {
      await throughHttp('socket');
      await expect(client.readResource({ uri })).rejects.toThrow(/There is no resource/);
    },
  );

  /** Follows what the parts say, and puts them together. */
  async function readParts(first: string): Promise<{ whole: string; parts: number }> {
    let whole = '';
    let parts = 0;
    for (let uri: string | undefined = first; uri; parts++) {
      const text = await read(uri);
      const match: RegExpExecArray | null = /^next: (.+)\n$/m.exec(text);
      whole += match ? text.slice(0, match.index) : text;
      uri = match?.[1];
    }
    return { whole, parts };
  }

  async function read(uri: string): Promise<string> {
    const { contents } = await client.readResource({ uri });
    return (contents[0] as { text: string }).text;
  }
});

describe('the stdio program', () => {
  it.each(['its client closes stdin', 'it gets SIGTERM'])('leaves no process behind when %s', async (how) => {
    const { client: own, pid } = await connectStdio(rig);
    const marked = `sleep 4${process.pid}.${how.length}`;
    await call(own, 'spawn-task', { prompt: `run: (setsid ${marked} &); sleep 299`, ...full });
    await until('the command runs', () => processesWith(marked).length > 0);
    const servers = processesWith('app-server').length;
    expect(servers).toBeGreaterThan(0);
    if (how.includes('SIGTERM')) process.kill(pid, 'SIGTERM');
    else void own.close();
    await until('the program ended', () => !isAlive(pid));
    expect(processesWith(marked)).toEqual([]);
    await own.close();
  });
});
