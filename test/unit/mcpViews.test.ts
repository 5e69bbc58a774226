import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RequestQuestion } from '../../src/core/pendingRequest';
import type { TaskSnapshot } from '../../src/core/taskSnapshot';
import type { WaitResult } from '../../src/core/waiting';
import { cut, cutPath, jsonBytes, resultLimit } from '../../src/mcp/fit';
import { pipeUri } from '../../src/mcp/httpHost';
import { taskListResult as listSchema, taskResult as resultSchema } from '../../src/mcp/schemas';
import { taskListResult, taskResult } from '../../src/mcp/taskView';
import type { JournalPart } from '../../src/core/ports';
import type { TaskManager } from '../../src/core/taskManager';
import { readResource } from '../../src/mcp/resources';
import { StdioClient } from '../../src/pipe/stdioClient';
import { parseTaskUri } from '../../src/mcp/uris';
import { base, command, pending } from '../fakes/snapshots';

/** What a wait gives whose caller is shown the first request of one task, by default of the first that asks. */
function waited(tasks: readonly TaskSnapshot[], asks = tasks.find(({ pending }) => pending.length > 0)): WaitResult {
  const request = asks?.pending[0];
  const shown = asks && request ? { taskId: asks.id, request } : null;
  return { tasks, more: 0, shown, newAnswers: new Map(), timedOut: false, elsewhere: null };
}

const context = { now: 9_000, advice: { agentMayAccept: () => true, personPresent: true } };

/** Text of every kind that is costly as JSON or as UTF-8. */
const nasty = fc.string({ unit: fc.constantFrom('a', '"', '\\', '\n', '\u0001', 'é', '日', '😀'), maxLength: 12_000 });

/** Any JSON, with long and costly texts. */
const json = fc.dictionary(
  nasty.map((text) => text.slice(0, 20)),
  fc.oneof(nasty, fc.integer()),
  { maxKeys: 8 },
);

const questions: fc.Arbitrary<RequestQuestion> = fc.oneof(
  fc.record({ type: fc.constant('command_approval' as const), command: nasty, cwd: nasty, reason: fc.option(nasty), rules: fc.constant([]) }),
  fc.record({
    type: fc.constant('file_approval' as const),
    reason: fc.option(nasty),
    changes: fc.array(fc.record({ path: nasty, kind: fc.constant('add' as const), patch: nasty }), { maxLength: 30 }),
  }),
  fc.record({ type: fc.constant('permission_approval' as const), permissions: json, summary: fc.array(nasty), reason: fc.option(nasty) }),
  fc.record({
    type: fc.constant('user_input' as const), forPerson: fc.boolean(),
    questions: fc.array(fc.record({
      id: nasty, header: nasty, text: nasty, allowFreeform: fc.boolean(), isSecret: fc.boolean(),
      options: fc.array(fc.record({ label: nasty, description: nasty }), { maxLength: 20 }),
    }), { maxLength: 10 }),
  }),
  fc.record({
    type: fc.constant('elicitation' as const), serverName: nasty, mode: fc.constantFrom('form', 'url'), message: nasty,
    forPerson: fc.boolean(), schema: fc.option(json), url: fc.option(nasty), forSession: fc.boolean(), rules: fc.constant([]),
    toolCall: fc.option(fc.record({ tool: nasty, description: fc.option(nasty), arguments: json })),
  }),
  fc.record({ type: fc.constant('dynamic_tool' as const), toolName: nasty, arguments: json }),
); // prettier-ignore

