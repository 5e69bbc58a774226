import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Answer, Decision, RequestQuestion } from '../../src/core/pendingRequest';
import { type TaskSnapshot, taskTypes } from '../../src/core/taskSnapshot';
import { type CodexRig, startCodexRig, startWorker } from '../rig/codexRig';
import { until } from '../rig/until';

let rig: CodexRig;
let worker: Awaited<ReturnType<typeof startWorker>>;
let requestTimeoutMs: number | null = null;

const askManager = {
  type: 'function',
  name: 'ask_manager',
  description: 'Asks whoever gave the task.',
  inputSchema: { type: 'object', properties: { about: { type: 'string' } }, required: ['about'] },
};

beforeAll(async () => {
  const args = JSON.stringify([join(import.meta.dirname, '../fakes/mcpServer.mjs')]);
  const more = `\n[mcp_servers.fake]\ncommand = ${JSON.stringify(process.execPath)}\nargs = ${args}\n`;
  rig = await startCodexRig({ more });
  worker = await startWorker(rig, {
    settings: {
      requestTimeoutMs: () => requestTimeoutMs,
      approvalPolicy: () => 'untrusted',
      sandbox: () => 'workspace-write',
    },
    threadConfig: { 'features.request_permissions_tool': true },
    dynamicTools: [askManager],
    // What Codex itself asks is asked where there is no gate.
    gateless: true,
  });
});
afterAll(async () => {
  await worker.shutDown();
  await rig.dispose();
});
afterEach(async () => {
  requestTimeoutMs = null;
  await worker.tasks.cancel(worker.tasks.snapshots().map(({ id }) => id));
});

const caller = 'test';
const asPerson = { by: 'person', caller: 'person' } as const;
const decide = (decision: Decision): Answer => ({ kind: 'decision', decision });

/** What Codex asks when the model does one thing, and a sign of it in what the model is told then. */
interface Kind {
  readonly prompt: string;
  readonly question: Partial<RequestQuestion>;
  readonly accept: Answer;
  readonly accepted: RegExp;
  readonly declined: RegExp;
}

const permissions = { network: { enabled: true }, file_system: { write: ['/tmp/codex-worker-permitted'] } };
const kinds: Readonly<Record<string, Kind>> = {
  'a command': {
    prompt: 'run: echo asked',
    question: { type: 'command_approval', command: 'echo asked' },
    accept: decide('accept'),
    accepted: /asked/,
    declined: /rejected by user/,
  },
  'a file change': {
    prompt: 'patch: asked.txt words',
    question: { type: 'file_approval', reason: 'Once it is accepted it may leave the sandbox.' },
    accept: decide('accept'),
    accepted: /Success/,
    declined: /rejected by user/,
  },
  'a permission': {
    prompt: `tool: request_permissions ${JSON.stringify({ reason: 'for the test', permissions })}`,
    question: {
      type: 'permission_approval',
      summary: ['use the network', 'write /tmp/codex-worker-permitted'],
      reason: 'for the test',
    },
    accept: decide('accept'),
    accepted: /"network":\{"enabled":true\}.*"scope":"turn"/,
    declined: /"network":null/,
  },
  'a question': {
    prompt: 'ask Which one?',
    question: { type: 'user_input' },
    accept: { kind: 'input', answers: { q1: ['something else'] } },
    accepted: /something else/,
    declined: /"answers":\{\}/,
  },
  'a form': {
    prompt: 'tool: mcp__fake/form {}',
    question: { type: 'elicitation', mode: 'form', serverName: 'fake', message: 'Who are you?', toolCall: null },
    accept: { kind: 'form', action: 'accept', content: { name: 'Zed', count: 3 } },
    accepted: /form accept \{"name":"Zed","count":3\}|form accept \{"count":3,"name":"Zed"\}/,
    declined: /form decline/,
  },
  'a page': {
    prompt: 'tool: mcp__fake/page {}',
    question: { type: 'elicitation', mode: 'url', url: 'https://example.com/in', schema: null },
    accept: { kind: 'form', action: 'accept', content: null },
    accepted: /page accept/,
    declined: /page decline/,
  },
  'an MCP tool': {
    prompt: 'tool: mcp__fake/hello {}',
    question: { type: 'elicitation', toolCall: { tool: 'hello', description: 'Says hello.', arguments: {} } },
    accept: decide('accept'),
    accepted: /"text":"hello"/,
    declined: /rejected MCP tool call/,
  },
  'a dynamic tool': {
    prompt: 'tool: ask_manager {"about":"it"}',
    question: { type: 'dynamic_tool', toolName: 'ask_manager', arguments: { about: 'it' } },
    accept: { kind: 'tool', success: true, text: 'it is 42' },
    accepted: /it is 42/,
    declined: /Nobody answered/,
  },
};
const each = Object.entries(kinds);

