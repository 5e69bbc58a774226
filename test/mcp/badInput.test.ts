import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Worker } from '../../src/worker';
import { type CodexRig, startCodexRig, startWorker } from '../rig/codexRig';
import { call, callRefused, connectHttp, type Json, startTestHost, type TestHost } from '../rig/mcpRig';

let rig: CodexRig;
let worker: Worker;
let host: TestHost;
let client: Client;
let trusted = true;

beforeAll(async () => {
  rig = await startCodexRig();
  worker = await startWorker(rig, {
    settings: {
      trusted: () => trusted,
      allowFullAccess: () => false,
      sandbox: () => 'workspace-write',
      agentMayApprove: () => 'ask',
    },
  });
  host = await startTestHost(worker, 'socket');
  client = await connectHttp(host);
  await mkdir(join(rig.dir, 'outside'));
  await symlink(join(rig.dir, 'outside'), join(rig.workspace, 'link-out'));
  await writeFile(join(rig.workspace, 'file.txt'), 'a file');
  await writeFile(join(rig.workspace, 'large.txt'), 'x'.repeat(201 * 1024));
  await writeFile(join(rig.workspace, 'binary.bin'), Buffer.from([0xff, 0xfe, 0x00]));
});
afterAll(async () => {
  await client.close();
  await host.close();
  await worker.shutDown();
  await rig.dispose();
});

interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

async function refused(name: string, args: Json): Promise<Refusal & { text: string }> {
  const { error, text } = await callRefused(client, name, args);
  return { ...(error as unknown as Refusal), text };
}

const prompt = 'say hi';

describe('spawn-task refuses', () => {
  const cases: readonly [string, (dir: string) => Json, string, RegExp][] = [
    ['no prompt', () => ({}), 'invalid_argument', /^prompt: /],
    ['an empty prompt', () => ({ prompt: '' }), 'invalid_argument', /^prompt: must have at least 1 characters/],
    ['a blank prompt', () => ({ prompt: ' \n' }), 'invalid_argument', /^prompt: must not be blank/],
    [
      'a prompt over the limit',
      () => ({ prompt: 'x'.repeat(1_000_001) }),
      'invalid_argument',
      /^prompt: must have at most 1000000 characters/,
    ],
    ['an unknown field', () => ({ prompt, promt: 'x' }), 'invalid_argument', /unknown field "promt"/],
    [
      'a wrong value',
      () => ({ prompt, sandbox: 'none' }),
      'invalid_argument',
      /^sandbox: must be one of read-only, workspace-write, danger-full-access/,
    ],
    ['a wrong type', () => ({ prompt, timeout_ms: 'soon' }), 'invalid_argument', /^timeout_ms: expected number/],
    [
      'too short a time',
      () => ({ prompt, timeout_ms: 10 }),
      'invalid_argument',
      /^timeout_ms: must have at least 1000/,
    ],
    [
      'too many labels',
      () => ({ prompt, labels: Array(11).fill('a') }),
      'invalid_argument',
      /^labels: must have at most 10 items/,
    ],
    ['a relative cwd', () => ({ prompt, cwd: 'src' }), 'invalid_argument', /^cwd: "src" is not an absolute path/],
    ['a missing cwd', (dir) => ({ prompt, cwd: `${dir}/nope` }), 'invalid_argument', /^cwd: .* does not exist/],
    ['a file as cwd', (dir) => ({ prompt, cwd: `${dir}/file.txt` }), 'invalid_argument', /^cwd: .* is not a directory/],
    ['a cwd outside', () => ({ prompt, cwd: '/' }), 'invalid_argument', /^cwd: .* is outside/],
    [
      'a cwd with .. out of the roots',
      (dir) => ({ prompt, cwd: `${dir}/../outside` }),
      'invalid_argument',
      /^cwd: .* is outside/,
    ],
    [
      'a symlink out of the roots',
      (dir) => ({ prompt, cwd: `${dir}/link-out` }),
      'invalid_argument',
      /^cwd: .* is outside/,
    ],
    ['an unknown model', () => ({ prompt, model: 'gpt-0' }), 'invalid_argument', /^model: "gpt-0" is not known/],
    [
      'an unknown effort',
      () => ({ prompt, model: 'gpt-6.1-sol', reasoning: 'minimal' }),
      'invalid_argument',
      /^reasoning: "minimal" is not supported by gpt-6.1-sol/,
    ],
    [
      'an unknown effort in the older form',
      () => ({ prompt, model: 'gpt-6.1-sol(minimal)' }),
      'invalid_argument',
      /^reasoning: "minimal"/,
    ],
    ['an effort of no model', () => ({ prompt, reasoning: 'banana' }), 'invalid_argument', /any model of this Codex/],
    [
      'a missing context file',
      (dir) => ({ prompt, context_files: [{ path: `${dir}/nope` }] }),
      'invalid_argument',
      /^context_files\[0\]\.path: .* is not a file/,
    ],
    [
      'a context file outside',
      () => ({ prompt, context_files: [{ path: '/etc/passwd' }] }),
      'invalid_argument',
      /^context_files\[0\]\.path: .* is outside/,
    ],
    [
      'a large context file',
      (dir) => ({ prompt, context_files: [{ path: `${dir}/large.txt` }] }),
      'invalid_argument',
      /larger than 200 KB/,
    ],
    [
      'a binary context file',
      (dir) => ({ prompt, context_files: [{ path: `${dir}/binary.bin` }] }),
      'invalid_argument',
      /is not UTF-8 text/,
    ],
    ['full access', () => ({ prompt, sandbox: 'danger-full-access' }), 'full_access_not_allowed', /switched off/],
    ['a worktree', () => ({ prompt, isolation: 'worktree' }), 'not_available', /not available yet/],
    [
      'an unknown dependency',
      () => ({ prompt, depends_on: ['bold-falcon-42'] }),
      'invalid_argument',
      /there is no task "bold/,
    ],
  ];
  it.each(cases)('%s', async (_name, args, code, message) => {
    const refusal = await refused('spawn-task', args(rig.workspace));
    expect(refusal).toMatchObject({ code, message: expect.stringMatching(message) as string });
    expect(refusal.hint).not.toBe('');
    expect(refusal.text).toBe(
      `[${code.replaceAll('_', ' ').toUpperCase()}] ${refusal.message.replace(/([^.])$/, '$1.')} ${refusal.hint}`,
    );
    expect(worker.tasks.snapshots()).toEqual([]);
    expect(rig.model.requests).toEqual([]);
  });

  it('most of that before Codex is started at all', async () => {
    const idle = await startWorker(rig, { settings: { allowFullAccess: () => false } });
    const ownHost = await startTestHost(idle, 'socket');
    const own = await connectHttp(ownHost);
    for (const [name, args] of cases) {
      if (/unknown (model|effort)|effort of no/.test(name)) continue;
      await callRefused(own, 'spawn-task', args(rig.workspace));
    }
    expect(idle.serverPid).toBeUndefined();
    await own.close();
    await ownHost.close();
    await idle.shutDown();
  });

  it('everything in a workspace that is not trusted', async () => {
    trusted = false;
    expect(await refused('spawn-task', { prompt })).toMatchObject({ code: 'workspace_not_trusted' });
    trusted = true;
  });
});