const snapshots: fc.Arbitrary<TaskSnapshot> = fc.record({
  status: fc.constantFrom('working', 'input_required', 'completed', 'failed', 'cancelled'),
  labels: fc.array(nasty.map((text) => text.slice(0, 50)), { maxLength: 10 }),
  outputTail: nasty,
  finalMessage: fc.option(nasty),
  diff: nasty,
  lastCommand: fc.option(nasty),
  plan: fc.array(fc.record({ step: nasty, status: fc.constantFrom('pending', 'completed') }), { maxLength: 40 }),
  changedFiles: fc.array(fc.record({ path: nasty, kind: fc.constant('add'), added: fc.nat(), removed: fc.nat() }), { maxLength: 60 }),
  pending: fc.array(
    fc.record({
      id: fc.constantFrom('r1', 'r2'),
      askedAt: fc.nat(),
      expiresAt: fc.constant(null),
      question: questions,
    }),
    { maxLength: 300, size: 'max' },
  ),
  error: fc.option(fc.record({ code: fc.constant('model_error'), message: nasty, retryable: fc.boolean(), hint: fc.constant('again') })),
}).map((parts) => ({ ...base, ...parts })); // prettier-ignore

describe('a result', () => {
  it('stays below 8 KiB and keeps its form, whatever a task holds', () => {
    fc.assert(
      fc.property(snapshots, fc.boolean(), (task, timedOut) => {
        const result = taskResult(task, { ...waited([task]), timedOut }, context);
        expect(jsonBytes(result)).toBeLessThan(resultLimit);
        resultSchema.parse(result);
      }),
      { numRuns: 60 },
    );
  });

  it('of many tasks does too', () => {
    fc.assert(
      fc.property(fc.array(snapshots, { maxLength: 5 }), fc.integer({ min: 1, max: 10 }), (some, times) => {
        const tasks = Array.from({ length: times }, () => some)
          .flat()
          .map((task, index) => ({ ...task, id: `a-b-${index}` }));
        const result = taskListResult(waited(tasks), context);
        expect(jsonBytes(result)).toBeLessThan(resultLimit);
        listSchema.parse(result);
        expect(result.tasks).toHaveLength(tasks.length);
      }),
      { numRuns: 20 },
    );
  });

  it('names 50 tasks that all ask', () => {
    const question = command('x'.repeat(5_000));
    const tasks = Array.from({ length: 50 }, (_, index): TaskSnapshot => {
      const id = `quick-dolphin-${1_000 + index}`;
      return {
        ...base,
        id,
        status: 'input_required',
        activity: 'x'.repeat(80),
        pending: [{ ...pending(question), id: 'r10' }],
      };
    });
    const result = taskListResult(waited(tasks, tasks[7]), context);
    expect(jsonBytes(result)).toBeLessThan(resultLimit);
    expect(result.tasks).toHaveLength(50);
    expect(
      result.tasks.flatMap((task) => (task.pending_question && 'command' in task.pending_question ? task.task_id : [])),
    ).toEqual([tasks[7]!.id]);
  });

  it('shows a small task whole', () => {
    const task = {
      ...base,
      status: 'completed',
      endedAt: 3_000,
      finalMessage: 'done',
      outputTail: '$ ls\na\n',
    } as const;
    expect(taskResult(task, waited([task]), context)).toEqual({
      task_id: 'bold-falcon-42',
      status: 'completed',
      provider_session_id: null,
      labels: [],
      turn: 1,
      elapsed_ms: 2_000,
      output: ['$ ls', 'a'],
      changed_files: [],
      final_message: 'done',
      timed_out: false,
      next: 'It is done. message-task gives it more work on the same thread.',
    });
  });

  it('names changed files as they stand in the directory of the task, and cuts their paths at the beginning', () => {
    const change = { kind: 'update', added: 1, removed: 0 } as const;
    const { cwd } = base;
    const deep = `${cwd}/${'d/'.repeat(400)}end.ts`;
    const changed = [`${cwd}/src/a.ts`, '/else/b.ts', `${cwd}er/c.ts`, deep];
    const task = { ...base, changedFiles: changed.map((path) => ({ ...change, path })) };
    const paths = taskResult(task, waited([task]), context).changed_files.map(({ path }) => path);
    expect(paths.slice(0, 3)).toEqual(['src/a.ts', '/else/b.ts', `${cwd}er/c.ts`]);
    expect(paths[3]).toMatch(/^\[\d+ bytes cut, see task:\/\/\/bold-falcon-42\]….*d\/d\/end\.ts$/);
  });

  it('of several gives only one request in full, and the others by type and id', () => {
    const asking = (id: string, askedAt: number): TaskSnapshot => ({
      ...base,
      id,
      status: 'input_required',
      pending: [pending(command('ls'), askedAt), pending(command('pwd'), askedAt, 'r2')],
    });
    const tasks = [asking('a-b-1', 20), asking('a-b-2', 10), base];
    const result = taskListResult(waited(tasks, tasks[1]), context);
    expect(result.tasks).toMatchObject([
      { task_id: 'a-b-1', pending_question: { type: 'command_approval', request_id: 'r1' }, more_pending: 1 },
      { task_id: 'a-b-2', pending_question: { type: 'command_approval', request_id: 'r1', command: 'ls', cwd: '/' } },
      { task_id: 'bold-falcon-42' },
    ]);
    expect(result.next).toBe(
      'a-b-2 asks. Answer with respond-task type command_approval and request_id r1, or wait again: a person can answer in the editor.',
    );
  });

  it('says what an agent may do about a request, and when that ends', () => {
    const task: TaskSnapshot = { ...base, status: 'input_required', pending: [{ ...pending(), expiresAt: 60_000 }] };
    const next = (agentMay: boolean, personPresent: boolean): string =>
      taskResult(task, waited([task]), { now: 0, advice: { agentMayAccept: () => agentMay, personPresent } }).next;
    expect([next(false, true), next(true, false)]).toEqual([
      'Only the person may accept it: wait again, or refuse it with respond-task type command_approval.',
      'Answer with respond-task type command_approval.',
    ]);
    expect(taskResult(task, waited([task]), context).pending_question).toMatchObject({
      expires_at: '1970-01-01T00:01:00.000Z',
    });
  });
});

