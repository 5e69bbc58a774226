import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, onTestFinished } from 'vitest';
import { type CodexRig, startCodexRig, startWorker } from '../rig/codexRig';
import { isAlive, processesWith } from '../rig/processes';
import { until } from '../rig/until';

let rig: CodexRig;
let worker: Awaited<ReturnType<typeof startWorker>>;

beforeAll(async () => {
  rig = await startCodexRig();
});
afterAll(() => rig.dispose());
beforeEach(async () => {
  worker = await startWorker(rig);
});
afterEach(async () => {
  await worker.shutDown();
});

const caller = 'test';
let seconds = 30_000;

/** A `sleep` that no other process of this machine runs, so that the process table tells whether it lives. */
function uniqueSleep(): string {
  return `sleep ${++seconds}.${process.pid}`;
}

/** The shell that started it may be there for a moment, and has it in its command line too. */
function isRunning(marked: string): boolean {
  return processesWith(marked).length > 0;
}

/** Cancels and checks that it took less than the 5 seconds that a cancel may take. */
async function cancel(...ids: string[]): Promise<void> {
  const start = performance.now();
  expect(await worker.tasks.cancel(ids)).toEqual({ cancelled: ids, alreadyTerminal: [], notFound: [] });
  expect(performance.now() - start).toBeLessThan(5_000);
  expect(ids.map((id) => worker.tasks.get(id).status)).toEqual(ids.map(() => 'cancelled'));
}

const cases: readonly [name: string, script: (marked: string) => string][] = [
  ['a foreground command', (marked) => marked],
  ['a command that ignores SIGTERM', (marked) => `trap "" TERM INT HUP; ${marked} & while :; do sleep 0.1; done`],
  ['a background server', (marked) => `(nohup ${marked} >/dev/null 2>&1 &); sleep 299`],
  ['a grandchild in its own session', (marked) => `(setsid ${marked} &); sleep 299`],
  ['a grandchild in its own session with an empty environment', (marked) => `(env -i setsid ${marked} &); sleep 299`],
  [
    'a detached grandchild with an empty environment and no output',
    (marked) => `(env -i setsid ${marked} >/dev/null 2>&1 </dev/null &); sleep 299`,
  ],
];

it.each(cases)('%s is dead after a cancel', async (_name, script) => {
  const marked = uniqueSleep();
  const { id } = await worker.tasks.spawn({ prompt: `run: ${script(marked)}` }, caller);
  await until('the command runs', () => processesWith(marked).length > 0);
  await cancel(id);
  expect(processesWith(marked)).toEqual([]);
});

it.each(['workspace-write', 'read-only'] as const)(
  'a command in the sandbox %s is dead after a cancel',
  async (sandbox) => {
    const marked = uniqueSleep();
    const { id } = await worker.tasks.spawn({ prompt: `run: (env -i setsid ${marked} &); sleep 299`, sandbox }, caller);
    await until('the command runs', () => processesWith(marked).length > 0);
    await cancel(id);
    expect(processesWith(marked)).toEqual([]);
  },
);

it('what a command left that was over at once is dead after a cancel, found by the pipe that it holds', async () => {
  const marked = uniqueSleep();
  const { id } = await worker.tasks.spawn(
    { prompt: `run: sleep 0.3; (env -i setsid ${marked} &)\nslow 60s 600` },
    caller,
  );
  await until('the command is over', () => worker.tasks.get(id).activity === 'answering');
  // Its command line cannot be read while one program replaces another.
  await until('it is there', () => processesWith(marked).length === 1);
  await cancel(id);
  expect(processesWith(marked)).toEqual([]);
});

it('a process that may be of two tasks is reported and not called dead', async () => {
  const marked = uniqueSleep();
  const other = await worker.tasks.spawn({ prompt: 'run: sleep 299' }, caller);
  await until('the other command runs', () => worker.tasks.get(other.id).lastCommand !== null);
  const hidden = `(env -i setsid ${marked} >/dev/null 2>&1 </dev/null &)`;
  const { id } = await worker.tasks.spawn({ prompt: `run: ${hidden}\nslow 60s 600` }, caller);
  await until('the command is over', () => worker.tasks.get(id).activity === 'answering');
  await cancel(id);
  const reported = worker.tasks.get(id).leftovers.map((process) => process.pid);
  // A sample may have caught it in its first milliseconds; then it is dead.
  expect(processesWith(marked), worker.lines.join('\n')).toEqual(reported);
  for (const pid of reported) process.kill(pid, 'SIGKILL');
});