describe('the other tools refuse', () => {
  it.each([
    ['wait-task', { task_id: 'bold-falcon-42' }, 'not_found'],
    ['wait-task', { task_id: '../../etc' }, 'not_found'],
    ['wait-task', { task_id: [] }, 'invalid_argument'],
    ['wait-task', { task_id: 7 }, 'invalid_argument'],
    ['wait-task', { timeout_ms: 300_001 }, 'invalid_argument'],
    ['wait-task', { until: 'some' }, 'invalid_argument'],
    ['message-task', { task_id: 'bold-falcon-42', message: 'x' }, 'not_found'],
    ['message-task', { task_id: '../x', message: 'x' }, 'not_found'],
    ['message-task', { task_id: 'bold-falcon-42', message: '' }, 'invalid_argument'],
    ['message-task', { task_id: 'bold-falcon-42' }, 'invalid_argument'],
    ['respond-task', { task_id: 'bold-falcon-42', type: 'command_approval', decision: 'accept' }, 'not_found'],
    ['respond-task', { task_id: '..', type: 'command_approval', decision: 'accept' }, 'not_found'],
    ['respond-task', { task_id: 'bold-falcon-42', type: 'yes' }, 'invalid_argument'],
    ['cancel-task', {}, 'invalid_argument'],
    ['cancel-task', { task_id: Array<string>(51).fill('a-b-1') }, 'invalid_argument'],
    ['wait-task', { task_id: `${'['.repeat(50_000)}${']'.repeat(50_000)}` }, 'invalid_argument'],
  ])('%s %j: %s', async (name, args, code) => {
    expect(await refused(name, args)).toMatchObject({ code, hint: expect.stringMatching(/./) as string });
  });

  it('a steer without a turn, a steer with a model, an answer that does not fit', async () => {
    const { task_id } = await call(client, 'spawn-task', { prompt: 'say over', wait_ms: 20_000 });
    expect(await refused('message-task', { task_id, message: 'x', mode: 'steer' })).toMatchObject({
      code: 'not_active',
    });
    expect(await refused('message-task', { task_id, message: 'x', mode: 'steer', model: 'gpt-6.1-sol' })).toMatchObject(
      { code: 'invalid_argument' },
    );
    expect(await refused('respond-task', { task_id, type: 'command_approval', decision: 'accept' })).toMatchObject({
      code: 'no_pending_request',
    });
  });

  it('an answer of another type, and an accept that is for the person; the request stays open', async () => {
    const spawned = await call(client, 'spawn-task', {
      prompt: 'run: true',
      approval_policy: 'untrusted',
      wait_ms: 20_000,
    });
    const { task_id } = spawned;
    expect(await refused('respond-task', { task_id, type: 'file_approval', decision: 'accept' })).toMatchObject({
      code: 'invalid_argument',
      message: expect.stringContaining('is of type command_approval') as string,
    });
    expect(
      await refused('respond-task', { task_id, type: 'command_approval', request_id: 'r9', decision: 'reject' }),
    ).toMatchObject({
      code: 'no_pending_request',
      hint: 'Pending: r1 (command_approval: give "decision": accept, accept_for_session, reject, cancel.)',
    });
    expect(await refused('respond-task', { task_id, type: 'command_approval', decision: 'accept' })).toMatchObject({
      code: 'approval_required',
    });
    expect(await call(client, 'wait-task', { task_id, timeout_ms: 0 })).toMatchObject({ status: 'input_required' });
    expect(
      await call(client, 'respond-task', { task_id, type: 'command_approval', decision: 'cancel', wait_ms: 20_000 }),
    ).toMatchObject({ status: 'cancelled' });
  });

  it('arguments that are no object, and a tool that is not there, with −32602', async () => {
    const raw = (params: Json) =>
      client.request({ method: 'tools/call', params }, { parse: (value: unknown) => value } as never);
    await expect(raw({ name: 'wait-task', arguments: [1] })).rejects.toMatchObject({ code: -32602 });
    await expect(raw({ arguments: {} })).rejects.toMatchObject({ code: -32602 });
    await expect(raw({ name: 'Wait-Task', arguments: {} })).rejects.toMatchObject({ code: -32602 });
  });
});
