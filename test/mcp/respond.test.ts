import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type CodexRig, startCodexRig, startWorker } from '../rig/codexRig';
import { until } from '../rig/until';
import {
  call,
  callRefused,
  connectHttp,
  connectStdio,
  type ElicitHandler,
  type Json,
  startTestHost,
} from '../rig/mcpRig';

let rig: CodexRig;
let worker: Awaited<ReturnType<typeof startWorker>>;
let client: Client;
const closing: (() => Promise<unknown>)[] = [];

const askManager = { type: 'function', name: 'ask_manager', description: 'Asks.', inputSchema: { type: 'object' } };

beforeAll(async () => {
  const args = JSON.stringify([join(import.meta.dirname, '../fakes/mcpServer.mjs')]);
  rig = await startCodexRig({
    more: `\n[mcp_servers.fake]\ncommand = ${JSON.stringify(process.execPath)}\nargs = ${args}\n`,
  });
});
afterAll(() => rig.dispose());
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** A worker in which an agent may not approve, as in the editor. */
async function connect(elicit?: ElicitHandler, threadConfig: Json = {}): Promise<void> {
  worker = await startWorker(rig, {
    threadConfig,
    settings: { approvalPolicy: () => 'untrusted', agentMayApprove: () => 'ask', recovery: () => 'ask' },
    dynamicTools: [askManager],
  });
  closing.push(() => worker.shutDown());
  const host = await startTestHost(worker, 'socket');
  closing.push(() => host.close());
  client = await connectHttp(host, elicit);
  closing.push(() => client.close());
}

async function asked(prompt: string): Promise<{ task_id: string; question: Json }> {
  const text = `${prompt}\nsay after`;
  const result = await call(client, 'spawn-task', { prompt: text, wait_ms: 20_000 });
  expect(result).toMatchObject({ status: 'input_required' });
  return { task_id: String(result.task_id), question: result.pending_question as Json };
}

/** What the model was told of the last tool that it called. */
function lastOutput(): string {
  const outputs = rig.model.requests.at(-1)!.input.filter((item) => item.type.endsWith('_output'));
  return JSON.stringify(outputs.at(-1)?.output).replaceAll('\\"', '"');
}

const person = { by: 'person', caller: 'person' } as const;