/** A task that has asked its first question. */
async function asking(prompt: string): Promise<TaskSnapshot> {
  const { id } = await worker.tasks.spawn({ prompt }, caller);
  const { tasks } = await worker.tasks.wait({ caller, about: [id], until: 'any', timeoutMs: 20_000 });
  expect(tasks[0], worker.lines.join('\n')).toMatchObject({ status: 'input_required' });
  // Another one may have come at the same time.
  expect(tasks[0]!.pending[0]).toMatchObject({ id: 'r1' });
  return tasks[0]!;
}

async function finish(id: string): Promise<TaskSnapshot> {
  const { tasks, timedOut } = await worker.tasks.wait({ caller, about: [id], until: 'all', timeoutMs: 20_000 });
  expect(timedOut, worker.lines.join('\n')).toBe(false);
  return tasks[0]!;
}

/** What the model was told of the tools it called. */
function toolOutputs(): string {
  const outputs = rig.model.requests.at(-1)!.input.filter((item) => item.type.endsWith('_output'));
  return JSON.stringify(outputs.map((item) => item.output)).replaceAll('\\"', '"');
}

describe.each(each)('%s', (_name, { prompt, question, accept, accepted, declined }) => {
  it('is accepted, and the turn goes on', async () => {
    const { id, pending } = await asking(`${prompt}\nsay after`);
    expect(pending[0]?.question).toMatchObject(question);
    await worker.tasks.respond(id, undefined, accept, asPerson);
    expect(await finish(id)).toMatchObject({ status: 'completed', finalMessage: 'after', answered: { by: 'person' } });
    expect(toolOutputs()).toMatch(accepted);
  });

  it('is declined, and the turn goes on', async () => {
    const { id } = await asking(`${prompt}\nsay after`);
    await worker.tasks.respond(id, 'r1', decide('reject'), { by: 'agent', caller });
    expect(await finish(id)).toMatchObject({ status: 'completed', answered: { by: 'agent', outcome: 'declined' } });
    expect(toolOutputs()).toMatch(declined);
  });

  it('is declined with its turn', async () => {
    const { id } = await asking(`${prompt}\nsay after`);
    await worker.tasks.respond(id, 'r1', decide('cancel'), asPerson);
    expect(await finish(id)).toMatchObject({ status: 'cancelled', answered: { by: 'person' } });
  });

  it('is declined at its time limit', async () => {
    requestTimeoutMs = 100;
    const { id } = await worker.tasks.spawn({ prompt: `${prompt}\nsay after` }, caller);
    const task = await finishThroughNews(id);
    expect(task).toMatchObject({ status: 'completed', answered: { by: 'timeout', outcome: 'declined' } });
    expect(toolOutputs()).toMatch(declined);
    const { text } = await worker.tasks.readJournal(id, 'timeline', 0, 10_000);
    expect(text).toMatch(/\d\d:\d\d:\d\d ANSWER r1 by its time limit: declined/);
  });

  it('stays open when an answer is malformed, and refuses one that comes late', async () => {
    const { id, pending } = await asking(`${prompt}\nsay after`);
    for (const wrong of wrongAnswers(pending[0]!.question)) {
      await expect(worker.tasks.respond(id, 'r1', wrong, asPerson)).rejects.toMatchObject({ code: 'invalid_argument' });
    }
    expect(worker.tasks.get(id)).toMatchObject({ status: 'input_required', pending: [{ id: 'r1' }] });
    await worker.tasks.cancel([id]);
    await expect(worker.tasks.respond(id, 'r1', accept, asPerson)).rejects.toMatchObject({
      code: 'already_answered',
      message: 'Request r1 was withdrawn by the end of its turn, so nobody waits for an answer.',
    });
  });
});

/** An answer of every kind, none of which fits the question. */
function wrongAnswers(question: RequestQuestion): Answer[] {
  const all: readonly Answer[] = [
    { kind: 'rule', rule: { kind: 'command', prefix: ['rm'] } },
    { kind: 'input', answers: { q1: [''] } },
    { kind: 'input', answers: { q9: ['x'] } },
    { kind: 'form', action: 'accept', content: { count: 0 } },
    { kind: 'tool', success: true, text: 'x' },
    decide('accept'),
    decide('accept_for_session'),
  ];
  const isToolCall = question.type === 'elicitation' && question.toolCall !== null;
  const fits =
    question.type.endsWith('_approval') || isToolCall ? 'decision' : question.type === 'dynamic_tool' ? 'tool' : '';
  // The form of a tool call has no fields that could be wrong.
  return all.filter(({ kind }) => kind !== fits && !(isToolCall && kind === 'form'));
}

