import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Answer, Decision } from '../../src/core/pendingRequest';
import type { Recovery, WorkerSettings } from '../../src/core/ports';
import type { TaskSnapshot } from '../../src/core/taskSnapshot';
import { type CodexRig, startCodexRig, startWorker } from '../rig/codexRig';
import { processesWith } from '../rig/processes';
import { until } from '../rig/until';

let rig: CodexRig;
let worker: Awaited<ReturnType<typeof startWorker>>;

beforeAll(async () => {
  rig = await startCodexRig();
});
afterAll(() => rig.dispose());
afterEach(() => worker.shutDown());

const caller = 'test';
const decide = (decision: Decision): Answer => ({ kind: 'decision', decision });
const asPerson = { by: 'person', caller: 'person' } as const;

async function start(recovery: Recovery, more: Partial<WorkerSettings> = {}): Promise<void> {
  worker = await startWorker(rig, { settings: { recovery: () => recovery, ...more } });
}

async function spawn(prompt: string, more: object = {}): Promise<string> {
  return (await worker.tasks.spawn({ prompt, ...more }, caller)).id;
}

async function linesOf(name: string): Promise<number> {
  const text = await readFile(join(rig.workspace, name), 'utf8').catch(() => '');
  return text.split('\n').length - 1;
}

function crash(): void {
  process.kill(worker.serverPid!, 'SIGKILL');
}

async function asks(id: string): Promise<TaskSnapshot> {
  return until('it asks to go on', () => {
    const task = worker.tasks.get(id);
    return task.pending[0]?.question.type === 'recovery' ? task : null;
  });
}

async function finish(id: string): Promise<TaskSnapshot> {
  const { tasks, timedOut } = await worker.tasks.wait({ caller, about: [id], until: 'all', timeoutMs: 20_000 });
  expect(timedOut, worker.lines.join('\n')).toBe(false);
  return tasks[0]!;
}

describe('a Codex that dies in the middle of a turn', () => {
  it('leaves the task asking, its command dead and not run again, until somebody says to continue', async () => {
    await start('ask');
    const marked = `sleep 7${process.pid}.5`;
    const id = await spawn(`run: echo once >> effects.txt; ${marked}\nsay never`);
    await until(
      'the command runs',
      async () => (await linesOf('effects.txt')) === 1 && processesWith(marked).length > 0,
    );
    const { threadId } = worker.tasks.get(id);
    crash();
    expect(await asks(id)).toMatchObject({
      status: 'input_required',
      pending: [{ question: { message: 'Codex stopped in the middle of this turn. Continue in a new one?' } }],
    });
    expect(processesWith(marked)).toEqual([]);
    expect(worker.serverPid).toBeUndefined();
    await worker.tasks.respond(id, 'r1', decide('accept'), { by: 'agent', caller });
    const task = await finish(id);
    expect(task).toMatchObject({ status: 'completed', turns: 2, threadId });
    expect(task.finalMessage).toMatch(/^echo: The program that ran this turn stopped/);
    expect(await readFile(join(rig.workspace, 'effects.txt'), 'utf8')).toBe('once\n');
  });

  it.each([
    ['reject', 'failed', 'codex_crashed'],
    ['cancel', 'cancelled', undefined],
  ] as const)('and a %s ends the task as %s', async (decision, status, code) => {
    await start('ask');
    const id = await spawn('run: echo hi\nsay after', { approvalPolicy: 'untrusted' });
    await until('it asks', () => worker.tasks.get(id).pending.length === 1);
    crash();
    const { pending, answers } = await asks(id);
    expect(answers).toMatchObject([{ id: 'r1', by: 'codex', outcome: 'withdrawn' }]);
    await worker.tasks.respond(id, pending[0]!.id, decide(decision), asPerson);
    const task = await finish(id);
    expect([task.status, task.error?.code]).toEqual([status, code]);
  });

  it('costs none of several tasks, whatever they did', async () => {
    await start('ask');
    const ids = await Promise.all(
      ['slow 30s', 'hang', 'run: sleep 301', 'slow 30s 300'].map((prompt) => spawn(prompt)),
    );
    await Promise.all(ids.map((id) => until('its turn runs', () => worker.tasks.get(id).turns === 1)));
    crash();
    for (const id of ids) {
      const { pending } = await asks(id);
      await worker.tasks.respond(id, pending[0]!.id, decide('accept'), asPerson);
    }
    for (const id of ids) expect(await finish(id)).toMatchObject({ status: 'completed', turns: 2 });
  });

  it('is continued by itself where the person chose that, and a queued message follows', async () => {
    await start('continue');
    const id = await spawn('slow 30s');
    await until('it answers', () => worker.tasks.get(id).activity === 'answering');
    await worker.tasks.message(id, { text: 'say queued', mode: 'queue' }, caller);
    crash();
    expect(await finish(id)).toMatchObject({ status: 'completed', turns: 3, finalMessage: 'queued' });
  });

  it('while a thread is made costs nothing: it is made again', async () => {
    await start('ask');
    await worker.tasks.spawn({ prompt: 'say warm' }, caller).then(({ id }) => finish(id));
    const made = worker.tasks.onDidChangeList(() => crash());
    const id = await spawn('say again');
    made.dispose();
    expect(await finish(id)).toMatchObject({ status: 'completed', finalMessage: 'again' });
  });

  it('too often is not started again by itself, but by the person', async () => {
    await start('fail');
    for (let count = 0; count < 5; count++) {
      const id = await spawn('hang');
      await until('its turn runs', () => worker.tasks.get(id).turns === 1);
      crash();
      await finish(id);
    }
    await expect(spawn('say more')).rejects.toMatchObject({
      code: 'codex_unavailable',
      message: 'Codex ended 5 times within 3 minutes, so it is not started again.',
    });
    await worker.restartCodex();
    expect(await finish(await spawn('say more'))).toMatchObject({ status: 'completed' });
  });
});