describe('an agent', () => {
  it('answers a question with an option, and with text of its own', async () => {
    await connect();
    const { task_id, question } = await asked('ask Which one?');
    expect(question).toEqual({
      type: 'user_input',
      request_id: 'r1',
      questions: [
        {
          id: 'q1',
          header: 'Choice',
          text: 'Which one?',
          options: [
            { label: 'Alpha (Recommended)', description: 'The first one.' },
            { label: 'Beta', description: 'The second one.' },
          ],
          allow_freeform: true,
          is_secret: false,
        },
      ],
    });
    const type = 'user_input';
    expect(
      await call(client, 'respond-task', { task_id, type, answers: { q1: 'Beta' }, wait_ms: 20_000 }),
    ).toMatchObject({
      status: 'completed',
      answered_by: 'agent',
      answered: [{ request_id: 'r1', type, by: 'agent', outcome: 'answered: Choice: Beta' }],
    });
    expect(lastOutput()).toContain('"answers":["Beta"]');
    const again = await asked('ask Which one?');
    const answers = { q1: ['Beta', 'and a note'] };
    await call(client, 'respond-task', { task_id: again.task_id, type, answers, wait_ms: 20_000 });
    expect(lastOutput()).toContain('"answers":["Beta","and a note"]');
  });

  it('fills in a form, and answers a page and a tool', async () => {
    await connect();
    const form = await asked('tool: mcp__fake/form {}');
    expect(form.question).toMatchObject({
      type: 'elicitation',
      server_name: 'fake',
      mode: 'form',
      message: 'Who are you?',
      schema: { required: ['name'] },
    });
    const content = { name: 'Zed', size: 'small' };
    await call(client, 'respond-task', {
      task_id: form.task_id,
      type: 'elicitation',
      action: 'accept',
      content,
      wait_ms: 20_000,
    });
    expect(lastOutput()).toMatch(/form accept/);
    const page = await asked('tool: mcp__fake/page {}');
    expect(page.question).toMatchObject({ mode: 'url', url: 'https://example.com/in' });
    await call(client, 'respond-task', { ...idAnd(page, 'elicitation'), action: 'decline', wait_ms: 20_000 });
    expect(lastOutput()).toMatch(/page decline/);
    const tool = await asked('tool: ask_manager {"about":"it"}');
    expect(tool.question).toMatchObject({ type: 'dynamic_tool', tool_name: 'ask_manager', arguments: { about: 'it' } });
    await call(client, 'respond-task', { ...idAnd(tool, 'dynamic_tool'), result: { answer: 42 }, wait_ms: 20_000 });
    expect(lastOutput()).toContain('{"answer":42}');
  });

  it('may not accept the call of an MCP tool for the person', async () => {
    await connect();
    const tool = await asked('tool: mcp__fake/hello {}');
    expect(tool.question).toMatchObject({ tool_call: { tool: 'hello', arguments: {} } });
    const accept = { ...idAnd(tool, 'elicitation'), action: 'accept' };
    expect((await callRefused(client, 'respond-task', accept)).error).toMatchObject({ code: 'approval_required' });
    await call(client, 'respond-task', { ...accept, action: 'decline', wait_ms: 20_000 });
    expect(lastOutput()).toMatch(/rejected MCP tool call/);
  });

  it('may not accept it either where Codex asks for it with a question, nor open a page for the person', async () => {
    await connect(undefined, { 'features.tool_call_mcp_elicitation': false });
    const tool = await asked('tool: mcp__fake/hello {}');
    const [first] = tool.question.questions as { id: string; options: { label: string }[] }[];
    expect(tool.question.type).toBe('user_input');
    const allow = { ...idAnd(tool, 'user_input'), answers: { [first!.id]: first!.options[0]!.label } };
    expect((await callRefused(client, 'respond-task', allow)).error).toMatchObject({ code: 'approval_required' });
    const decline = { ...idAnd(tool, 'user_input'), decision: 'reject', wait_ms: 20_000 };
    expect(await call(client, 'respond-task', decline)).toMatchObject({ status: 'completed' });
    expect(lastOutput()).not.toContain('"text":"hello"');
    const page = await asked('tool: mcp__fake/page {}');
    const open = { ...idAnd(page, 'elicitation'), action: 'accept' };
    expect((await callRefused(client, 'respond-task', open)).error).toMatchObject({ code: 'approval_required' });
  });

  it('is shown each of several requests of one task in full, one at a time', async () => {
    await connect();
    const { task_id, question } = await asked('par: tool: ask_manager {"n":1} || tool: ask_manager {"n":2}');
    await until('both are pending', () => worker.tasks.get(task_id).pending.length === 2);
    // Codex runs them side by side, in any order.
    const { n } = question.arguments as { n: number };
    expect([question.request_id, [1, 2].includes(n)]).toEqual(['r1', true]);
    const second = await call(client, 'wait-task', {});
    expect(second.tasks).toMatchObject([
      { pending_question: { request_id: 'r2', arguments: { n: 3 - n } }, more_pending: 1 },
    ]);
    expect(second.next).toBe(
      `${task_id} asks. Answer with respond-task type dynamic_tool and request_id r2, or wait again: a person can answer in the editor.`,
    );
    const waiting = call(client, 'wait-task', { timeout_ms: 20_000 });
    await worker.tasks.respond(task_id, 'r1', { kind: 'tool', success: true, text: 'x' }, person);
    expect((await waiting).tasks).toMatchObject([
      { task_id, answered_by: 'person', pending_question: { request_id: 'r2' } },
    ]);
  });

  it('is asked whether a task goes on whose Codex died, and lets it', async () => {
    await connect();
    const { task_id } = await asked('run: echo asked');
    const waiting = call(client, 'wait-task', { task_id, timeout_ms: 20_000 });
    process.kill(worker.serverPid!, 'SIGKILL');
    await waiting;
    const asks = await call(client, 'wait-task', { task_id, timeout_ms: 20_000 });
    expect(asks).toMatchObject({
      status: 'input_required',
      pending_question: {
        type: 'recovery',
        message: 'Codex stopped in the middle of this turn. Continue in a new one?',
      },
      next: 'Answer with respond-task type recovery, or wait again: a person can answer in the editor.',
    });
    const accept = { task_id, type: 'recovery', decision: 'accept', wait_ms: 20_000 };
    expect(await call(client, 'respond-task', accept)).toMatchObject({ status: 'completed', turn: 2 });
  });

  it('is told by the resource all of a question that a result cuts', async () => {
    await connect();
    const long = 'why '.repeat(5_000);
    const { task_id, question } = await asked(`ask ${long}`);
    const [first] = question.questions as { text: string }[];
    const [, uri] = /bytes cut, see (task:[^\]]+)\]$/.exec(first!.text) ?? [];
    const { contents } = await client.readResource({ uri: uri! });
    expect((contents[0] as { text: string }).text).toContain(long.trim());
    expect(uri).toBe(`task:///${task_id}`);
  });
});