async function finishThroughNews(id: string): Promise<TaskSnapshot> {
  for (;;) {
    const { tasks } = await worker.tasks.wait({ caller, about: [id], until: 'any', timeoutMs: 20_000 });
    if (tasks[0]!.status !== 'input_required' && tasks[0]!.status !== 'working') return tasks[0]!;
  }
}

it('a file that is moved says where it goes, apart from its patch', async () => {
  await writeFile(join(rig.workspace, 'old.txt'), 'one\n');
  const patch = String.raw`*** Begin Patch\n*** Update File: old.txt\n*** Move to: new.txt\n@@\n-one\n+two\n*** End Patch`;
  const { id, pending } = await asking(`patch-raw: ${patch}\nsay after`);
  const [from, to] = ['old.txt', 'new.txt'].map((name) => join(rig.workspace, name));
  expect(pending[0]?.question).toEqual({
    type: 'file_approval',
    reason: 'Once it is accepted it may leave the sandbox.',
    changes: [{ path: from, movedTo: to, kind: 'update', patch: '@@ -1 +1 @@\n-one\n+two\n' }],
  });
  await worker.tasks.respond(id, 'r1', decide('accept'), asPerson);
  expect(await finish(id)).toMatchObject({ changedFiles: [{ path: to, kind: 'update', added: 1, removed: 1 }] });
});

describe('for this session', () => {
  it.each(['a command', 'a file change', 'an MCP tool'])('%s is asked once', async (name) => {
    const { prompt } = kinds[name]!;
    const { id } = await asking(`${prompt}\n${prompt}\nsay after`);
    await worker.tasks.respond(id, 'r1', decide('accept_for_session'), asPerson);
    expect(await finish(id)).toMatchObject({
      status: 'completed',
      answered: { id: 'r1', outcome: 'accepted for this session' },
    });
  });

  it('a permission is granted for all turns', async () => {
    const { id } = await asking(`${kinds['a permission']!.prompt}\nsay after`);
    await worker.tasks.respond(id, 'r1', decide('accept_for_session'), asPerson);
    await finish(id);
    expect(toolOutputs()).toMatch(/"scope":"session"/);
  });

  it('a form has no such thing', async () => {
    const { id } = await asking(kinds['a form']!.prompt);
    await expect(worker.tasks.respond(id, 'r1', decide('accept_for_session'), asPerson)).rejects.toMatchObject({
      code: 'invalid_argument',
    });
  });
});

describe('for good', () => {
  it('a person allows what begins like the command, which Codex keeps in its rules', async () => {
    const { id, pending } = await asking('run: echo for good\nrun: echo for good and more\nsay after');
    const rule = { kind: 'command', prefix: ['echo', 'for', 'good'] } as const;
    expect(pending[0]?.question).toMatchObject({ rules: [rule] });
    const answer: Answer = { kind: 'rule', rule };
    await expect(worker.tasks.respond(id, 'r1', answer, { by: 'agent', caller })).rejects.toMatchObject({
      code: 'approval_required',
    });
    await worker.tasks.respond(id, 'r1', answer, asPerson);
    expect(await finish(id)).toMatchObject({ status: 'completed', answered: { id: 'r1' } });
    expect(await readFile(join(rig.codexHome, 'rules/default.rules'), 'utf8')).toContain('["echo", "for", "good"]');
  });

  it('a person allows a tool of an MCP server, which Codex keeps in its configuration', async () => {
    const { prompt } = kinds['an MCP tool']!;
    const { id } = await asking(`${prompt}\n${prompt}\nsay after`);
    const rule = { kind: 'tool', server: 'fake', tool: 'hello' } as const;
    await worker.tasks.respond(id, 'r1', { kind: 'rule', rule }, asPerson);
    expect(await finish(id)).toMatchObject({ status: 'completed', answered: { id: 'r1' } });
    expect(await readFile(join(rig.codexHome, 'config.toml'), 'utf8')).toContain('approval_mode = "approve"');
  });
});