it("another worker's Codex and what it runs are left alone", async () => {
  const own = uniqueSleep();
  const spawned = await worker.tasks.spawn(
    { prompt: `run: (env -i setsid ${own} >/dev/null 2>&1 &); sleep 299` },
    caller,
  );
  await until('the command runs', () => processesWith(own).length > 0);
  // Younger than our server, with strays of its own, as another window would be.
  const others = await Promise.all([1, 2, 3].map(() => startWorker(rig)));
  const marks = others.map(uniqueSleep);
  // What a failure left would hold marks of the machine, of which there are few, and fail whatever comes next.
  onTestFinished(async () => {
    await Promise.allSettled(others.map((other) => other.shutDown()));
    for (const pid of marks.flatMap(processesWith)) process.kill(pid, 'SIGKILL');
  });
  const tasks = await Promise.all(
    others.map((other, index) =>
      other.tasks.spawn({ prompt: `run: (env -i setsid ${marks[index]} >/dev/null 2>&1 &); sleep 299` }, caller),
    ),
  );
  await until('the other commands run', () => marks.every((marked) => processesWith(marked).length > 0));
  await cancel(spawned.id);
  expect(processesWith(own)).toEqual([]);
  expect(worker.tasks.get(spawned.id).leftovers).toEqual([]);
  expect(marks.map(isRunning)).toEqual([true, true, true]);
  expect(others.map((other, index) => other.tasks.get(tasks[index]!.id).status)).toEqual([
    'working',
    'working',
    'working',
  ]);
  const still = uniqueSleep();
  const { id } = await worker.tasks.spawn({ prompt: `run: ${still}` }, caller);
  await until('our next command runs', () => processesWith(still).length > 0);
  await Promise.all(others.map((other) => other.shutDown()));
  expect(marks.flatMap(processesWith)).toEqual([]);
  expect(processesWith(still)).not.toEqual([]);
  await cancel(id);
});

it('five tasks at once', async () => {
  const marks = Array.from({ length: 5 }, uniqueSleep);
  const spawned = await Promise.all(
    marks.map((marked) => worker.tasks.spawn({ prompt: `run: (setsid ${marked} &); sleep 299` }, caller)),
  );
  await until('all commands run', () => marks.every((marked) => processesWith(marked).length > 0));
  const [first, ...others] = spawned.map(({ id }) => id);
  await cancel(first!);
  expect(marks.map(isRunning)).toEqual([false, true, true, true, true]);
  await cancel(...others);
  expect(marks.flatMap(processesWith)).toEqual([]);
});

it('a command that comes back after its turn had completed is ended with the task', async () => {
  const marked = uniqueSleep();
  const { id } = await worker.tasks.spawn({ prompt: `bg: ${marked}\nsay it runs in the background` }, caller);
  const { tasks } = await worker.tasks.wait({ caller, about: [id], until: 'all', timeoutMs: 15_000 });
  expect(tasks[0]).toMatchObject({ status: 'completed', finalMessage: 'it runs in the background' });
  expect(processesWith(marked)).toEqual([]);
});

it('a cancel right after the spawn', async () => {
  const marked = uniqueSleep();
  const { id } = await worker.tasks.spawn({ prompt: `run: ${marked}` }, caller);
  await cancel(id);
  expect(await worker.tasks.cancel([id, 'no-such-1', id])).toEqual({
    cancelled: [],
    alreadyTerminal: [id],
    notFound: ['no-such-1'],
  });
  expect(processesWith(marked)).toEqual([]);
});

it('a hung model', async () => {
  const { id } = await worker.tasks.spawn({ prompt: 'hang' }, caller);
  await until('the model was asked', () => worker.tasks.get(id).turns === 1);
  await cancel(id);
});