function idAnd({ task_id }: { task_id: string }, type: string): Json {
  return { task_id, type };
}

describe('a wrong answer', () => {
  const type = 'user_input';
  it.each([
    [
      'of another type',
      { type: 'command_approval', decision: 'reject' },
      'invalid_argument',
      /of type user_input, not/,
    ],
    ['of a type that there is not', { type: 'yes' }, 'invalid_argument', /must be one of command_approval/],
    ['to a foreign request', { type, request_id: 'r7', answers: { q1: 'x' } }, 'no_pending_request', /"r7"/],
    ['without answers', { type }, 'invalid_argument', /answers: is missing/],
    ['that is empty', { type, answers: { q1: '' } }, 'invalid_argument', /answers.q1: is empty/],
    ['that is no text', { type, answers: { q1: [] } }, 'invalid_argument', /answers.q1: is empty/],
    ['to no question', { type, answers: {} }, 'invalid_argument', /answers.q1: is empty/],
    [
      'to an unknown question',
      { type, answers: { q1: 'x', __proto__x: 'y' } },
      'invalid_argument',
      /no question "__pro/,
    ],
    ['with a foreign field', { type, action: 'accept' }, 'invalid_argument', /action: does not belong to type/],
    ['that accepts', { type, decision: 'accept' }, 'invalid_argument', /decision: accept is no answer/],
    ['that is a number', { type, answers: { q1: 5 } }, 'invalid_argument', /answers.q1: must be a text or an array/],
    ['from a cut text', { type, answers: { q1: 'x…[9 bytes cut, see task:///a-b-1]' } }, 'invalid_argument', /was cut/],
    ['with an unknown field', { type, answer: 'x' }, 'invalid_argument', /unknown field "answer"/],
  ])('%s says what is pending and how to answer it, and the request stays open', async (_name, args, code, message) => {
    await connect();
    const { task_id } = await asked('ask Which one?');
    const { error } = await callRefused(client, 'respond-task', { task_id, ...args });
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) as string });
    expect(error.hint).toMatch(/Answer with|answers|Fields|must be|Read the whole/);
    expect(worker.tasks.get(task_id)).toMatchObject({ status: 'input_required', pending: [{ id: 'r1' }] });
  });

  it('to a form or a tool says what its schema wants', async () => {
    await connect();
    const form = await asked('tool: mcp__fake/form {}');
    const wrong = { ...idAnd(form, 'elicitation'), action: 'accept', content: { count: 10, size: 'huge' } };
    const { error } = await callRefused(client, 'respond-task', wrong);
    expect(error.message).toMatch(/content\.name: .*content\.size|content\.size.*content\.name/s);
    expect(error.hint).toContain('"required":["name"]');
    await call(client, 'cancel-task', { task_id: form.task_id });
    const tool = await asked('tool: ask_manager {}');
    for (const args of [{}, { result: 'x', error: 'y' }]) {
      expect(
        (await callRefused(client, 'respond-task', { ...idAnd(tool, 'dynamic_tool'), ...args })).error,
      ).toMatchObject({
        message: 'result, error: exactly one of them is needed.',
      });
    }
  });

  it('for a finished task, and one without an id when several are pending', async () => {
    await connect();
    const several = await asked('par: run: echo 1 || run: echo 2');
    const without = { task_id: several.task_id, type: 'command_approval', decision: 'reject' };
    await until('both ask', () => worker.tasks.get(several.task_id).pending.length === 2);
    expect((await callRefused(client, 'respond-task', without)).error).toMatchObject({
      code: 'invalid_argument',
      message: `request_id: task ${several.task_id} has several pending requests.`,
      hint: expect.stringMatching(/Pending: r1 \(command_approval.*r2 \(command_approval/s) as string,
    });
    await call(client, 'cancel-task', { task_id: several.task_id });
    const { task_id } = await call(client, 'spawn-task', { prompt: 'say over', wait_ms: 20_000 });
    expect((await callRefused(client, 'respond-task', { task_id, type, answers: { q1: 'x' } })).error).toMatchObject({
      code: 'no_pending_request',
      message: `Task ${String(task_id)} is completed and has no pending request.`,
    });
  });
});

