import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { execa } from 'execa';
import { once } from 'node:events';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { startCodexRig, startWorker } from '../rig/codexRig';
import { call, connectHttp, connectStdio, startTestHost } from '../rig/mcpRig';
import { connectPipe, openWindow } from '../rig/window';
import { isAlive, processesWith } from '../rig/processes';
import { until } from '../rig/until';
import { BareScript } from './bareScript';
import { median, memoryOf, report, time } from './measure';

/** `npm run bench`: ours, through MCP, beside a bare script on `codex app-server`, in turns A B A B in one run. */

const full = { sandbox: 'danger-full-access', approval_policy: 'never' };
const rounds = Number(process.env.BENCH_ROUNDS ?? 10);

const mega = 1024 * 1024;
let marks = 0;
/** Milliseconds until the answer of each cancel. */
const answers: number[] = [];

const model = execa('tsx', [join(import.meta.dirname, 'model.ts')], {
  preferLocal: true,
  stdin: 'pipe',
  buffer: false,
});
const [url] = (await once(model.stdout, 'data')) as [Buffer];
const rig = await startCodexRig({ modelUrl: String(url).trim() });
const { client, pid } = await connectStdio(rig, ['--max-concurrent-tasks', '100']);
const script = new BareScript(rig);
await script.start();
const spawn = (prompt: string): Promise<Record<string, unknown>> => call(client, 'spawn-task', { prompt, ...full });
const finish = async (prompt: string): Promise<void> => {
  await call(client, 'spawn-task', { prompt, ...full, wait_ms: 120_000 });
};

process.stdout.write(`${' '.repeat(52)} ${'ours'.padStart(12)} ${'script'.padStart(12)}\n`);
await finish('say warm');
await script.run('say warm');

await alternate(
  'a hello task from spawn-task to its result',
  rounds,
  () => time(() => finish('say hello')),
  () => time(() => script.run('say hello')),
);

await sideBySide(client);
await alternate('a cancel until the process table is clean', rounds, cancelOurs, cancelScript);
process.stdout.write(
  `${'its answer, after looking that nothing is alive'.padEnd(52)} ${median(answers).toFixed(1).padStart(9)} ms\n`,
);
await client.close();
await script.stop();
await pipes();
await judging();
await gate();
await deltas();
await comingBack();
await rig.dispose();
model.stdin.end();
await model;
process.exit();

async function alternate(
  name: string,
  times: number,
  ours: () => Promise<number>,
  bare: () => Promise<number>,
): Promise<void> {
  const [a, b]: [number[], number[]] = [[], []];
  for (let round = 0; round < times; round++) {
    a.push(await ours());
    b.push(await bare());
  }
  report(name, 'ms', a, b);
}

async function sideBySide(own: Client): Promise<void> {
  const twenty = Array.from({ length: 20 }, () => 'slow 2s');
  const [times, memory]: [number[][], number[][]] = [
    [[], []],
    [[], []],
  ];
  for (let round = 0; round < 2; round++) {
    times[0]!.push(
      await time(async () => {
        const before = await memoryOf(pid);
        const spawned = await Promise.all(twenty.map(spawn));
        const ids = spawned.map((task) => task.task_id);
        const waiting = call(own, 'wait-task', { task_id: ids, until: 'all', timeout_ms: 60_000 });
        await new Promise((resolve) => setTimeout(resolve, 1_500));
        memory[0]!.push((await memoryOf(pid)) - before);
        await waiting;
      }),
    );
    times[1]!.push(
      await time(async () => {
        const before = await memoryOf(script.pid);
        const running = Promise.all(twenty.map((prompt) => script.run(prompt)));
        await new Promise((resolve) => setTimeout(resolve, 1_500));
        memory[1]!.push((await memoryOf(script.pid)) - before);
        await running;
      }),
    );
  }
  report('20 tasks of 2 s side by side', 'ms', times[0]!, times[1]!);
  report('memory added by them (script: without its own)', 'MB', memory[0]!, memory[1]!);
}

function uniqueSleep(): string {
  return `sleep 7${process.pid}.${++marks}`;
}

/** Until the process is gone, as for the script; how long the answer takes is kept beside it. */
async function cancelOurs(): Promise<number> {
  const marked = uniqueSleep();
  const { task_id } = await spawn(`run: ${marked}`);
  const pid = await settledCommand(marked);
  const start = performance.now();
  const answer = call(client, 'cancel-task', { task_id }).then(() => {
    if (isAlive(pid)) throw new Error('The process is alive.');
    answers.push(performance.now() - start);
  });
  const gone = await untilGone(pid, start);
  await answer;
  return gone;
}

