import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { examine } from '../../src/doctor';
import { type CodexRig, startCodexRig, startWorker } from '../rig/codexRig';
import { call, callRefused, connectHttp, startTestHost, type TestHost } from '../rig/mcpRig';

/** A task whose files are damaged, through every door that an agent has. */

let rig: CodexRig;
let worker: Awaited<ReturnType<typeof startWorker>>;
let host: TestHost;
let client: Client;

beforeEach(async () => {
  rig = await startCodexRig();
  await begin();
});
afterEach(async () => {
  await end();
  await rig.dispose();
});

async function begin(): Promise<void> {
  worker = await startWorker(rig);
  await worker.restore();
  host = await startTestHost(worker, 'socket');
  client = await connectHttp(host);
}

async function end(): Promise<void> {
  await client.close();
  await host.close();
  await worker.shutDown();
}

it('is told as damaged and kept, and hurts no other', async () => {
  const ids = [];
  for (const word of ['one', 'two']) {
    ids.push(String((await call(client, 'spawn-task', { prompt: `say ${word}`, wait_ms: 30_000 })).task_id));
  }
  const [bad = '', good = ''] = ids;
  const dir = join(rig.stateDir, 'tasks', bad);
  await end();
  const meta = JSON.parse(await readFile(join(dir, 'meta.json'), 'utf8')) as object;
  await writeFile(join(dir, 'meta.json'), JSON.stringify({ ...meta, items: [null] }));
  await begin();

  for (const [tool, more] of [
    ['wait-task', {}],
    ['message-task', { message: 'go on' }],
    ['respond-task', { type: 'command_approval', decision: 'accept' }],
  ] as const) {
    const { error } = await callRefused(client, tool, { task_id: bad, ...more });
    expect(error).toMatchObject({ code: 'store_unavailable', retryable: false });
    expect(String(error.hint)).toContain(dir);
  }
  expect((await callRefused(client, 'wait-task', { task_id: [good, bad] })).error.code).toBe('store_unavailable');
  const dependent = { prompt: 'say x', depends_on: [bad] };
  expect((await callRefused(client, 'spawn-task', dependent)).error.code).toBe('invalid_argument');
  expect(await call(client, 'cancel-task', { task_id: [good, bad, 'no-such-1'] })).toEqual({
    cancelled: [],
    already_terminal: [good, bad],
    not_found: ['no-such-1'],
  });
  expect(await call(client, 'wait-task', { task_id: good })).toMatchObject({
    status: 'completed',
    final_message: 'two',
  });
  for (const about of [{}, { task_id: 'all' }]) {
    expect(await call(client, 'wait-task', { ...about, timeout_ms: 0 })).toMatchObject({ tasks: [] });
  }
  const read = async (uri: string): Promise<string> => {
    const { contents } = await client.readResource({ uri });
    return (contents[0] as { text: string }).text;
  };
  expect(await read('task:///all')).toMatch(new RegExp(`✓ ${good} completed[^]*! ${bad} damaged .*${dir}\n`));
  expect(await read(`task:///${bad}`)).toMatch(/damaged[^]*items/);
  await expect(read(`task:///${bad}/log`)).rejects.toMatchObject({ code: -32002 });

  const more = { extensionDir: null, endpoint: 'none', policy: 'none', repair: true } as const;
  const findings = await examine({ ...more, stateDir: rig.stateDir, ownsStore: true, codexPath: rig.codexPath });
  const store = findings.find(({ part }) => part === 'Store');
  expect(store).toMatchObject({ state: 'warning', text: expect.stringContaining('1 cannot be read') as string });
  expect(store?.advice).toContain(dir);
  expect((await stat(join(dir, 'meta.json'))).isFile()).toBe(true);

  worker.tasks.remove(bad);
  expect((await callRefused(client, 'wait-task', { task_id: bad })).error.code).toBe('not_found');
});