describe('a cut text', () => {
  it('says how many bytes are missing and where the whole is, and never ends in half a character', () => {
    expect(cut('short', 100, 'task:///x')).toBe('short');
    expect(cut('😀😀😀', 10, 'task:///x')).toBe('😀😀…[4 bytes cut, see task:///x]');
    expect(cut('"""', 4, 'task:///x')).toBe('""…[1 bytes cut, see task:///x]');
    expect(cutPath('src/a.ts', 8, 'task:///x')).toBe('src/a.ts');
    expect(cutPath('/src/😀/a.ts', 10, 'task:///x')).toBe('[4 bytes cut, see task:///x]…/😀/a.ts');
  });
});

describe('a resource URI', () => {
  it.each([
    ['task:///all', { id: 'all', resource: '', offset: null, limit: null }],
    ['task:///a-b-1/log.verbose?offset=5', { id: 'a-b-1', resource: '/log.verbose', offset: 5, limit: null }],
    [
      'task:///a-b-1/events/summary?limit=9&offset=5',
      { id: 'a-b-1', resource: '/events/summary', offset: 5, limit: 9 },
    ],
  ])('%s is read', (uri, address) => expect(parseTaskUri(uri)).toEqual(address));

  it.each([
    'task:///',
    'task:///A',
    'task:///a/b/c',
    'task:///a?offset=-1',
    'task:///a?offset=1e3',
    'task:///a?x=1',
    'http:///all',
    'task:///a/../b',
  ])('%s is none', (uri) => expect(parseTaskUri(uri)).toBeUndefined());
});

it('a pipe URI decodes to the path of the pipe', () => {
  const uri = pipeUri('\\\\.\\pipe\\codex-worker-1');
  expect(uri).toBe('pipe:%5C%5C.%5Cpipe%5Ccodex-worker-1#/mcp');
  expect(decodeURIComponent(uri.slice('pipe:'.length).split('#')[0]!)).toBe('\\\\.\\pipe\\codex-worker-1');
});