describe('a worker that goes away and comes back', () => {
  it('has its tasks again: ended ones whole, working ones asking, and nothing was run twice', async () => {
    await start('ask');
    await worker.restore();
    const done = await finish(await spawn('patch: kept.txt words\nrun: echo shown\nsay all done'));
    const marked = `sleep 8${process.pid}.5`;
    const id = await spawn(`run: echo twice? >> again.txt; (env -i setsid ${marked} &) ; ${marked}`);
    const asking = await spawn('run: echo asked\nsay after', { approvalPolicy: 'untrusted' });
    await until('the command runs', async () => (await linesOf('again.txt')) === 1 && processesWith(marked).length > 1);
    await until('it asks', () => worker.tasks.get(asking).pending.length === 1);
    const { threadId } = worker.tasks.get(id);
    await worker.suspend();
    expect(processesWith(marked)).toEqual([]);

    await start('ask');
    await worker.restore();
    const { id: doneId, finalMessage, diff, items, changedFiles, outputTail, usage } = worker.tasks.get(done.id);
    expect({ id: doneId, finalMessage, diff, items, changedFiles, outputTail, usage }).toEqual({
      id: done.id,
      finalMessage: done.finalMessage,
      diff: done.diff,
      items: done.items,
      changedFiles: done.changedFiles,
      outputTail: done.outputTail,
      usage: done.usage,
    });
    for (const one of [id, asking]) {
      const { pending } = await asks(one);
      expect(pending.at(-1)!.question).toMatchObject({
        message: expect.stringMatching(/^The window was closed/) as string,
      });
    }
    await worker.tasks.respond(id, undefined, decide('accept'), asPerson);
    expect(await finish(id)).toMatchObject({ status: 'completed', threadId, turns: 2 });
    expect(await readFile(join(rig.workspace, 'again.txt'), 'utf8')).toBe('twice?\n');
    await worker.tasks.message(done.id, { text: 'say more', mode: 'auto' }, caller);
    expect(await finish(done.id)).toMatchObject({ finalMessage: 'more', threadId: done.threadId });
    const { text } = await worker.tasks.readJournal(done.id, 'verbose', 0, 100_000);
    expect(text).toMatch(/all done[\s\S]*more/);
  });

  it('has a store of its own beside one that another program works in, and says so', async () => {
    await start('ask');
    const id = await spawn('hang');
    const second = await startWorker(rig);
    await second.restore();
    expect(second.tasks.snapshots()).toEqual([]);
    expect(second.stateDir).toBe(join(rig.stateDir, 'beside', '1'));
    expect(second.lines.join('\n')).toContain(`Another program works with the tasks in ${rig.stateDir}`);
    await until('the first works on', () => worker.tasks.get(id).status === 'working');
    await second.shutDown();
  });
});

describe('two workers on two stores, with one Codex home', () => {
  it('leave each other alone: each cancels and ends its own', async () => {
    await start('ask');
    const marks = [`sleep 801.${process.pid}`, `sleep 802.${process.pid}`, `sleep 803.${process.pid}`];
    const other = await startWorker({ ...rig, stateDir: join(rig.dir, 'other-state') });
    const prompts = marks.map((mark) => ({ prompt: `run: (setsid ${mark} &); sleep 299` }));
    const own = await worker.tasks.spawn(prompts[0]!, caller);
    const theirs = await Promise.all(prompts.slice(1).map((request) => other.tasks.spawn(request, caller)));
    await until('all run', () => marks.every((mark) => processesWith(mark).length > 0));
    expect(other.serverPid).not.toBe(worker.serverPid);
    expect([other.tasks.tryGet(own.id), worker.tasks.snapshots().length]).toEqual([undefined, 1]);
    await other.tasks.cancel([theirs[0]!.id]);
    expect(marks.map((mark) => processesWith(mark).length > 0)).toEqual([true, false, true]);
    await other.shutDown();
    expect(marks.map((mark) => processesWith(mark).length > 0)).toEqual([true, false, false]);
    expect(worker.tasks.get(own.id).status).toBe('working');
    await worker.tasks.cancel([own.id]);
    expect(processesWith(marks[0]!)).toEqual([]);
  });
});

describe('a model that never answers', () => {
  it('is asked about after the idle time, waited for once more, and then the task fails', async () => {
    await start('ask', { idleTimeoutMs: () => 3_000 });
    const id = await spawn('hang');
    const { pending } = await asks(id);
    expect(pending[0]).toMatchObject({
      question: { message: 'Codex has shown no sign of life for 3.0 s. Wait once more?' },
      expiresAt: pending[0]!.askedAt + 3_000,
    });
    await worker.tasks.respond(id, 'r1', decide('accept'), asPerson);
    await until('it asks again', () => worker.tasks.get(id).pending[0]?.id === 'r2');
    expect(await finishAfterNews(id)).toMatchObject({
      status: 'failed',
      error: { code: 'idle_timeout' },
      answered: { id: 'r2', by: 'timeout' },
    });
  });

  it('that answers after all takes the question back', async () => {
    // Seconds on both sides of the answer: it comes after the question and before the question's own limit.
    await start('ask', { idleTimeoutMs: () => 4_000 });
    const id = await spawn('slow 6s 1');
    await asks(id);
    const { status, answers } = await finishAfterNews(id);
    expect([status, new Set(answers.map(({ by }) => by))]).toEqual(['completed', new Set(['codex'])]);
  });
});

async function finishAfterNews(id: string): Promise<TaskSnapshot> {
  return until('it ends', () => {
    const task = worker.tasks.get(id);
    return task.endedAt === null ? null : task;
  });
}