it('a pending approval', async () => {
  const { id } = await worker.tasks.spawn({ prompt: 'run: true', approvalPolicy: 'untrusted' }, caller);
  await worker.tasks.wait({ caller, about: [id], until: 'any', timeoutMs: 15_000 });
  await cancel(id);
  expect(worker.tasks.get(id)).toMatchObject({ pending: [], answered: { by: 'stop', outcome: 'withdrawn' } });
});

it('an app-server that does not answer any more is killed with all that it runs', async () => {
  const marked = uniqueSleep();
  const [task, other] = await Promise.all(
    [`run: (setsid ${marked} &); sleep 299`, 'slow 60s'].map((prompt) => worker.tasks.spawn({ prompt }, caller)),
  );
  await until('the command runs', () => processesWith(marked).length > 0);
  const server = worker.serverPid!;
  process.kill(server, 'SIGSTOP');
  await cancel(task!.id);
  expect(processesWith(marked)).toEqual([]);
  expect(isAlive(server)).toBe(false);
  await until('the other task ended', () => worker.tasks.get(other!.id).error?.code === 'codex_crashed');
});

it('nothing is left when the worker stops, also of what may be of two tasks', async () => {
  const [shown, hidden] = [uniqueSleep(), uniqueSleep()];
  await Promise.all(
    [`run: ${shown}`, `run: (env -i setsid ${hidden} >/dev/null 2>&1 </dev/null &); sleep 299`].map((prompt) =>
      worker.tasks.spawn({ prompt }, caller),
    ),
  );
  await until('they run', () => processesWith(shown).length > 0 && processesWith(hidden).length > 0);
  await worker.shutDown();
  expect([shown, hidden].flatMap(processesWith)).toEqual([]);
});

it('nothing is left when the worker stops', async () => {
  const marked = uniqueSleep();
  await worker.tasks.spawn({ prompt: `run: (setsid ${marked} &); sleep 299` }, caller);
  await until('the command runs', () => processesWith(marked).length > 0);
  const server = worker.serverPid!;
  await worker.shutDown();
  expect(processesWith(marked)).toEqual([]);
  expect(isAlive(server)).toBe(false);
});

it.each([false, true])(
  'it takes less than 3 s, also when Codex does not answer (kept by a keeper: %s)',
  async (kept) => {
    await worker.shutDown();
    worker = await startWorker(rig, { keepMs: () => (kept ? 30_000 : 0) });
    const [marked, stubborn] = [uniqueSleep(), uniqueSleep()];
    const prompts = [`run: (setsid ${marked} &); sleep 299`, `run: trap "" TERM; ${stubborn}; ${stubborn}`, 'slow 60s'];
    await Promise.all(prompts.map((prompt) => worker.tasks.spawn({ prompt }, caller)));
    await until('they run', () => processesWith(marked).length > 0 && processesWith(stubborn).length > 0);
    const server = worker.serverPid!;
    process.kill(server, 'SIGSTOP');
    const start = performance.now();
    await worker.shutDown();
    expect(performance.now() - start).toBeLessThan(3_000);
    expect([marked, stubborn].flatMap(processesWith)).toEqual([]);
    expect(isAlive(server)).toBe(false);
  },
);

it('the empty directories that the sandbox of a killed command leaves go with the last task of the folder', async () => {
  const cwd = join(rig.workspace, 'mounted');
  await mkdir(join(cwd, '.codex'), { recursive: true });
  const marks = [uniqueSleep(), uniqueSleep()];
  const spawn = async (mark: string): Promise<string> => {
    const { id } = await worker.tasks.spawn({ prompt: `run: ${mark}`, sandbox: 'workspace-write', cwd }, caller);
    await until('the command runs', () => processesWith(mark).length > 0);
    return id;
  };
  const ids = [await spawn(marks[0]!), await spawn(marks[1]!)];
  await until('its mount points are there', async () => (await readdir(cwd)).includes('.agents'));
  // Somebody has need of one.
  await writeFile(join(cwd, '.aws', 'config'), '');
  await cancel(ids[0]!);
  expect(await readdir(cwd)).toContain('.agents');
  await cancel(ids[1]!);
  expect((await readdir(cwd)).sort()).toEqual(['.aws', '.codex']);
});
