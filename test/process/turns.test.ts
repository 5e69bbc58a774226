import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { SpawnRequest } from '../../src/core/spawnRequest';
import type { TaskSnapshot } from '../../src/core/taskSnapshot';
import { type CodexRig, startCodexRig, startWorker } from '../rig/codexRig';
import { isAlive, processesWith } from '../rig/processes';
import { until } from '../rig/until';

let rig: CodexRig;
let worker: Awaited<ReturnType<typeof startWorker>>;

beforeAll(async () => {
  rig = await startCodexRig();
});
afterAll(() => rig.dispose());
afterEach(async () => {
  await worker.shutDown();
});

const caller = 'test';

async function finish(id: string, timeoutMs = 30_000): Promise<TaskSnapshot> {
  const { tasks, timedOut } = await worker.tasks.wait({ caller, about: [id], until: 'all', timeoutMs });
  expect(timedOut, worker.lines.join('\n')).toBe(false);
  return tasks[0]!;
}

async function run(request: SpawnRequest): Promise<TaskSnapshot> {
  const { id } = await worker.tasks.spawn(request, caller);
  return finish(id);
}

describe('a task on the real Codex', () => {
  it('answers, and tells its model, usage and thread', async () => {
    worker = await startWorker(rig);
    const task = await run({ prompt: 'say hello there', labels: ['greeting'] });
    expect(task).toMatchObject({
      status: 'completed',
      finalMessage: 'hello there',
      model: 'gpt-5.5',
      labels: ['greeting'],
      turns: 1,
      error: null,
      leftovers: [],
    });
    expect(task.threadId).toMatch(/^[0-9a-f-]{36}$/);
    expect(task.usage?.totalTokens).toBeGreaterThan(0);
  });

  it('keeps its journals in the final layout', async () => {
    worker = await startWorker(rig);
    const { id } = await run({ prompt: 'run: echo kept\nsay done' });
    const paths = worker.tasks.paths(id);
    await worker.shutDown();
    expect(JSON.parse(await readFile(paths.meta, 'utf8'))).toMatchObject({ version: 1, id, status: 'completed' });
    const events = (await readFile(paths.events_log, 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { t: number; method: string });
    expect(events.every((event) => event.t > 0)).toBe(true);
    expect(events.map((event) => event.method)).toContain('turn/completed');
    expect(await readFile(paths.verbose_log, 'utf8')).toMatch(/\$ echo kept\nkept\n\[exit 0 · .*\]\ndone\n/);
    expect(await readFile(paths.timeline_log, 'utf8')).toMatch(/\d\d:\d\d:\d\d CMD echo kept\n/);
  });

  it('runs a command and shows its output and exit code', async () => {
    worker = await startWorker(rig);
    const task = await run({ prompt: 'run: echo out; exit 3\nsay finished' });
    expect(task).toMatchObject({ status: 'completed', lastCommand: 'echo out; exit 3' });
    expect(task.items.find((item) => item.kind === 'command')).toMatchObject({ exitCode: 3, outcome: 'failed' });
    expect(task.outputTail).toContain('out\n');
  });

  it('applies a patch and tells the changed file and the diff', async () => {
    worker = await startWorker(rig);
    const task = await run({ prompt: 'patch: made.txt some words\nsay patched' });
    expect(await readFile(join(rig.workspace, 'made.txt'), 'utf8')).toBe('some words\n');
    expect(task.changedFiles).toEqual([{ path: join(rig.workspace, 'made.txt'), kind: 'add', added: 1, removed: 0 }]);
    expect(task.diff).toContain('+some words');
  });

  it('shows a plan', async () => {
    worker = await startWorker(rig);
    const task = await run({ prompt: 'plan look|write|test\nsay planned' });
    expect(task.plan).toEqual([
      { step: 'look', status: 'in_progress' },
      { step: 'write', status: 'pending' },
      { step: 'test', status: 'pending' },
    ]);
  });

  it('goes on with the same thread in a follow-up, also after it was cancelled', async () => {
    worker = await startWorker(rig);
    const first = await run({ prompt: 'say one' });
    await worker.tasks.message(first.id, { text: 'slow 30s', mode: 'auto' }, caller);
    expect(await worker.tasks.cancel([first.id])).toMatchObject({ cancelled: [first.id] });
    expect(await worker.tasks.message(first.id, { text: 'say three', mode: 'auto' }, caller)).toMatchObject({
      delivered: 'new_turn',
    });
    const last = await finish(first.id);
    expect(last).toMatchObject({ status: 'completed', finalMessage: 'three', threadId: first.threadId });
  });

  it('keeps the marker of its commands after the thread was resumed', async () => {
    worker = await startWorker(rig);
    const first = await run({ prompt: 'run: echo $CODEX_WORKER_TASK\nsay one' });
    await worker.tasks.message(first.id, { text: 'run: echo again-$CODEX_WORKER_TASK\nsay two', mode: 'auto' }, caller);
    const last = await finish(first.id);
    expect(last.outputTail).toContain(`again-${first.id}`);
  });

  it('steers an active turn and queues a message behind it', async () => {
    worker = await startWorker(rig);
    const { id } = await worker.tasks.spawn({ prompt: 'slow 2s' }, caller);
    await untilStatus(id, (task) => task.activity === 'answering');
    expect(await worker.tasks.message(id, { text: 'say queued', mode: 'queue' }, caller)).toMatchObject({
      delivered: 'queued',
    });
    expect(await worker.tasks.message(id, { text: 'say steered', mode: 'auto' }, caller)).toMatchObject({
      delivered: 'steered',
    });
    const task = await finish(id);
    const said = task.items.flatMap((item) => (item.kind === 'message' ? [item.text] : []));
    expect(said.slice(-2)).toEqual(['steered', 'queued']);
    expect(task.turns).toBe(2);
  });

  it('takes a prompt of a million characters', async () => {
    worker = await startWorker(rig);
    const task = await run({ prompt: `say big\n${'x'.repeat(999_990)}` });
    expect(task).toMatchObject({ status: 'completed', finalMessage: 'big' });
  });

  it('runs 20 tasks side by side', async () => {
    worker = await startWorker(rig);
    const spawned = await Promise.all(
      Array.from({ length: 20 }, (_, index) => worker.tasks.spawn({ prompt: `slow 1s\nsay ${index}` }, caller)),
    );
    const { tasks } = await worker.tasks.wait({
      caller,
      about: spawned.map(({ id }) => id),
      until: 'all',
      timeoutMs: 50_000,
    });
    expect(tasks.map((task) => task.status)).toEqual(Array<string>(20).fill('completed'));
  });

  it.each([250, 0])('counts a turn that Codex starts by itself as work (threads linger %i ms)', async (lingerMs) => {
    worker = await startWorker(rig, { threadConfig: { 'features.goals': true }, lingerMs });
    const before = rig.model.requests.length;
    const { id } = await worker.tasks.spawn(
      { prompt: 'tool: create_goal {"objective":"go on"}' + '\nslow 1s'.repeat(3) },
      caller,
    );
    // The first turn makes two requests; the third is of a turn that nobody asked for.
    await until('a turn of its own', () => rig.model.requests.length >= before + 3);
    await untilStatus(id, (task) => task.status === 'working' && !task.stopping);
    expect(await worker.tasks.cancel([id])).toMatchObject({ cancelled: [id] });
    const asked = rig.model.requests.length;
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(worker.tasks.get(id)).toMatchObject({ status: 'cancelled' });
    expect(rig.model.requests.length).toBe(asked);
  });

  it('offers the model no goals and no sub-agents', async () => {
    worker = await startWorker(rig);
    await run({ prompt: 'say hi' });
    const tools = rig.model.requests.at(-1)?.tools.map((tool) => tool.name ?? tool.type);
    expect(tools).toContain('exec_command');
    expect(tools).not.toContain('create_goal');
    // Codex offers sub-agents through a search for tools: one that is off cannot be called either.
    await run({ prompt: 'tool: multi_agent_v1/spawn_agent {"message":"run: echo child"}\nsay after' });
    expect(JSON.stringify(rig.model.requests.at(-1)?.input)).toMatch(/unsupported call|not found|unknown/i);
  });

  it('gives a planner plan mode and a sandbox that only reads', async () => {
    worker = await startWorker(rig);
    const task = await run({ prompt: 'say the plan', taskType: 'planner' });
    expect(task).toMatchObject({ status: 'completed', sandbox: 'read-only', finalMessage: 'the plan' });
    expect(JSON.stringify(rig.model.requests.at(-1)?.input)).toMatch(/Plan Mode/i);
  });

  it('puts context files in front of the prompt, and its instructions before both', async () => {
    worker = await startWorker(rig);
    const path = join(rig.workspace, 'context.txt');
    await writeFile(path, 'the context');
    await run({
      prompt: 'say hi',
      contextFiles: [{ path, description: 'notes' }],
      developerInstructions: 'Speak like a pirate.',
    });
    const input = JSON.stringify(rig.model.requests.at(-1)?.input);
    expect(input).toContain('the context');
    expect(input.indexOf('Speak like a pirate.')).toBeLessThan(input.indexOf('the context'));
    expect(input.indexOf('the context')).toBeLessThan(input.indexOf('say hi'));
  });

  it('gives the final message the shape of output_schema', async () => {
    worker = await startWorker(rig);
    const schema = {
      type: 'object',
      properties: { n: { type: 'number' } },
      required: ['n'],
      additionalProperties: false,
    };
    await run({ prompt: 'say {"n":1}', outputSchema: schema });
    expect(JSON.stringify(rig.model.requests.at(-1))).toContain('"additionalProperties":false');
  });
});

it('goes on with a thread at any moment of its unloading', async () => {
  worker = await startWorker(rig, { lingerMs: 0 });
  // Codex unloads a thread 1 s after nobody listens to it any more, and takes some ms for it.
  const goOn = async (_: unknown, index: number): Promise<TaskSnapshot> => {
    const { id } = await run({ prompt: 'say first' });
    await new Promise((resolve) => setTimeout(resolve, 950 + index * 5));
    await worker.tasks.message(id, { text: 'say more', mode: 'auto' }, caller);
    return finish(id);
  };
  const ends = await Promise.all(Array.from({ length: 40 }, goOn));
  expect(ends.map(({ finalMessage, error }) => error?.message ?? finalMessage)).toEqual(Array(40).fill('more'));
});

it("waits for a user's MCP server before the first turn", async () => {
  const program = join(import.meta.dirname, '../fakes/mcpServer.mjs');
  const args = JSON.stringify(['-c', `sleep 3; exec "${process.execPath}" "${program}"`]);
  const own = await startCodexRig({ more: `\n[mcp_servers.fake]\ncommand = "sh"\nargs = ${args}\n` });
  try {
    worker = await startWorker(own);
    const { id } = await worker.tasks.spawn({ prompt: 'tool: mcp__fake/look {}\nsay done' }, caller);
    await finish(id);
    expect(JSON.stringify(own.model.requests.at(-1)?.input)).toContain('looked');
    await worker.shutDown();
  } finally {
    await own.dispose();
  }
});

it("ends a user's MCP servers with the task, and starts them again for a follow-up", async () => {
  const marked = `--mark=${process.pid}`;
  const args = JSON.stringify([join(import.meta.dirname, '../fakes/mcpServer.mjs'), marked]);
  const own = await startCodexRig({
    more: `\n[mcp_servers.fake]\ncommand = ${JSON.stringify(process.execPath)}\nargs = ${args}\n`,
  });
  try {
    worker = await startWorker(own);
    const { id } = await worker.tasks.spawn({ prompt: 'slow 1s' }, caller);
    await until('the server runs', () => processesWith(marked).length === 1);
    await finish(id);
    await until('the server ended', () => processesWith(marked).length === 0);
    await worker.tasks.message(id, { text: 'slow 1s', mode: 'auto' }, caller);
    await until('the server runs again', () => processesWith(marked).length === 1);
    expect(await finish(id)).toMatchObject({ status: 'completed', turns: 2 });
    await until('the server ended again', () => processesWith(marked).length === 0);
  } finally {
    await worker.shutDown();
    await own.dispose();
  }
});

describe('trouble', () => {
  it.each([
    ['fail 500', 'model_error', true],
    ['fail 429', 'rate_limited', true],
    ['fail 429 code=usage_limit_reached', 'usage_limit', true],
    ['failed context_length_exceeded', 'context_window', false],
    ['incomplete', 'model_error', true],
  ])('%s fails the task as %s', async (prompt, code, retryable) => {
    worker = await startWorker(rig);
    const task = await run({ prompt });
    expect(task).toMatchObject({ status: 'failed', error: { code, retryable } });
    expect(task.error?.hint).not.toBe('');
  });

  it('a used-up plan lets a task wait until the reset that Codex tells, or until somebody lets it go on', async () => {
    worker = await startWorker(rig, { settings: { usageLimit: () => 'wait' } });
    const before = Date.now();
    const { id } = await worker.tasks.spawn({ prompt: 'fail 429 code=usage_limit_reached' }, caller);
    await untilStatus(id, (task) => task.pending.length > 0);
    const [{ question }] = worker.tasks.get(id).pending as unknown as [
      { question: { goesOnAt: number; message: string } },
    ];
    // The scripted model says that the plan is reset in an hour, in whole seconds.
    expect(Math.abs(question.goesOnAt - before - 3_600_000)).toBeLessThan(30_000);
    expect(question.message).toMatch(/^The usage limit of the plan is reached. The task goes on by itself /);
    await worker.tasks.respond(id, 'r1', { kind: 'decision', decision: 'accept' }, { by: 'agent', caller });
    expect(await finish(id)).toMatchObject({ status: 'completed', turns: 2 });
  });

  it('an unreachable model fails the task as model_unreachable', async () => {
    const lonely = await startCodexRig({ modelUrl: 'http://127.0.0.1:9/v1' });
    try {
      worker = await startWorker(lonely);
      const task = await run({ prompt: 'say hi' });
      expect(task).toMatchObject({ status: 'failed', error: { code: 'model_unreachable' } });
    } finally {
      await worker.shutDown();
      await lonely.dispose();
    }
  });

  it('a hung model ends with timeout_ms', async () => {
    worker = await startWorker(rig);
    const task = await run({ prompt: 'hang', timeoutMs: 1_000 });
    expect(task).toMatchObject({ status: 'failed', error: { code: 'timeout' } });
  });

  it('a killed app-server fails its tasks, and the next task works', async () => {
    worker = await startWorker(rig);
    const spawned = await Promise.all(
      ['slow 30s', 'run: sleep 301', 'hang'].map((prompt) => worker.tasks.spawn({ prompt }, caller)),
    );
    const ids = spawned.map(({ id }) => id);
    await Promise.all(ids.map((id) => untilStatus(id, (task) => task.turns === 1)));
    await untilStatus(ids[1]!, (task) => task.lastCommand !== null);
    const before = worker.serverPid!;
    process.kill(before, 'SIGKILL');
    const { tasks } = await worker.tasks.wait({ caller, about: ids, until: 'all', timeoutMs: 10_000 });
    expect(tasks.map((task) => task.error?.code)).toEqual(['codex_crashed', 'codex_crashed', 'codex_crashed']);
    expect(await run({ prompt: 'say alive' })).toMatchObject({ status: 'completed', finalMessage: 'alive' });
    await worker.tasks.message(ids[0]!, { text: 'say resumed', mode: 'auto' }, caller);
    expect(await finish(ids[0]!)).toMatchObject({ status: 'completed', finalMessage: 'resumed' });
    expect(isAlive(before)).toBe(false);
  });
});

function untilStatus(id: string, holds: (task: TaskSnapshot) => boolean): Promise<void> {
  return new Promise((resolve) => {
    const subscription = worker.tasks.feed.onDidUpdate((tasks) => {
      if (!tasks.some((task) => task.id === id && holds(task))) return;
      subscription.dispose();
      resolve();
    });
    if (holds(worker.tasks.get(id))) {
      subscription.dispose();
      resolve();
    }
  });
}
