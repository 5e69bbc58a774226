import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { stat } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { dirname } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Worker } from '../../src/worker';
import { type CodexRig, startCodexRig, startWorker } from '../rig/codexRig';
import { call, connectHttp, fetchFor, startTestHost, type TestHost } from '../rig/mcpRig';
import { until } from '../rig/until';

let rig: CodexRig;
let worker: Worker;
let host: TestHost | undefined;

beforeAll(async () => {
  rig = await startCodexRig();
  worker = await startWorker(rig);
});
afterAll(async () => {
  await worker.shutDown();
  await rig.dispose();
});
afterEach(async () => {
  await host?.close();
  host = undefined;
});

const initialize = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'raw', version: '1' } },
};
const accept = { accept: 'application/json, text/event-stream', 'content-type': 'application/json' };

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly headers: Record<string, string | string[] | undefined>;
}

/** A raw request, which may carry a Host header of its own. */
function post(
  uri: string,
  body: string,
  headers: Record<string, string>,
  method = 'POST',
  path?: string,
): Promise<Answer> {
  const socketPath = /^unix:\/\/([^#]+)#/.exec(uri)?.[1];
  const url = new URL(fetchFor(uri).url);
  const where = socketPath === undefined ? { host: url.hostname, port: url.port } : { socketPath };
  return new Promise((resolve, reject) => {
    const sent = httpRequest(
      { ...where, path: path ?? url.pathname, method, headers: { ...accept, ...headers } },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text, headers: response.headers }));
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });
}

function authorized(more: Record<string, string> = {}): Record<string, string> {
  return { authorization: `Bearer ${host?.token ?? ''}`, ...more };
}

describe.each(['socket', 'tcp'] as const)('the host over %s', (transport) => {
  it.each([
    ['no token', {}],
    ['a wrong token', { authorization: 'Bearer wrong' }],
    ['another scheme', { authorization: 'Basic abc' }],
  ])('answers 401 to %s', async (_name, headers) => {
    host = await startTestHost(worker, transport);
    const answer = await post(host.uri, JSON.stringify(initialize), headers);
    expect(answer).toMatchObject({ status: 401, headers: { 'www-authenticate': 'Bearer' } });
    expect(answer.text).toContain('bearer token');
  });

  it('answers 403 to a foreign Origin', async () => {
    host = await startTestHost(worker, transport);
    const answer = await post(host.uri, JSON.stringify(initialize), authorized({ origin: 'https://evil.example' }));
    expect(answer.status).toBe(403);
  });

  it('answers 413 to a body that is too large, told or untold', async () => {
    host = await startTestHost(worker, transport);
    const large = JSON.stringify({ ...initialize, padding: 'x'.repeat(9 * 1024 * 1024) });
    expect((await post(host.uri, large, authorized())).status).toBe(413);
    const chunked = authorized({ 'transfer-encoding': 'chunked' });
    expect(
      (
        await post(host.uri, large, chunked).catch((error: unknown) => ({
          status: (error as NodeJS.ErrnoException).code,
        }))
      ).status,
    ).toSatisfy((status) => status === 413 || status === 'EPIPE' || status === 'ECONNRESET');
  });

  it('answers garbage with a parse error, a strange first request with 400, an unknown session with 404', async () => {
    host = await startTestHost(worker, transport);
    const garbage = await post(host.uri, '{"jsonrpc": ', authorized());
    expect([garbage.status, JSON.parse(garbage.text)]).toMatchObject([400, { error: { code: -32700 } }]);
    const strange = await post(host.uri, '{"jsonrpc":"2.0","id":1,"method":"tools/list"}', authorized());
    expect([strange.status, strange.text]).toMatchObject([400, expect.stringContaining('initialize')]);
    const unknown = await post(host.uri, JSON.stringify(initialize), authorized({ 'mcp-session-id': 'no-such' }));
    expect([unknown.status, JSON.parse(unknown.text)]).toMatchObject([404, { error: { code: -32001 } }]);
    expect((await post(host.uri, '', authorized(), 'POST', '/other')).status).toBe(404);
    expect((await post(host.uri, '', authorized(), 'PUT')).status).toBeGreaterThanOrEqual(400);
  });

  it('refuses arguments that are nested deeper than any stack', async () => {
    host = await startTestHost(worker, transport);
    const answer = await post(host.uri, JSON.stringify(initialize), authorized());
    const session = authorized({ 'mcp-session-id': String(answer.headers['mcp-session-id']) });
    const deep = `${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`;
    const body = `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"wait-task","arguments":${deep}}}`;
    const { status, text } = await post(host.uri, body, session);
    expect([status, text]).toEqual([200, expect.stringContaining('nested deeper than 200 levels')]);
  });

  it('keeps no session of an initialize that was refused', async () => {
    host = await startTestHost(worker, transport);
    const refused = await post(host.uri, JSON.stringify(initialize), authorized({ accept: 'text/plain' }));
    expect(refused.status).toBe(406);
    await until('it is gone', () => host?.sessions === 0);
  });

  it('serves two sessions at once, which see the same tasks', async () => {
    host = await startTestHost(worker, transport);
    const [one, two] = await Promise.all([connectHttp(host), connectHttp(host)]);
    expect(host.sessions).toBe(2);
    const { task_id } = await call(one, 'spawn-task', { prompt: 'say shared' });
    expect(await call(two, 'wait-task', { task_id })).toMatchObject({ status: 'completed', final_message: 'shared' });
    // Behind the socket both are the window, so the end was told; over TCP each session is told by itself.
    const again = await call(one, 'wait-task', { timeout_ms: 0 });
    expect(again.tasks).toHaveLength(transport === 'socket' ? 0 : 1);
    worker.tasks.remove(String(task_id));
    await Promise.all([one.close(), two.close()]);
  });

  it('ends a session that is idle, and the client can start another', async () => {
    host = await startTestHost(worker, transport, { idleLimitMs: 500 });
    const answer = await post(host.uri, JSON.stringify(initialize), authorized());
    const session = String(answer.headers['mcp-session-id']);
    await until('the session ended', () => host?.sessions === 0);
    const late = await post(
      host.uri,
      '{"jsonrpc":"2.0","id":2,"method":"ping"}',
      authorized({ 'mcp-session-id': session }),
    );
    expect(late.status).toBe(404);
    const again = await connectHttp(host);
    await again.close();
  });

  it('keeps a session while its stream is open', async () => {
    host = await startTestHost(worker, transport, { idleLimitMs: 500 });
    const client = await connectHttp(host);
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(host.sessions).toBe(1);
    await client.close();
  });
});