async function cancelScript(): Promise<number> {
  const marked = uniqueSleep();
  const threadId = await script.thread();
  const turn = script.turn(threadId, `run: ${marked}`);
  const pid = await settledCommand(marked);
  const start = performance.now();
  const cancelled = script
    .call('turn/interrupt', { threadId, turnId: '' })
    .then(() => turn)
    .then(() => script.call('thread/backgroundTerminals/clean', { threadId }));
  const gone = await untilGone(pid, start);
  await cancelled;
  return gone;
}

/** The process of a command that has run for a while: an interrupt still ends one that only just started (seen). */
async function settledCommand(marked: string): Promise<number> {
  const [pid = 0] = await until('the command runs', () => {
    const pids = processesWith(marked);
    return pids.length > 0 ? pids : undefined;
  });
  await new Promise((resolve) => setTimeout(resolve, 500));
  return pid;
}

async function untilGone(pid: number, start: number): Promise<number> {
  while (isAlive(pid)) await new Promise(setImmediate);
  return performance.now() - start;
}

/** The way of a harness into the window, through the pipe that it starts, beside the window's own socket. */
async function pipes(): Promise<void> {
  const worker = await startWorker(rig);
  const window = await openWindow(worker, rig);
  const host = await startTestHost(worker, 'socket');
  const connected = async (connecting: Promise<Client>): Promise<void> => (await connecting).close();
  const throughPipe = async (): Promise<Client> => (await connectPipe(rig)).client;
  process.stdout.write(`${' '.repeat(52)} ${'pipe'.padStart(12)} ${'beside'.padStart(12)}\n`);
  await alternate(
    'connect, list the tools, go (beside: the socket)',
    rounds,
    () => time(() => connected(throughPipe())),
    () => time(() => connected(connectHttp(host))),
  );
  await alternate(
    'the same (beside: start a Node that does nothing)',
    rounds,
    () => time(() => connected(throughPipe())),
    () => time(() => execa(process.execPath, ['-e', ''])),
  );
  const [piped, direct] = [await throughPipe(), await connectHttp(host)];
  const hello = (one: Client) => time(() => call(one, 'spawn-task', { prompt: 'say hello', ...full, wait_ms: 60_000 }));
  await hello(piped);
  await alternate(
    'a hello task (beside: the socket)',
    rounds * 2,
    () => hello(piped),
    () => hello(direct),
  );
  await Promise.all([piped.close(), direct.close()]);
  await host.close();
  await window.close();
  await worker.shutDown();
}

/** What the policy adds to a call that does nothing, with the built-in rules and with a hundred. */
async function judging(): Promise<void> {
  const many = Array.from(
    { length: 100 },
    () => '      - {conditions: [{path: args.x, op: regex, value: "^(a|b)+$"}]}',
  );
  const calls = 2_000;
  for (const [name, text] of [
    ['without rules', ''],
    ['with a hundred rules', `tools:\n  t:\n    rules:\n${many.join('\n')}\n`],
  ] as const) {
    const policyPath = join(rig.dir, 'bench.yaml');
    await writeFile(policyPath, text);
    const worker = await startWorker(rig, { policyPath });
    const { gate } = worker.policies;
    const { signal } = new AbortController();
    const one = {
      tool: 't',
      args: { x: 'abab' },
      caller: 'bench',
      client: null,
      signal,
      progress: undefined,
      ask: undefined,
    };
    const pass = () => gate.pass(one, () => Promise.resolve());
    // Those that come together share the wait for the disk, which is not what judging costs.
    const together = 100;
    const judgingMs = await time(async () => {
      for (let index = 0; index < calls; index += together) await Promise.all(Array.from({ length: together }, pass));
    });
    const aloneMs = await time(async () => {
      for (let index = 0; index < calls; index++) await pass();
    });
    const print = (what: string, ms: number) =>
      process.stdout.write(`${what.padEnd(52)} ${((ms / calls) * 1_000).toFixed(0).padStart(9)} µs\n`);
    print(`judging a call ${name}`, judgingMs);
    print('the same, alone, until its record is on the disk', aloneMs);
    await worker.shutDown();
  }
}