describe('MCP elicitation', () => {
  const approve: ElicitHandler = ({ requestedSchema }) => {
    expect(requestedSchema.properties.decision).toMatchObject({ type: 'string' });
    return Promise.resolve({ action: 'accept', content: { decision: 'accept' } });
  };

  it('asks the person behind a caller that waits, who approves, and the wait goes on to the end', async () => {
    const messages: string[] = [];
    await connect((params, signal) => {
      messages.push(params.message);
      return approve(params, signal);
    });
    const args = { prompt: 'run: echo elicited\nsay after', wait_ms: 20_000 };
    expect(await call(client, 'spawn-task', args)).toMatchObject({
      status: 'completed',
      final_message: 'after',
      answered_by: 'person',
    });
    expect(messages).toEqual([expect.stringContaining('asks to run: echo elicited')]);
  });

  it('asks a question with its options, and a text of one’s own wins', async () => {
    await connect(({ requestedSchema }) => {
      expect(requestedSchema.properties.answer1).toMatchObject({ enum: ['Alpha (Recommended)', 'Beta'] });
      return Promise.resolve({ action: 'accept', content: { answer1: 'Beta', other1: 'neither' } });
    });
    const args = { prompt: 'ask Which one?\nsay after', wait_ms: 20_000 };
    expect(await call(client, 'spawn-task', args)).toMatchObject({ status: 'completed' });
    expect(lastOutput()).toContain('"answers":["neither"]');
  });

  it('asks one request after the other, of all tasks that are waited for', async () => {
    const messages: string[] = [];
    await connect((params, signal) => {
      messages.push(/asks to run: (.*)\n/.exec(params.message)?.[1] ?? '');
      return approve(params, signal);
    });
    const prompts = ['par: run: echo 1 || run: echo 2 || run: echo 3', 'run: echo 4'];
    const tasks = await Promise.all(prompts.map((prompt) => call(client, 'spawn-task', { prompt })));
    const ids = tasks.map((task) => task.task_id);
    const done = await call(client, 'wait-task', { task_id: ids, until: 'all', timeout_ms: 20_000 });
    expect(done.tasks).toMatchObject([{ status: 'completed' }, { status: 'completed' }]);
    expect(messages.sort()).toEqual(['echo 1', 'echo 2', 'echo 3', 'echo 4']);
  });

  it('asks again when an answer does not fit, and says why', async () => {
    const messages: string[] = [];
    await connect(({ message }) => {
      messages.push(message);
      const content = messages.length < 3 ? { count: 77, name: 'x' } : { count: 7, name: 'x' };
      return Promise.resolve({ action: 'accept', content });
    });
    const args = { prompt: 'tool: mcp__fake/form {}\nsay after', wait_ms: 20_000 };
    expect(await call(client, 'spawn-task', args)).toMatchObject({ status: 'completed', answered_by: 'person' });
    expect(messages.slice(1)).toEqual(Array(2).fill(expect.stringMatching(/^content\.count: Too big/)));
  });

  it('does not hide another end, and a wait that is cancelled leaves the request to the next one', async () => {
    const open: AbortSignal[] = [];
    await connect((_params, signal) => {
      open.push(signal);
      return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('withdrawn'))));
    });
    const prompts = ['run: echo waits', 'slow 1s'];
    const spawned = await Promise.all(prompts.map((prompt) => call(client, 'spawn-task', { prompt })));
    const first = await call(client, 'wait-task', { timeout_ms: 20_000 });
    expect((first.tasks as Json[]).find((task) => task.task_id === spawned[1]!.task_id)).toMatchObject({
      status: 'completed',
    });
    await until('the form is withdrawn', () => open.every((signal) => signal.aborted) && open.length > 0);
    const abort = new AbortController();
    const task = await call(client, 'spawn-task', { prompt: 'run: echo again' });
    const cancelled = call(client, 'wait-task', { task_id: task.task_id }, { signal: abort.signal });
    await until('it is asked', () => open.length > 1);
    abort.abort('enough');
    await expect(cancelled).rejects.toThrow(/enough/);
    const next = await call(client, 'wait-task', { task_id: task.task_id, timeout_ms: 0 });
    expect(next).toMatchObject({ pending_question: { command: 'echo again' } });
  });

  it('that is dismissed leaves the request open, and one that is declined rejects it', async () => {
    let action: 'cancel' | 'decline' = 'cancel';
    // A person reads it first.
    await connect(() => delay(400).then(() => ({ action })));
    const args = { prompt: 'run: echo elicited\nsay after', wait_ms: 20_000 };
    expect(await call(client, 'spawn-task', args)).toMatchObject({ status: 'input_required' });
    action = 'decline';
    expect(await call(client, 'spawn-task', args)).toMatchObject({
      status: 'completed',
      answered: [{ by: 'person', outcome: 'declined' }],
    });
  });

  it('that is declined at once was seen by nobody: the request stays open', async () => {
    let asked = 0;
    await connect(() => {
      asked++;
      return Promise.resolve({ action: 'decline' });
    });
    const args = { prompt: 'run: echo elicited\nsay after', wait_ms: 20_000 };
    const waiting = await call(client, 'spawn-task', args);
    expect([asked, waiting]).toMatchObject([1, { status: 'input_required', pending_question: { request_id: 'r1' } }]);
  });

  it('is withdrawn when somebody else answers first', async () => {
    let onWithdrawn: () => void = () => undefined;
    const withdrawn = new Promise<void>((resolve) => (onWithdrawn = resolve));
    await connect((_params, signal) => {
      const [task] = worker.tasks.snapshots();
      const answer = { kind: 'decision', decision: 'accept' } as const;
      void worker.tasks.respond(task!.id, 'r1', answer, { by: 'person', caller: 'person' });
      return new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          onWithdrawn();
          reject(new Error('withdrawn'));
        });
      });
    });
    const args = { prompt: 'run: echo elicited\nslow 60s', wait_ms: 5_000 };
    expect(await call(client, 'spawn-task', args)).toMatchObject({ status: 'working', answered_by: 'person' });
    await withdrawn;
  });

  it.each([
    [[], 'input_required'],
    [['--elicitation'], 'completed'],
  ])('over stdio %j: a request ends as %s', async (flags, status) => {
    ({ client } = await connectStdio(rig, flags, approve));
    closing.push(() => client.close());
    const args = { prompt: 'run: echo elicited\nsay after', approval_policy: 'untrusted', wait_ms: 20_000 };
    expect(await call(client, 'spawn-task', args)).toMatchObject({ status });
  });
});

it('over stdio, full access is refused without --allow-full-access, saying what to do', async () => {
  ({ client } = await connectStdio(rig, [], undefined, { fullAccess: false }));
  closing.push(() => client.close());
  const { error } = await callRefused(client, 'spawn-task', { prompt: 'say hi', sandbox: 'danger-full-access' });
  expect(error).toMatchObject({
    code: 'full_access_not_allowed',
    hint: expect.stringContaining('--allow-full-access') as string,
  });
});

it('over stdio, --request-timeout declines what nobody answers', async () => {
  ({ client } = await connectStdio(rig, ['--request-timeout', '0.005']));
  closing.push(() => client.close());
  const args = { prompt: 'run: echo late\nsay after', approval_policy: 'untrusted', wait_ms: 20_000 };
  const { task_id } = await call(client, 'spawn-task', args);
  const waited = await call(client, 'wait-task', { task_id, timeout_ms: 20_000 });
  expect(waited).toMatchObject({ answered_by: 'timeout', answered: [{ outcome: 'declined' }] });
});