it('over TCP answers 403 to a foreign Host, which is what DNS rebinding sends', async () => {
  host = await startTestHost(worker, 'tcp');
  expect((await post(host.uri, JSON.stringify(initialize), authorized({ host: 'evil.example' }))).status).toBe(403);
});

it('keeps the socket in a directory that only the user can enter', async () => {
  host = await startTestHost(worker, 'socket');
  const path = /^unix:\/\/([^#]+)#/.exec(host.uri)?.[1] ?? '';
  expect(Buffer.byteLength(path)).toBeLessThan(100);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect((await stat(dirname(path))).mode & 0o777).toBe(0o700);
  await host.close();
  host = undefined;
  await expect(stat(dirname(path))).rejects.toThrow('ENOENT');
});

it('a spawn whose answer was lost gives the same task when it is sent again', async () => {
  host = await startTestHost(worker, 'socket');
  const opened = await post(host.uri, JSON.stringify(initialize), authorized());
  const session = authorized({ 'mcp-session-id': String(opened.headers['mcp-session-id']) });
  const spawn = {
    jsonrpc: '2.0',
    id: 2,
    method: 'tools/call',
    params: {
      name: 'spawn-task',
      arguments: { prompt: 'slow 2s' },
      _meta: { 'vscode.conversationId': 'c1', 'vscode.requestId': 'r1' },
    },
  };
  const before = worker.tasks.snapshots().length;
  const socketPath = /^unix:\/\/([^#]+)#/.exec(host.uri)?.[1] ?? '';
  const lost = httpRequest({ socketPath, path: '/mcp', method: 'POST', headers: { ...accept, ...session } });
  lost.on('error', () => undefined);
  lost.end(
    JSON.stringify({
      ...spawn,
      params: { ...spawn.params, arguments: { ...spawn.params.arguments, wait_ms: 60_000 } },
    }),
  );
  await until('the task is there', () => worker.tasks.snapshots().length === before + 1);
  lost.destroy();
  const again = {
    ...spawn,
    id: 3,
    params: { ...spawn.params, arguments: { ...spawn.params.arguments, wait_ms: 60_000 } },
  };
  const answer = await post(host.uri, JSON.stringify(again), session);
  expect(worker.tasks.snapshots()).toHaveLength(before + 1);
  expect(answer.text).toContain(worker.tasks.snapshots().at(-1)!.id);
  for (const task of worker.tasks.snapshots()) worker.tasks.remove(task.id);
});

it('keeps a long silent wait alive', async () => {
  host = await startTestHost(worker, 'socket', { keepAliveMs: 50 });
  const opened = await post(host.uri, JSON.stringify(initialize), authorized());
  const session = authorized({ 'mcp-session-id': String(opened.headers['mcp-session-id']) });
  const { id } = await worker.tasks.spawn({ prompt: 'hang' }, 'other');
  const params = { name: 'wait-task', arguments: { task_id: id, timeout_ms: 400 } };
  const answer = await post(host.uri, JSON.stringify({ jsonrpc: '2.0', id: 2, method: 'tools/call', params }), session);
  expect(answer.text.match(/^: keepalive$/gm)?.length).toBeGreaterThan(2);
  expect(answer.text).toContain('"timed_out":true');
  await worker.tasks.cancel([id]);
  worker.tasks.remove(id);
});

it('tells an agent the loop when it connects', async () => {
  host = await startTestHost(worker, 'socket');
  const client = await connectHttp(host);
  expect(client.getServerVersion()).toMatchObject({ name: 'codex-worker', title: 'Codex Worker' });
  expect(client.getInstructions()).toMatch(/spawn-task .* wait-task .* respond-task/s);
  const { tools } = await client.listTools();
  expect(Object.fromEntries(tools.map(({ name, annotations }) => [name, annotations]))).toEqual({
    'spawn-task': { readOnlyHint: false, destructiveHint: true, idempotentHint: false, openWorldHint: false },
    'wait-task': { readOnlyHint: true },
    'respond-task': { readOnlyHint: false, destructiveHint: true, openWorldHint: false },
    'message-task': { readOnlyHint: false, destructiveHint: true, openWorldHint: false },
    'cancel-task': { readOnlyHint: false, destructiveHint: true, idempotentHint: true, openWorldHint: false },
  });
  expect(client).toBeInstanceOf(Client);
  await client.close();
});
