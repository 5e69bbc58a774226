import { execa } from 'execa';
import { mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import {
  ResourceUpdatedNotificationSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { pipeInto } from '../../src/pipe/attachedPipe';
import { StdioClient } from '../../src/pipe/stdioClient';
import { windowsDir } from '../../src/pipe/windows';
import { bundled } from '../rig/bundled';
import { type CodexRig, startCodexRig, startWorker } from '../rig/codexRig';
import { call, callRefused, type Json } from '../rig/mcpRig';
import { isAlive, processesWith } from '../rig/processes';
import { until } from '../rig/until';
import { about, connectAttached, connectPipe, openWindow, type Piped, type PipeOptions, type TestWindow, windowId } from '../rig/window'; // prettier-ignore

/** A window of the editor, and the programs that work through it. */

let rig: CodexRig;
let worker: Awaited<ReturnType<typeof startWorker>>;
let window: TestWindow;
let piped: Piped[] = [];

beforeEach(async () => {
  rig = await startCodexRig();
  worker = await startWorker(rig, { keepMs: () => 60_000 });
  window = await openWindow(worker, rig);
  piped = [];
});
afterEach(async () => {
  await Promise.all(piped.map(({ client }) => client.close()));
  await window.close();
  await worker.shutDown();
  await rig.dispose();
});

async function pipe(options?: PipeOptions): Promise<Piped> {
  const one = await connectPipe(rig, options);
  piped.push(one);
  return one;
}
async function attach(options?: PipeOptions): Promise<Piped> {
  const one = await connectAttached(rig, options);
  piped.push(one);
  return one;
}

/** The window goes, and comes back with the same tasks. */
async function goAway(): Promise<void> {
  await window.close();
  await worker.suspend();
}
async function comeBack(): Promise<void> {
  worker = await startWorker(rig, { keepMs: () => 60_000 });
  void worker.restore();
  window = await openWindow(worker, rig);
}

const spawn = async ({ client }: Piped, prompt: string, more: Json = {}): Promise<string> =>
  String((await call(client, 'spawn-task', { prompt, ...more })).task_id);
const wait = ({ client }: Piped, task_id: string): Promise<Json> =>
  call(client, 'wait-task', { task_id, timeout_ms: 30_000 });

describe('the pipe of the definition', () => {
  it('is the window: its tasks are the ones that the window has', async () => {
    const one = await pipe();
    const { tools } = await one.client.listTools();
    expect(tools).toHaveLength(5);
    const id = await spawn(one, 'say from a harness');
    expect(await wait(one, id)).toMatchObject({ status: 'completed', final_message: 'from a harness' });
    expect(worker.tasks.get(id).spawnedBy).toBe('window');
    expect(window.door.attached).toEqual([]);
  });

  it('says which session of the harness it is of', async () => {
    const [first, second] = [
      await pipe({ env: { COPILOT_AGENT_SESSION_ID: 'session-1' } }),
      await pipe({ env: { COPILOT_AGENT_SESSION_ID: 'session-2' } }),
    ];
    const id = await spawn(first, 'say one');
    expect(worker.tasks.get(id).spawnedBy).toBe('window#session-1');
    expect(await call(second.client, 'wait-task', { timeout_ms: 0 })).toMatchObject({ tasks: [] });
    expect(await call(first.client, 'wait-task', { timeout_ms: 20_000 })).toMatchObject({ tasks: [{ task_id: id }] });
  });

  it('costs nothing and means nothing: what connects and goes leaves no task, no process and no file', async () => {
    const one = await pipe();
    const id = await spawn(one, 'hang');
    for (let round = 0; round < 3; round++) {
      const probe = await pipe();
      process.kill(probe.pid, round === 0 ? 'SIGKILL' : 'SIGTERM');
      await until('it is gone', () => !isAlive(probe.pid));
    }
    await one.client.close();
    await until('the pipe is gone', () => !isAlive(one.pid));
    expect(worker.tasks.get(id).status).toMatch(/submitted|working/);
    expect(await readdir(join(rig.dataDir, 'doors'))).toEqual([]);
    expect(processesWith('dist/attach.js')).toEqual([]);
  });

  it('outlives a reload of the window: what was in flight is told as that, and the next call works', async () => {
    const one = await pipe();
    const told: string[] = [];
    const lists: unknown[] = [];
    one.client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => void told.push(params.uri));
    one.client.setNotificationHandler(ToolListChangedNotificationSchema, () => void lists.push(0));
    const id = await spawn(one, 'run: echo once >> once.txt; sleep 3\nsay went on');
    await one.client.subscribeResource({ uri: `task:///${id}` });
    const waiting = callRefused(one.client, 'wait-task', { task_id: id, timeout_ms: 30_000 });
    await until('it works', () => worker.tasks.get(id).lastCommand !== null);
    await goAway();
    expect((await waiting).error).toMatchObject({ code: 'shutting_down', retryable: true });
    // It comes while the window is away, and is answered by the next one.
    const next = wait(one, id);
    told.length = 0;
    await comeBack();
    expect(await next).toMatchObject({ status: 'completed', final_message: 'went on', turn: 1 });
    await until('it is still told of what it subscribed to', () => told.length > 0);
    expect(isAlive(one.pid)).toBe(true);
    // The tools are the same, so nobody has to list them again.
    expect(lists).toEqual([]);
  });

  it('a spawn that was in flight is found again by its repetition', async () => {
    const one = await pipe();
    const args = { prompt: 'run: echo once >> once.txt; sleep 2\nsay done', wait_ms: 30_000 };
    const spawning = callRefused(one.client, 'spawn-task', args);
    await until('it is there', () => worker.tasks.snapshots().some(({ lastCommand }) => lastCommand !== null));
    const [{ id } = { id: '' }] = worker.tasks.snapshots();
    await goAway();
    expect((await spawning).error).toMatchObject({ code: 'shutting_down' });
    await comeBack();
    expect(await call(one.client, 'spawn-task', args)).toMatchObject({ task_id: id, final_message: 'done' });
    expect(worker.tasks.snapshots()).toHaveLength(1);
    // That one was answered: the next one is another task.
    expect(await spawn(one, args.prompt)).not.toBe(id);
  });

  it('waits for a window that starts later', async () => {
    await window.close();
    const connecting = pipe();
    await until('it has started', () => processesWith('dist/attach.js').length > 0);
    window = await openWindow(worker, rig);
    expect((await (await connecting).client.listTools()).tools).toHaveLength(5);
  });

  it('without a window in its environment says what it is', async () => {
    const env = { CODEX_WORKER_DATA: rig.dataDir };
    const { exitCode, stderr } = await execa(process.execPath, [bundled('attach')], { env, reject: false, input: '' });
    expect([exitCode, stderr]).toEqual([3, expect.stringContaining('mcp-codex-worker --attach')]);
  });

  it('asks the person through the client, and closes the form when the window goes', async () => {
    const asked: { message: string; aborted: boolean }[] = [];
    const one = await pipe({
      elicit: ({ message }, signal) =>
        new Promise((resolve) => {
          const form = { message, aborted: false };
          asked.push(form);
          signal.addEventListener('abort', () => {
            form.aborted = true;
            resolve({ action: 'cancel' });
          });
        }),
    });
    const other = await startWorker({ ...rig, stateDir: join(rig.dir, 'other') }, { settings: { elicitation: () => true, approvalPolicy: () => 'untrusted' } }); // prettier-ignore
    await window.close();
    window = await openWindow(other, rig);
    const waiting = callRefused(one.client, 'spawn-task', { prompt: 'run: touch asked.txt', wait_ms: 30_000 });
    await until('the person is asked', () => asked.length === 1);
    await window.close();
    await waiting;
    await until('nobody is asked any more', () => asked[0]?.aborted === true);
    await other.shutDown();
    window = await openWindow(worker, rig);
  });
});

describe('mcp-codex-worker --attach', () => {
  it('works through the window of its directory, a sub-directory, and a link to it', async () => {
    await mkdir(join(rig.workspace, 'packages'));
    await symlink(join(rig.workspace, 'packages'), join(rig.dir, 'link'));
    for (const cwd of [rig.workspace, join(rig.workspace, 'packages'), join(rig.dir, 'link')]) {
      const one = await attach({ cwd, name: 'claude-code' });
      const id = await spawn(one, 'say attached');
      expect(await wait(one, id)).toMatchObject({ status: 'completed' });
      expect(worker.tasks.get(id)).toMatchObject({ spawnedBy: 'attached claude-code', cwd: rig.workspace });
    }
    expect(window.door.attached).toEqual(['attached claude-code']);
    expect(await readdir(rig.dataDir)).toEqual(['doors', 'windows']);
  });

  it('takes nothing along when it goes, whatever the way, and two of them, a harness and the person see one list', async () => {
    const [first, second, harness] = [await attach({ name: 'one' }), await attach({ name: 'two' }), await pipe()];
    const ids = [await spawn(first, 'hang'), await spawn(second, 'hang'), await spawn(harness, 'hang')];
    const mine = await worker.tasks.spawn({ prompt: 'hang' }, 'person');
    for (const { client } of [first, second, harness]) {
      const { tasks } = (await call(client, 'wait-task', { task_id: 'all', timeout_ms: 0 })) as { tasks: Json[] };
      expect(tasks.map(({ task_id }) => task_id).sort()).toEqual([...ids, mine.id].sort());
    }
    process.kill(first.pid, 'SIGKILL');
    await second.client.close();
    await harness.client.close();
    await until('they are gone', () => window.door.attached.length === 0);
    expect(worker.tasks.snapshots().filter(({ status }) => status === 'working' || status === 'submitted')).toHaveLength(4); // prettier-ignore
    // The same program, started anew, has what it began.
    const again = await attach({ name: 'one' });
    expect(await call(again.client, 'wait-task', { timeout_ms: 0 })).toMatchObject({ tasks: [{ task_id: ids[0] }] });
    expect(await call(again.client, 'cancel-task', { task_id: ids })).toMatchObject({ cancelled: ids });
  });

  it('is in the audit trail once, and the person is told who works through the window', async () => {
    let changes = 0;
    window.door.onDidChangeAttached(() => changes++);
    for (let round = 0; round < 3; round++) await (await attach({ name: 'cursor' })).client.close();
    await until('they are gone', () => changes === 6);
    const lines = worker.policies.audit.recent.filter(({ decision }) => decision === 'attached');
    expect(lines).toMatchObject([{ caller: 'attached cursor', tool: '' }]);
  });

  it('obeys the window: its roots, its trust, its policy', async () => {
    const one = await attach();
    expect(await callRefused(one.client, 'spawn-task', { prompt: 'x', cwd: '/' })).toMatchObject({
      error: { code: 'invalid_argument' },
    });
    const strict = await startWorker({ ...rig, stateDir: join(rig.dir, 'strict') }, { settings: { trusted: () => false } }); // prettier-ignore
    await window.close();
    window = await openWindow(strict, rig, { worker: about(false) });
    expect(await callRefused(one.client, 'spawn-task', { prompt: 'x' })).toMatchObject({
      error: { code: 'workspace_not_trusted' },
    });
    await window.close();
    await strict.shutDown();
    window = await openWindow(worker, rig);
  });

  async function run(cwd: string, ...args: readonly string[]) {
    const env = { CODEX_WORKER_DATA: rig.dataDir, HOME: rig.dir };
    const { exitCode, stderr, stdout } = await execa(process.execPath, [bundled('stdio'), ...args], { cwd, env, reject: false, input: '' }); // prettier-ignore
    return { exitCode, stderr, stdout };
  }

  it('without a window says what it looked for, starts nothing, and ends with exit code 3', async () => {
    await openWindow(worker, rig, { id: 'b'.repeat(16), folders: [], worker: about(false) });
    await writeFile(join(windowsDir(rig.dataDir), `${'c'.repeat(16)}.json`), '{"version":9}', { mode: 0o600 });
    await writeFile(join(windowsDir(rig.dataDir), `${'d'.repeat(16)}.json`), '{}', { mode: 0o644 });
    const { exitCode, stderr, stdout } = await run(rig.dir, '--attach');
    expect([exitCode, stdout]).toEqual([3, '']);
    expect(stderr).toContain(`No window of the editor has "${rig.dir}" open.`);
    expect(stderr).toContain(`${windowId}  ${rig.workspace}`);
    expect(stderr).toContain(`${'b'.repeat(16)}  no folder (not trusted: no task may run there)`);
    expect(stderr).toContain(`${'c'.repeat(16)}  is of another version of Codex Worker: update both`);
    expect(stderr).toContain(`${'d'.repeat(16)}  was not read: its file is of another user, or others can read it`);
    expect(await readdir(rig.dataDir)).toEqual(['doors', 'windows']);
  });

  it('takes no setting of a worker of its own, which would not hold in the window', async () => {
    for (const option of [['--policy', 'strict.yaml'], ['--root', '.'], ['--elicitation']]) {
      const { exitCode, stderr, stdout } = await run(rig.workspace, '--attach', ...option);
      expect([exitCode, stdout]).toEqual([1, '']);
      expect(stderr).toContain(`${option[0]} is for a worker of its own`);
    }
  });

  it('takes the window that is named by its folder or its id', async () => {
    for (const named of [rig.workspace, windowId]) {
      const one = await attach({ cwd: rig.dir, args: ['--window', named] });
      expect((await one.client.listTools()).tools).toHaveLength(5);
    }
    const missing = await run(rig.workspace, '--window', 'e'.repeat(16));
    expect([missing.exitCode, missing.stderr]).toEqual([3, expect.stringContaining(`the id ${'e'.repeat(16)}`)]);
    expect((await run(rig.workspace, '--window', rig.dir)).exitCode).toBe(3);
  });

  it('does not read the file of a window that others can read, and is not fooled by one of the dead', async () => {
    await window.close();
    const dead = await openWindow(worker, rig, { started: 1 });
    expect((await run(rig.workspace, '--attach')).exitCode).toBe(3);
    expect(await readdir(windowsDir(rig.dataDir))).toEqual([]);
    await dead.close();
    window = await openWindow(worker, rig);
  });

  it('--attach-or-serve serves tasks of its own when there is no window', async () => {
    const serving = { args: ['--attach-or-serve', '--state-dir', join(rig.dir, 'own'), '--codex-path', rig.codexPath, '--root', rig.dir], env: { ...rig.env, PATH: process.env.PATH ?? '' } }; // prettier-ignore
    const attached = await attach({ ...serving, cwd: rig.workspace, name: 'x' });
    const id = await spawn(attached, 'say through the window');
    expect(worker.tasks.get(id).spawnedBy).toBe('attached x');
    const own = await attach({ ...serving, cwd: rig.dir, name: 'x' });
    const ownId = await spawn(own, 'say alone');
    expect(worker.tasks.tryGet(ownId)).toBeUndefined();
    expect(await wait(own, ownId)).toMatchObject({ status: 'completed', final_message: 'alone' });
  });
});

/** The same pipe in this process, which waits for the window only for a moment. */
function pipeHere(waitMs = 300) {
  const [input, output] = [new PassThrough(), new PassThrough()];
  const client = new StdioClient(input, output, { repeats: () => false });
  const over = pipeInto({ dataDir: rig.dataDir, window: windowId, client, waitMs, hello: { entrance: 'definition' }, stopped: new Promise(() => undefined), log: () => undefined });
  const answers = createInterface({ input: output })[Symbol.asyncIterator]();
  const ask = async (method: string, params: Json = {}): Promise<Json> => {
    input.write(`${JSON.stringify({ jsonrpc: '2.0', id: method, method, params })}\n`);
    return JSON.parse(String((await answers.next()).value)) as Json;
  };
  return { ask, end: () => { input.end(); return over; } };
} // prettier-ignore

describe('a window that is not there', () => {
  const opening = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'here', version: '1' } };
  const away = { code: 'not_available', retryable: true };

  it('is waited for by each call, which is then refused; the pipe stays, and the window may come back', async () => {
    const { ask, end } = pipeHere();
    expect(await ask('initialize', opening)).toMatchObject({ result: { serverInfo: { name: 'codex-worker' } } });
    await goAway();
    expect(await ask('tools/call', { name: 'wait-task' })).toMatchObject({ result: { isError: true, structuredContent: { error: away } } }); // prettier-ignore
    expect(await ask('tools/list')).toMatchObject({ error: { code: -32_000, message: expect.stringMatching(/window .* is not there/) as string } }); // prettier-ignore
    await comeBack();
    expect(await ask('tools/call', { name: 'wait-task', arguments: { timeout_ms: 0 } })).toMatchObject({ result: { structuredContent: { tasks: [] } } }); // prettier-ignore
    await end();
  });

  it.each([
    ['a wrong token', { token: 'wrong' }, /its own token/],
    ['an address where nobody is', { address: '/tmp/nobody.sock' }, /is not there/],
    ['a window of another version', { version: 2 as 1 }, /update both/],
  ])('%s is told to the caller, and nothing is started', async (_name, changes, hint) => {
    await window.close();
    const bad = await openWindow(worker, rig, changes);
    const { ask, end } = pipeHere();
    expect(await ask('initialize', opening)).toMatchObject({ error: { code: -32_000, message: expect.stringMatching(hint) as string } }); // prettier-ignore
    await bad.close();
    await rm(join(windowsDir(rig.dataDir), `${windowId}.json`), { force: true });
    window = await openWindow(worker, rig);
    // The session was opened with the worker that came.
    expect(await ask('tools/list')).toMatchObject({ result: { tools: expect.any(Array) as unknown } });
    await end();
  });
});

it.each([['--attach'], ['--attach-or-serve']])(
  'a program that Codex itself started owns no store and comes into no window: with %s it refuses, and leaves nothing',
  async (flag) => {
    await rm(join(rig.dir, 'state'), { recursive: true, force: true });
    const env = { ...rig.env, CODEX_WORKER_SERVER: '1', PATH: process.env.PATH ?? '' };
    const before = await readdir(rig.dir, { recursive: true });
    const nested = await connectAttached(rig, { args: [flag], cwd: rig.workspace, env });
    piped.push(nested);
    expect((await nested.client.listTools()).tools).toHaveLength(5);
    expect((await callRefused(nested.client, 'spawn-task', { prompt: 'x' })).error).toMatchObject({ code: 'not_available', retryable: false }); // prettier-ignore
    expect(await readdir(rig.dir, { recursive: true })).toEqual(before);
  },
);
