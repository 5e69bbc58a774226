import { readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { doorVersion, knock } from '../../src/base/door';
import type { TaskSnapshot } from '../../src/core/taskSnapshot';
import type { Answer } from '../../src/core/pendingRequest';
import { type CodexRig, startCodexRig, startWorker } from '../rig/codexRig';
import { exists } from '../rig/installEditor';
import { isAlive, processesWith } from '../rig/processes';
import { until } from '../rig/until';

let rig: CodexRig;
let worker: Awaited<ReturnType<typeof startWorker>>;
let keepMs: number | null = 30_000;

beforeAll(async () => {
  rig = await startCodexRig();
});
afterAll(() => rig.dispose());
beforeEach(() => {
  keepMs = 30_000;
});
afterEach(() => worker.shutDown());

const caller = 'test';
const accept: Answer = { kind: 'decision', decision: 'accept' };
const asPerson = { by: 'person', caller: 'person' } as const;

async function start(): Promise<void> {
  worker = await startWorker(rig, { keepMs: () => keepMs, settings: { recovery: () => 'ask' } });
  await worker.restore();
}

async function spawn(prompt: string, more: object = {}): Promise<string> {
  const { id } = await worker.tasks.spawn({ prompt, ...more }, caller);
  await until('its turn runs', () => worker.tasks.get(id).turns === 1);
  return id;
}

async function finish(id: string): Promise<TaskSnapshot> {
  return until(
    'it ends',
    () => {
      const task = worker.tasks.get(id);
      return task.endedAt === null ? null : task;
    },
    30_000,
  );
}

async function transcript(id: string): Promise<string> {
  return (await worker.tasks.readJournal(id, 'verbose', 0, 1_000_000)).text;
}

async function record(): Promise<{ keeper: string; address: string; token: string }> {
  return JSON.parse(await readFile(join(rig.stateDir, 'keeper.json'), 'utf8')) as never;
}

async function keeperPid(): Promise<number> {
  return Number.parseInt((await record()).keeper);
}

describe('a worker that goes away and comes back', () => {
  it('has its tasks at work again: streaming, running a command, and asking', async () => {
    await start();
    const asking = await spawn('run: echo asked >> asked.txt\nsay allowed', { approvalPolicy: 'untrusted' });
    await until('it asks', () => worker.tasks.get(asking).pending.length === 1);
    const streaming = await spawn('slow 4s 40');
    const marked = `sleep 3.${process.pid}`;
    const running = await spawn(`run: echo once >> once.txt; echo before; ${marked}; echo after\nsay ran`);
    await until('it streams', async () => (await transcript(streaming)).includes('tick3'));
    await until('the command runs', () => processesWith(marked).length > 0);
    const before = worker.tasks.get(asking).pending;
    const pid = worker.serverPid;
    await worker.suspend();
    expect([isAlive(pid!), processesWith(marked).length > 0]).toEqual([true, true]);
    await new Promise((resolve) => setTimeout(resolve, 1_000));

    await start();
    expect(worker.serverPid).toBe(pid);
    expect(worker.tasks.get(asking)).toMatchObject({ status: 'input_required', pending: before });
    expect(worker.tasks.get(streaming)).toMatchObject({ status: 'working', pending: [] });
    await worker.tasks.respond(asking, 'r1', accept, asPerson);
    for (const id of [streaming, running, asking])
      expect(await finish(id)).toMatchObject({ status: 'completed', turns: 1 });
    const ticks = Array.from({ length: 40 }, (_, index) => `tick${index} `).join('');
    expect(await transcript(streaming)).toContain(`\n${ticks}\n──`);
    expect(await transcript(running)).toMatch(/\$ echo once[\s\S]*\nafter\n[\s\S]*\nbefore\n/);
    for (const [name, line] of [
      ['once', 'once'],
      ['asked', 'asked'],
    ] as const)
      expect(await readFile(join(rig.workspace, `${name}.txt`), 'utf8')).toBe(`${line}\n`);
    const keeper = await keeperPid();
    await worker.shutDown();
    expect([isAlive(pid!), isAlive(keeper)]).toEqual([false, false]);
  });

  it('judges what was asked while nobody was there, and what is asked since before there were rules', async () => {
    const policyPath = join(rig.dir, 'late.yaml');
    const command = (action: string): string =>
      `{action: ${action}, conditions: [{path: args.programs, op: contains, value: touch}]}`;
    const other = '{action: require_approval, name: mine}';
    const begin = async (...rules: string[]): Promise<void> => {
      await writeFile(policyPath, `tools: {codex/command: {rules: [${rules.join(', ')}]}}`);
      worker = await startWorker(rig, { keepMs: () => keepMs, policyPath, settings: { recovery: () => 'ask' } });
      await worker.restore();
    };
    await begin(other);
    const before = await spawn('run: touch before.txt\nsay done', { approvalPolicy: 'untrusted' });
    await until('it asks', () => worker.tasks.get(before).pending.length === 1);
    const away = await spawn('run: mkdir away\nsay done', { approvalPolicy: 'untrusted' });
    await worker.suspend();
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    await begin(command('deny'), other);
    await until('it was declined', () => worker.tasks.get(before).answers.length === 1);
    expect(worker.tasks.get(before)).toMatchObject({ answers: [{ id: 'r1', by: 'policy', outcome: 'declined' }] });
    await until('the other asks', () => worker.tasks.get(away).pending.length === 1);
    expect(worker.tasks.get(away).pending).toMatchObject([{ heldBy: 'mine' }]);
    const answer = worker.tasks.respond(away, 'r1', accept, { by: 'agent', caller });
    await expect(answer).rejects.toMatchObject({ code: 'approval_required' });
    for (const name of ['before.txt', 'away']) expect(await exists(join(rig.workspace, name))).toBe(false);
  });

  it('says a queued message when its turn is over', async () => {
    await start();
    const id = await spawn('slow 2s 10');
    await worker.tasks.message(id, { text: 'say queued', mode: 'queue' }, caller);
    await worker.suspend();
    await start();
    expect(worker.tasks.get(id)).toMatchObject({ status: 'working', queuedMessages: 1 });
    await until('it was said', () => worker.tasks.get(id).finalMessage === 'queued');
    expect(await finish(id)).toMatchObject({ status: 'completed', turns: 2, queuedMessages: 0 });
  });

  it('says a queued message also when the turn before it ended while nobody was there', async () => {
    await start();
    const id = await spawn('slow 1s 5');
    await worker.tasks.message(id, { text: 'say queued', mode: 'queue' }, caller);
    const keeper = await keeperPid();
    await worker.suspend();
    await until('the keeper is done', () => !isAlive(keeper));
    await start();
    await until('it was said', () => worker.tasks.get(id).finalMessage === 'queued');
    expect(await finish(id)).toMatchObject({ status: 'completed', turns: 2, answers: [] });
  });

  it('hears nothing twice, however often it comes back', async () => {
    await start();
    const id = await spawn('slow 1s 5');
    const keeper = await keeperPid();
    await worker.suspend();
    await until('the keeper is done', () => !isAlive(keeper));
    let ended: TaskSnapshot | null = null;
    for (let again = 0; again < 3; again++) {
      await start();
      const now = await finish(id);
      ended ??= now;
      expect([now.turns, now.endedAt]).toEqual([1, ended.endedAt]);
      await worker.suspend();
    }
    await start();
    const { text: events } = await worker.tasks.readJournal(id, 'events', 0, 1_000_000);
    expect(events.split('"method":"turn/completed"')).toHaveLength(2);
    const working = await spawn('hang');
    await worker.shutDown();
    await start();
    expect(worker.tasks.get(working)).toMatchObject({ status: 'cancelled', turns: 1 });
  });

  it('hears all of a task whose earlier lines are numbered higher, because the clock was set back', async () => {
    await start();
    const id = await spawn('slow 1s 10');
    const keeper = await keeperPid();
    await worker.suspend();
    await until('the keeper is done', () => !isAlive(keeper));
    const path = join(rig.stateDir, 'tasks', id, 'events.jsonl');
    const events = await readFile(path, 'utf8');
    const ahead = `{"t":1,"n":${Number.MAX_SAFE_INTEGER - 1},"method":"thread/name/updated","params":{"threadId":"x"}}\n`;
    await writeFile(path, ahead + events);
    await start();
    expect(await finish(id)).toMatchObject({ status: 'completed', turns: 1 });
    expect(await transcript(id)).toContain('tick9');
  });

  it('in another CODEX_HOME lets its tasks go on where they are, and starts no other one there', async () => {
    await start();
    const id = await spawn('slow 3s 10');
    await worker.suspend();
    const other = await startCodexRig();
    try {
      worker = await startWorker({ ...rig, env: other.env }, { keepMs: () => keepMs });
      await worker.restore();
      expect(worker.tasks.get(id).status).toBe('working');
      await expect(worker.tasks.spawn({ prompt: 'say hi' }, caller)).rejects.toMatchObject({
        code: 'codex_unavailable',
      });
      expect(await finish(id)).toMatchObject({ status: 'completed', turns: 1 });
      const server = worker.serverPid;
      const next = await worker.tasks.spawn({ prompt: 'say hi' }, caller);
      expect(await finish(next.id)).toMatchObject({ status: 'completed', finalMessage: 'hi' });
      expect(worker.serverPid).not.toBe(server);
      expect(other.model.requests.length).toBeGreaterThan(0);
      await worker.shutDown();
    } finally {
      await other.dispose();
    }
  });

  it('finds what ended meanwhile as it ended, also when the keeper went with the last of it', async () => {
    await start();
    const marked = `sleep 1.${process.pid}`;
    const id = await spawn(`run: ${marked}; echo once >> away.txt\nsay done while away`);
    const [keeper, server] = [await keeperPid(), worker.serverPid!];
    await worker.suspend();
    await until('the keeper is done', () => !isAlive(keeper));
    expect(isAlive(server)).toBe(false);
    await start();
    expect(await finish(id)).toMatchObject({ status: 'completed', finalMessage: 'done while away', turns: 1 });
    expect(await transcript(id)).toContain('done while away');
    expect(await readFile(join(rig.workspace, 'away.txt'), 'utf8')).toBe('once\n');
    expect(await exists(join(rig.stateDir, 'backlog.jsonl'))).toBe(true);
    await worker.tasks.message(id, { text: 'say more', mode: 'auto' }, caller);
    await until('it goes on', () => worker.tasks.get(id).finalMessage === 'more');
    expect(await exists(join(rig.stateDir, 'backlog.jsonl'))).toBe(false);
  });

  it('is waited for no longer than it said: then everything is stopped, and its tasks ask', async () => {
    keepMs = 500;
    await start();
    const marked = `sleep 9${process.pid}.5`;
    const id = await spawn(`run: (env -i setsid ${marked} &); ${marked}`);
    await until('the commands run', () => processesWith(marked).length > 1);
    const [keeper, server] = [await keeperPid(), worker.serverPid!];
    await worker.suspend();
    await until('the keeper has ended it', () => !isAlive(keeper));
    expect([processesWith(marked), isAlive(server)]).toEqual([[], false]);
    await start();
    await until('it asks', () => worker.tasks.get(id).pending[0]?.question.type === 'recovery');
    await worker.tasks.respond(id, undefined, accept, asPerson);
    expect(await finish(id)).toMatchObject({ status: 'completed', turns: 2 });
  });

  it('leaves nothing behind when nothing runs, and no keeper at all where work shall never go on', async () => {
    await start();
    await finish(await spawn('say hi'));
    const keeper = await keeperPid();
    await worker.suspend();
    await until('the keeper is gone', () => !isAlive(keeper), 3_000);
    keepMs = 0;
    await start();
    const id = await spawn('hang');
    expect(await exists(join(rig.stateDir, 'keeper.json'))).toBe(false);
    const server = worker.serverPid!;
    await worker.suspend();
    expect(isAlive(server)).toBe(false);
    await start();
    await until('it asks', () => worker.tasks.get(id).pending[0]?.question.type === 'recovery');
  });

  it('forgets an answer that was given before, and a cancel goes on where it was', async () => {
    await start();
    const marked = `sleep 9${process.pid}.7`;
    const answered = await spawn(`run: ${marked}\nsay after`, { approvalPolicy: 'untrusted' });
    await until('it asks', () => worker.tasks.get(answered).pending.length === 1);
    await worker.tasks.respond(answered, 'r1', accept, asPerson);
    await until('the command runs', () => processesWith(marked).length > 0);
    await worker.suspend();
    await start();
    expect(worker.tasks.get(answered)).toMatchObject({ status: 'working', pending: [], answers: [{ id: 'r1' }] });
    expect(await worker.tasks.cancel([answered])).toMatchObject({ cancelled: [answered] });
    expect(processesWith(marked)).toEqual([]);
  });
});

describe('a keeper', () => {
  it('that is killed takes Codex with it, and costs no task', async () => {
    await start();
    const marked = `sleep 9${process.pid}.9`;
    const id = await spawn(`run: echo once >> killed.txt; ${marked}`);
    await until('the command runs', () => readFile(join(rig.workspace, 'killed.txt'), 'utf8').catch(() => null));
    const server = worker.serverPid!;
    process.kill(await keeperPid(), 'SIGKILL');
    await until('it asks', () => worker.tasks.get(id).pending[0]?.question.type === 'recovery');
    expect(processesWith(marked)).toEqual([]);
    expect(isAlive(server)).toBe(false);
    await worker.tasks.respond(id, undefined, accept, asPerson);
    expect(await finish(id)).toMatchObject({ status: 'completed', turns: 2 });
    expect(await readFile(join(rig.workspace, 'killed.txt'), 'utf8')).toBe('once\n');
  });

  it('tells that Codex was killed, and ends what Codex left', async () => {
    await start();
    const marked = `sleep 9${process.pid}.11`;
    const id = await spawn(`run: (env -i setsid ${marked} > /dev/null 2>&1 &); ${marked}`);
    await until('the commands run', () => processesWith(marked).length > 1);
    const keeper = await keeperPid();
    process.kill(worker.serverPid!, 'SIGKILL');
    await until('it asks', () => worker.tasks.get(id).pending[0]?.question.type === 'recovery');
    await until('the keeper is gone', () => !isAlive(keeper));
    expect(processesWith(marked)).toEqual([]);
  });

  it('that Codex was killed under while nobody was there has it known, and nothing is left', async () => {
    await start();
    const marked = `sleep 9${process.pid}.13`;
    const id = await spawn(`run: (env -i setsid ${marked} > /dev/null 2>&1 &); ${marked}`);
    await until('the commands run', () => processesWith(marked).length > 1);
    const [keeper, server] = [await keeperPid(), worker.serverPid!];
    await worker.suspend();
    process.kill(server, 'SIGKILL');
    await until('the keeper is gone', () => !isAlive(keeper));
    expect(processesWith(marked)).toEqual([]);
    await start();
    await until('it asks', () => worker.tasks.get(id).pending[0]?.question.type === 'recovery');
  });

  it('that is killed while nobody is there leaves no server, even one that does not end', async () => {
    await start();
    const marked = `sleep 9${process.pid}.15`;
    const id = await spawn(`run: ${marked}`);
    await until('the command runs', () => processesWith(marked).length > 0);
    const [keeper, server] = [await keeperPid(), worker.serverPid!];
    await worker.suspend();
    process.kill(server, 'SIGSTOP');
    process.kill(keeper, 'SIGKILL');
    await until('the keeper is gone', () => !isAlive(keeper));
    expect(isAlive(server)).toBe(true);
    await start();
    // Killed they are by now; how soon the system lets them go is its own affair.
    await until('they are gone', () => !isAlive(server) && processesWith(marked).length === 0);
    await until('it asks', () => worker.tasks.get(id).pending[0]?.question.type === 'recovery');
  });

  it('talks to nobody without its token and a proof, and to the newest of its clients', async () => {
    await start();
    const id = await spawn('slow 3s');
    const { address, token } = await record();
    expect(await knock({ address, token: 'wrong' }, { keepMs: 30_000 })).toEqual({ kind: 'refused', reason: 'token' });
    // As a command in Codex's sandbox, which may read the token and cannot write what it is told to.
    const sandboxed = connect(address);
    sandboxed.write(`${JSON.stringify({ door: doorVersion, token, hello: { keepMs: 30_000 } })}\n{"written":true}\n`);
    expect(await text(sandboxed)).toMatch(/^\{"write":"[^"]+"\}\n\{"refused":\{"reason":"proof"\}\}\n$/);
    // What spoke to it without a door comes no further.
    const outdated = connect(address);
    outdated.write(`!${JSON.stringify({ hello: { token, keepMs: 30_000 } })}\n{"id":"x","method":"thread/list"}\n`);
    expect(await text(outdated)).toMatch(/^\{"refused":\{"reason":"[a-z]+"\}\}\n$/);
    expect(worker.tasks.get(id)).toMatchObject({ status: 'working', pending: [] });
    const newer = await knock({ address, token }, { keepMs: 30_000 });
    await until('the older one is cut off', () => worker.tasks.get(id).pending[0]?.question.type === 'recovery');
    if (newer.kind === 'in') newer.socket.destroy();
  });
});