/** In this process, so that its event loop can be watched. */
/** Tasks that pass the gate in front of the sandbox beside the same ones that do not, and what an executor of one takes. */
async function gate(): Promise<void> {
  const modelUrl = String(url).trim();
  const any = 'conditions: [{path: args.unparsed, op: in, value: [true, false]}]';
  const [gatedRig, plainRig] = [await startCodexRig({ modelUrl }), await startCodexRig({ modelUrl })];
  const policyPath = join(gatedRig.dir, 'gate.yaml');
  await writeFile(policyPath, `tools: {codex/command: {rules: [{action: allow, ${any}}]}}\n`);
  const workers = [await startWorker(gatedRig, { policyPath }), await startWorker(plainRig)] as const;
  const run = async (worker: (typeof workers)[number], prompt: string): Promise<void> => {
    const { id } = await worker.tasks.spawn({ prompt, sandbox: 'workspace-write', approvalPolicy: 'never' }, 'bench');
    await worker.tasks.wait({ caller: 'bench', about: [id], until: 'all', timeoutMs: 120_000 });
  };
  for (const worker of workers) await run(worker, 'say warm');
  process.stdout.write(`${' '.repeat(52)} ${'gated'.padStart(12)} ${'not gated'.padStart(12)}\n`);
  for (const [name, count] of [
    ['a task of no command', 0],
    ['a task of one command in workspace-write', 1],
    ['a task of eight', 8],
  ] as const) {
    const prompt = [...Array<string>(count).fill('run: true'), 'say done'].join('\n');
    const [gated, plain] = workers.map((worker) => () => time(() => run(worker, prompt)));
    await alternate(name, rounds, gated!, plain!);
  }
  const { id } = await workers[0].tasks.spawn({ prompt: 'run: true\nhang', sandbox: 'workspace-write' }, 'bench');
  await until('it hangs', () => workers[0].tasks.get(id).lastCommand !== null);
  const sizes = await Promise.all(processesWith('exec-server --listen stdio').map((pid) => memoryOf(pid)));
  process.stdout.write(`${'memory of its executor'.padEnd(52)} ${median(sizes).toFixed(1).padStart(9)} MB\n`);
  for (const worker of workers) await worker.shutDown();
  await Promise.all([gatedRig.dispose(), plainRig.dispose()]);
}

async function deltas(): Promise<void> {
  const [ours, bare, blocks]: [number[], number[], number[]] = [[], [], []];
  const prompt = 'deltas 10000 12';
  for (let round = 0; round < 3; round++) {
    const worker = await startWorker(rig);
    const first = await worker.tasks.spawn({ prompt: 'say warm' }, 'bench');
    await worker.tasks.wait({ caller: 'bench', about: [first.id], until: 'all', timeoutMs: 10_000 });
    const loop = monitorEventLoopDelay({ resolution: 1 });
    loop.enable();
    ours.push(
      await time(async () => {
        const { id } = await worker.tasks.spawn({ prompt }, 'bench');
        await worker.tasks.wait({ caller: 'bench', about: [id], until: 'all', timeoutMs: 60_000 });
      }),
    );
    loop.disable();
    blocks.push(loop.max / 1e6);
    await worker.shutDown();
    const own = new BareScript(rig);
    await own.start();
    await own.run('say warm');
    bare.push(await time(() => own.run(prompt)));
    await own.stop();
  }
  report('10,000 deltas into log and journal', 'ms', ours, bare);
  figure('longest block of the event loop meanwhile', Math.max(...blocks));
}

function figure(name: string, ms: number): void {
  process.stdout.write(`${name.padEnd(52)} ${ms.toFixed(1).padStart(9)} ms\n`);
}

/** A start that relives a task at work with 48 MB of history, and reads an audit trail of 15 MB. */
async function comingBack(): Promise<void> {
  const options = { keepMs: () => 60_000 };
  const before = await startWorker(rig, options);
  const { id } = await before.tasks.spawn({ prompt: 'deltas 2000 1000\nhang' }, 'bench');
  await until('it hangs', async () => (await before.tasks.readJournal(id, 'verbose', 0, 10_000_000)).size > 2_000_000);
  const { events_log: events } = before.tasks.paths(id);
  await before.suspend();
  for (const [path, size] of [
    [events, 48 * mega],
    [join(rig.stateDir, 'audit.jsonl'), 15 * mega],
  ] as const) {
    const text = await readFile(path, 'utf8');
    const lines = text.slice(text.indexOf('\n') + 1);
    await appendFile(path, lines.repeat(Math.ceil(size / Math.max(1, lines.length))));
  }
  const loop = monitorEventLoopDelay({ resolution: 1 });
  loop.enable();
  const worker = await startWorker(rig, options);
  const ms = await time(() => worker.restore());
  loop.disable();
  figure('a start with a history of 48 MB', ms);
  figure('longest block of the event loop meanwhile', loop.max / 1e6);
  await worker.shutDown();
}
