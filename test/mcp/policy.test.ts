import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import {
  ResourceUpdatedNotificationSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { execa } from 'execa';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ApprovalChoice } from '../../src/core/toolGate';
import type { Worker } from '../../src/worker';
import { bundled } from '../rig/bundled';
import { type CodexRig, startCodexRig, startWorker } from '../rig/codexRig';
import { call, callRefused, connectHttp, connectStdio, fetchFor, startTestHost, type TestHost } from '../rig/mcpRig';
import { until } from '../rig/until';

let rig: CodexRig;
let policy: string;

beforeAll(async () => {
  rig = await startCodexRig();
  policy = join(rig.dir, 'own.yaml');
});
afterAll(() => rig.dispose());

const denyCancel = 'tools:\n  cancel-task:\n    rules:\n      - {action: deny, reason: "Blocked by default"}\n';

describe('in a window', () => {
  let worker: Worker;
  let host: TestHost;
  let client: Client;

  async function start(text: string): Promise<void> {
    await writeFile(policy, text);
    worker = await startWorker(rig, { policyPath: policy });
    host = await startTestHost(worker, 'socket');
    client = await connectHttp(host);
  }

  afterEach(async () => {
    await client.close();
    await host.close();
    await worker.shutDown();
  });

  const names = async (): Promise<string[]> => (await client.listTools()).tools.map(({ name }) => name);

  async function decide(choice: ApprovalChoice): Promise<void> {
    const { approvals } = worker.policies.gate;
    const { id } = await until('it waits for a person', () => approvals.open[0]);
    approvals.answer(id, choice);
  }

  it('a denied call is refused with its reason', async () => {
    await start(denyCancel);
    const { error, text } = await callRefused(client, 'cancel-task', { task_id: 'bold-falcon-42' });
    expect(error).toMatchObject({ code: 'policy_denied', message: 'Blocked by default', retryable: false });
    expect(text).toMatch(/^\[POLICY DENIED\] Blocked by default\./);
  });

  it('a limit says when to try again, and a call that failed does not count', async () => {
    await start('tools: {wait-task: {rules: [{rate_limit: 1/hour}]}}');
    await callRefused(client, 'wait-task', { timeout_ms: 'soon' });
    expect(await call(client, 'wait-task', { timeout_ms: 0 })).toMatchObject({ tasks: [] });
    const { error } = await callRefused(client, 'wait-task', { timeout_ms: 0 });
    expect(error).toMatchObject({
      code: 'policy_denied',
      retryable: true,
      retry_after_ms: expect.any(Number) as number,
    });
  });

  it('a hidden tool is neither listed nor called, and a change is told', async () => {
    await start('');
    expect(await names()).toContain('cancel-task');
    const told = new Promise<void>((resolve) =>
      client.setNotificationHandler(ToolListChangedNotificationSchema, () => resolve()),
    );
    await writeFile(policy, 'hide: [cancel-task]');
    await told;
    expect(await names()).not.toContain('cancel-task');
    const { error } = await callRefused(client, 'cancel-task', { task_id: 'bold-falcon-42' });
    expect(error).toMatchObject({ code: 'policy_denied' });
  });

  it('who may not wait for tasks sees none of their resources', async () => {
    await start('');
    await call(client, 'spawn-task', { prompt: 'say hi', wait_ms: 20_000 });
    expect((await client.listResources()).resources).not.toEqual([]);
    await writeFile(policy, 'tools: {wait-task: {rules: [{action: deny}]}}');
    await until('it is in force', async () => (await client.listResources()).resources.length === 0);
    expect((await client.listResourceTemplates()).resourceTemplates).toEqual([]);
    await expect(client.readResource({ uri: 'task:///all' })).rejects.toThrow('The policy shows no tasks');
    await expect(client.subscribeResource({ uri: 'task:///all' })).rejects.toThrow('The policy shows no tasks');
  });

  it('a wait that is denied is done by no other tool, and a hidden task is told of to no subscriber', async () => {
    await start(
      'tools: {wait-task: {rules: [{action: deny, conditions: [{path: task.labels, op: contains, value: secret}]}]}}',
    );
    const updated: string[] = [];
    client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => void updated.push(params.uri));
    const secret = await call(client, 'spawn-task', { prompt: 'say it', labels: ['secret'], wait_ms: 20_000 });
    expect(secret).not.toHaveProperty('final_message');
    expect(secret).toMatchObject({ status: 'submitted', next: expect.any(String) as string });
    const id = secret.task_id as string;
    await client.subscribeResource({ uri: `task:///${id}` });
    const told = await call(client, 'message-task', { task_id: id, message: 'say more', wait_ms: 20_000 });
    expect(told).toEqual(expect.not.objectContaining({ output: expect.anything() as unknown }));
    const open = await call(client, 'spawn-task', { prompt: 'say it', wait_ms: 20_000 });
    expect(open).toMatchObject({ status: 'completed', final_message: 'it' });
    await client.subscribeResource({ uri: `task:///${open.task_id as string}` });
    await call(client, 'message-task', { task_id: open.task_id, message: 'say more', wait_ms: 20_000 });
    await until('the open one is told of', () => updated.length > 0);
    expect(new Set(updated)).toEqual(new Set([`task:///${open.task_id as string}`]));
  });

  it('a field that stands for none is refused', async () => {
    await start('');
    const args = JSON.parse('{"prompt":"say x","__proto__":{"sandbox":"danger-full-access"}}') as Record<
      string,
      unknown
    >;
    expect(await callRefused(client, 'spawn-task', args)).toMatchObject({ error: { code: 'invalid_argument' } });
    expect(worker.tasks.snapshots()).toEqual([]);
  });

  it('a call waits for the person, and is denied, allowed once, or for the session', async () => {
    await start('tools: {cancel-task: {rules: [{action: require_approval, reason: "Sure?"}]}}');
    const { task_id } = await call(client, 'spawn-task', { prompt: 'hang' });
    const cancel = () => client.callTool({ name: 'cancel-task', arguments: { task_id } });
    for (const [choice, result] of [
      ['deny', { isError: true, structuredContent: { error: { code: 'policy_denied' } } }],
      ['once', { structuredContent: { cancelled: [task_id] } }],
      ['session', { structuredContent: { already_terminal: [task_id] } }],
    ] as const) {
      const called = cancel();
      await decide(choice);
      expect(await called).toMatchObject(result);
    }
    expect(await cancel()).toMatchObject({ structuredContent: { already_terminal: [task_id] } });
  });

  it('a cancelled call withdraws its question', async () => {
    await start('tools: {cancel-task: {rules: [{action: require_approval}]}}');
    const gone = new AbortController();
    const called = client.callTool({ name: 'cancel-task', arguments: { task_id: 'bold-falcon-42' } }, undefined, {
      signal: gone.signal,
    });
    const { approvals } = worker.policies.gate;
    await until('it waits for a person', () => approvals.open.length === 1);
    gone.abort();
    await expect(called).rejects.toThrow();
    await until('it is withdrawn', () => approvals.open.length === 0);
  });

  it('a batch is judged call by call, and a call without arguments that are an object is on record', async () => {
    await start(denyCancel);
    const { url, fetch } = fetchFor(host.uri);
    const { sessionId } = client.transport as unknown as { sessionId: string };
    const headers = {
      authorization: `Bearer ${host.token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-session-id': sessionId,
      'mcp-protocol-version': '2025-03-26',
    };
    const request = (id: number, args: string): string =>
      `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"cancel-task","arguments":${args}}}`;
    const same = '{"task_id":"mild-otter-7","task_id":"bold-falcon-42"}';
    const body = `[${request(901, '{"task_id":"bold-falcon-42"}')},${request(902, same)},${request(903, '[1]')}]`;
    const answer = await (await fetch(url, { method: 'POST', headers, body })).text();
    expect(answer.match(/POLICY DENIED/g)).toHaveLength(2);
    expect(answer).toContain('-32602');
    await worker.policies.audit.flush();
    const latest = worker.policies.audit.recent.slice(-3);
    expect(latest.map(({ decision }) => decision).sort()).toEqual(['denied', 'denied', 'malformed']);
  });
});

describe('over stdio', () => {
  const args = (...more: readonly string[]): readonly string[] => ['--policy', policy, ...more];
  let clients: Client[] = [];

  beforeEach(() => {
    clients = [];
  });
  afterEach(() => Promise.all(clients.map((client) => client.close())));

  async function connect(...more: Parameters<typeof connectStdio>): Promise<Client> {
    const { client } = await connectStdio(...more);
    clients.push(client);
    return client;
  }

  const asking = 'tools: {wait-task: {rules: [{action: require_approval, reason: "Sure?", name: careful}]}}';

  it('the person behind the client is asked, and nobody else can be', async () => {
    await writeFile(policy, asking);
    const asked: string[] = [];
    const elicit = ({ message }: { message: string }) => {
      asked.push(message);
      return Promise.resolve({ action: 'accept' as const, content: { answer: 'Allow once' } });
    };
    const client = await connect(rig, args(), elicit);
    expect(await call(client, 'wait-task', { timeout_ms: 0 })).toMatchObject({ tasks: [] });
    expect(asked).toEqual(['Sure? Rule "careful" wants your approval for wait-task with {"timeout_ms":0}.']);
    await client.close();
    const mute = await connect(rig, args());
    const { error } = await callRefused(mute, 'wait-task', { timeout_ms: 0 });
    expect(error).toMatchObject({ code: 'approval_required', retryable: false });
  });

  async function program(...words: readonly string[]): Promise<{ code: number; out: string }> {
    const { exitCode = -1, all } = await execa(process.execPath, [bundled('stdio'), ...words], {
      all: true,
      reject: false,
    });
    return { code: exitCode, out: all };
  }

  it('the program validates, tests and makes policies', async () => {
    await writeFile(policy, 'tools:\n  cancel-task:\n    rules:\n      - {rate_limt: 5/hour}\n');
    expect(await program('policy', 'validate', policy)).toMatchObject({
      code: 1,
      out: expect.stringContaining(`${policy}:4:10: tools.cancel-task.rules[0].rate_limt: unknown field`) as string,
    });
    const { out: scaffold } = await program('policy', 'scaffold');
    await writeFile(policy, scaffold);
    expect(await program('policy', 'validate', policy)).toMatchObject({ code: 0 });
    const test = (tool: string, json: string) => program('policy', 'test', policy, '--tool', tool, '--args', json);
    expect(await test('spawn-task', '{"sandbox":"danger-full-access"}')).toEqual({
      code: 1,
      out: 'deny, by rule "no full access": Full access is for people.',
    });
    expect(await test('wait-task', '{}')).toEqual({ code: 0, out: 'allow, by no rule' });
    expect(await test('wait-task', '[]')).toMatchObject({ code: 1, out: '--args [] is no JSON object.' });
    expect(await program('policy', 'test', policy)).toMatchObject({ code: 1 });
    await writeFile(
      policy,
      `tools:
  codex/command:
    rules:
      - {action: deny, conditions: [{path: args.programs, op: contains, value: rm}]}
      - {action: allow, conditions: [{path: args.programs, op: in, value: [ls, npm]}]}
  spawn-task: {rules: [{action: deny, reason: Not here., conditions: [{path: args.sandbox, op: eq, value: workspace-write}]}]}
  wait-task: {rules: [{action: deny, reason: No waiting.}]}
`,
    );
    const warned = await program('policy', 'validate', policy);
    expect(warned).toMatchObject({
      code: 0,
      out: expect.stringContaining('4 rules, no mistakes, 2 warnings') as string,
    });
    expect(warned.out).toContain(`${policy}:5:`);
    expect(warned.out).toContain('warning: npm can run other programs');
    const command = async (text: string): Promise<string> =>
      (await test('codex/command', JSON.stringify({ command: text }))).out;
    expect(await command('npm test | ls')).toBe('allow, by rule "codex/command[1]"');
    expect(await command('cat x')).toBe('ask as usual, by no rule');
    expect(await command('sudo rm x')).toMatch(/^deny, by rule "codex\/command\[0\]"/);
    expect(await command('ls $X')).toMatch(/^ask a person, by rule "codex\/command\[0\]": It could not be understood/);
    expect(await test('codex/command', '{}')).toMatchObject({
      code: 1,
      out: expect.stringContaining('needs --args') as string,
    });
    // What is judged is what will run: with defaults, and the wait beside the call.
    expect(await test('spawn-task', '{"prompt": "x"}')).toEqual({
      code: 1,
      out: expect.stringContaining('Not here.') as string,
    });
    expect(await test('spawn-task', '{"prompt": "x", "task_type": "planner", "wait_ms": 5}')).toEqual({
      code: 0,
      out: 'allow, by no rule\nits wait, as a call of wait-task: deny, by rule "wait-task[0]": No waiting.',
    });
    expect(await program('policy', 'forget')).toMatchObject({
      code: 1,
      out: expect.stringMatching(/^Unknown command/) as string,
    });
    expect(await program('--policy', join(rig.dir, 'missing.yaml'))).toMatchObject({
      code: 1,
      out: expect.stringContaining('missing.yaml cannot be read') as string,
    });
  });

  it('the program shows the audit trail, and what was changed in it', async () => {
    await writeFile(policy, denyCancel);
    const client = await connect(rig, args());
    await callRefused(client, 'cancel-task', { task_id: 'bold-falcon-42' });
    await call(client, 'wait-task', { timeout_ms: 0 });
    await client.close();
    const at = ['--state-dir', rig.stateDir];
    await until('it ended', async () =>
      (await program('audit', 'show', ...at)).out.includes('allowed wait-task by test 1.0.0'),
    );
    const { out } = await program('audit', 'show', ...at);
    expect(out).toMatch(/denied cancel-task bold-falcon-42 by test 1\.0\.0 \(cancel-task\[0\]\)/);
    expect(await program('audit', 'verify', ...at)).toMatchObject({ code: 0 });
    const file = join(rig.stateDir, 'audit.jsonl');
    await writeFile(file, (await readFile(file, 'utf8')).replace('"denied"', '"allowed"'));
    expect(await program('audit', 'verify', ...at)).toMatchObject({
      code: 1,
      out: expect.stringContaining('does not follow from the one before it') as string,
    });
  });
});