describe('races', () => {
  it('an interrupt against an answer ends in one recorded outcome, and no turn hangs', async () => {
    for (let round = 0; round < 10; round++) {
      const { id } = await asking('run: echo raced\nsay after');
      const answer = () => worker.tasks.respond(id, 'r1', decide('accept'), asPerson);
      const cancel = () => worker.tasks.cancel([id]);
      const answerFirst = round % 2 === 0;
      const [first, second] = await Promise.allSettled(answerFirst ? [answer(), cancel()] : [cancel(), answer()]);
      const { status, pending, leftovers, answers } = worker.tasks.get(id);
      expect([status, pending, leftovers, answers.length]).toEqual(['cancelled', [], [], 1]);
      const told = answerFirst ? first : second;
      if (!answerFirst)
        expect([told.status, answers[0]]).toMatchObject(['rejected', { by: 'stop', outcome: 'withdrawn' }]);
      // An answer that was first either reached Codex or says that it came too late.
      else if (told.status === 'rejected') expect(told.reason).toMatchObject({ code: 'already_answered' });
      if (answerFirst) expect(answers[0]).toMatchObject({ by: 'person', outcome: 'accepted' });
    }
  });

  it('an answer after one that ends the turn is refused, and nothing is run', async () => {
    const { id } = await asking('par: tool: ask_manager {} || run: touch never.txt\nsay after');
    await until('both ask', () => worker.tasks.get(id).pending.length === 2);
    const { pending } = worker.tasks.get(id);
    const idOf = (type: string) => pending.find(({ question }) => question.type === type)!.id;
    const answered = worker.tasks.respond(id, idOf('dynamic_tool'), decide('cancel'), asPerson);
    await expect(worker.tasks.respond(id, idOf('command_approval'), decide('accept'), asPerson)).rejects.toMatchObject({
      code: 'already_answered',
    });
    await answered;
    expect(await finish(id)).toMatchObject({ status: 'cancelled' });
    expect(await readdir(rig.workspace)).not.toContain('never.txt');
  });

  it('the same request of several tasks is kept apart', async () => {
    const tasks = await Promise.all([1, 2, 3].map((n) => asking(`run: echo apart ${n}\nsay after ${n}`)));
    await worker.tasks.respond(tasks[1]!.id, 'r1', decide('accept'), asPerson);
    expect(await finish(tasks[1]!.id)).toMatchObject({ finalMessage: 'after 2' });
    expect([0, 2].map((index) => worker.tasks.get(tasks[index]!.id).status)).toEqual([
      'input_required',
      'input_required',
    ]);
  });

  it('Codex dying with something pending fails the task, and a late answer says so', async () => {
    const { id } = await asking('run: echo dying\nsay after');
    process.kill(worker.serverPid!, 'SIGKILL');
    expect(await finish(id)).toMatchObject({ status: 'failed', pending: [], error: { code: 'codex_crashed' } });
    await expect(worker.tasks.respond(id, 'r1', decide('accept'), asPerson)).rejects.toMatchObject({
      code: 'already_answered',
    });
  });
});

it.each(taskTypes)('a %s can ask, in its first turn and after its thread was resumed', async (taskType) => {
  const { id } = await worker.tasks.spawn({ prompt: 'ask Which one?\nsay after', taskType }, caller);
  for (const request of ['r1', 'r2']) {
    await until('it asks', () => worker.tasks.get(id).pending[0]?.id === request);
    await worker.tasks.respond(id, request, { kind: 'input', answers: { q1: ['Beta'] } }, asPerson);
    expect(await finishThroughNews(id)).toMatchObject({ status: 'completed', finalMessage: 'after' });
    expect(toolOutputs()).toContain('"answers":["Beta"]');
    const text = JSON.stringify(rig.model.requests.at(-1)!.input);
    expect(text.includes('<collaboration_mode># Plan Mode')).toBe(taskType === 'planner');
    if (request === 'r1') await worker.tasks.message(id, { text: 'ask And now?\nsay after', mode: 'auto' }, caller);
  }
});

it('a secret answer reaches the model and is in no file and no log of ours', async () => {
  const secret = `hunter-${process.pid}`;
  const options = ['one', 'two'].map((label) => ({ label, description: 'An option.' }));
  const questions = [{ id: 'q1', header: 'Token', question: 'Your token?', isSecret: true, options }];
  const { id, pending } = await asking(`tool: request_user_input ${JSON.stringify({ questions })}\nsay after`);
  expect(pending[0]?.question).toMatchObject({ questions: [{ isSecret: true, allowFreeform: true }] });
  await expect(
    worker.tasks.respond(id, 'r1', { kind: 'input', answers: { q1: [secret, ' '] } }, asPerson),
  ).rejects.not.toThrow(secret);
  await worker.tasks.respond(id, 'r1', { kind: 'input', answers: { q1: [secret] } }, asPerson);
  expect(await finish(id)).toMatchObject({ answered: { outcome: 'answered: Token: (secret)' } });
  expect(toolOutputs()).toContain(secret);
  const { dir } = worker.tasks.paths(id);
  await until('the journals are written', async () => (await textsIn(dir))?.join('\n').includes('say after'));
  const texts = await until('nothing is replaced meanwhile', () => textsIn(rig.stateDir));
  expect([...texts, ...worker.lines].filter((text) => text.includes(secret))).toEqual([]);
});

/** The texts of all files below a directory; null when one of them was replaced before it was read. */
async function textsIn(dir: string): Promise<string[] | null> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return Promise.all(files.map((entry) => readFile(join(entry.parentPath, entry.name), 'utf8'))).catch(() => null);
}