it('a part of a log whose beginning is not kept any more says so, and where the next part is', async () => {
  const kept = Buffer.from('one\ntwo\nthree\n');
  const gone = 1_000;
  const readJournal = (_id: string, _file: string, offset: number, limit: number): Promise<JournalPart> => {
    const start = Math.max(offset, gone);
    const text = kept.subarray(start - gone, start - gone + Math.min(limit, 9)).toString();
    return Promise.resolve({ text, start, nextOffset: start + text.length, size: gone + kept.length });
  };
  const tasks = { readJournal } as unknown as TaskManager;
  const read = async (query: string): Promise<string> =>
    (await readResource(tasks, `task:///bold-falcon-42/log.verbose${query}`, [base])).text;
  expect(await read('')).toBe(
    '[the first 1000 bytes are not kept any more]\none\ntwo\nnext: task:///bold-falcon-42/log.verbose?offset=1008\n',
  );
  expect(await read('?offset=1008')).toBe('three\n');
});

it.each([
  ['a batch', '[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"cancel-task"}}]', null, -32600],
  ['an empty batch', '[]', null, -32600],
  ['no JSON', '{"jsonrpc":', null, -32700],
  ['another version', '{"jsonrpc":"1.0","id":7,"method":"ping"}', 7, -32600],
  ['an id of a wrong type', '{"jsonrpc":"2.0","id":{},"method":"ping"}', null, -32600],
  ['a number', '3', null, -32600],
  ['null', 'null', null, -32600],
])('over stdio %s is answered as an error and reaches nobody', async (_name, line, id, code) => {
  const [input, output] = [new PassThrough(), new PassThrough()];
  const client = new StdioClient(input, output, { repeats: (tool) => tool === 'wait-task' });
  const messages: string[] = [];
  client.attach((one) => void messages.push(one));
  const ping = '{"jsonrpc":"2.0","id":1,"method":"ping"}';
  for (const part of [`${line}\n${ping.slice(0, 9)}`, `${ping.slice(9)}\n`]) input.write(part);
  input.end();
  await client.ended;
  expect(messages).toEqual([ping]);
  output.end();
  expect(JSON.parse(await text(output))).toMatchObject({ jsonrpc: '2.0', id, error: { code } });
});

it('a client over stdio is served on by the next worker: what only reads is asked again, and the session is opened again', async () => {
  const [input, output] = [new PassThrough(), new PassThrough()];
  const client = new StdioClient(input, output, { repeats: (tool) => tool === 'wait-task' });
  const say = (id: number | null, method: string, params: object = {}): void =>
    void input.write(`${JSON.stringify({ jsonrpc: '2.0', ...(id === null ? {} : { id }), method, params })}\n`);
  const heard = (): unknown[] =>
    String((output.read() as Buffer | null) ?? '')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as unknown);
  const [first, second]: [string[], string[]] = [[], []];
  client.attach((line) => void first.push(line));
  say(0, 'initialize');
  say(null, 'notifications/initialized');
  client.hear('{"jsonrpc":"2.0","id":0,"result":{"name":"first"}}');
  say(1, 'resources/subscribe', { uri: 'task:///all' });
  client.hear('{"jsonrpc":"2.0","id":1,"result":{}}');
  say(2, 'tools/call', { name: 'wait-task' });
  say(3, 'tools/call', { name: 'spawn-task' });
  say(4, 'tools/call', { name: 'wait-task' });
  say(null, 'notifications/cancelled', { requestId: 4 });
  expect(heard()).toMatchObject([{ id: 0 }, { id: 1 }]);
  client.detach();
  expect(heard()).toMatchObject([
    { id: 3, result: { isError: true, structuredContent: { error: { code: 'shutting_down' } } } },
  ]);
  say(5, 'ping');
  client.attach((line) => void second.push(line));
  const told = (): unknown[] => second.map((line) => (JSON.parse(line) as { id?: number }).id);
  expect(told()).toEqual([0, 1, 2, 5]);
  // The session is open when the worker knows its client.
  for (const id of [0, 1, 2, 5]) client.hear(`{"jsonrpc":"2.0","id":${id},"result":{}}`);
  expect(told()).toEqual([0, 1, 2, 5, undefined]);
  expect(heard()).toMatchObject([{ id: 2 }, { id: 5 }]);
  input.end();
  await client.ended;
});
