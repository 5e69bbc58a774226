import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { StoredRequest } from '../../src/core/ports';
import { hashOf } from '../../src/core/hash';
import type { TaskSnapshot } from '../../src/core/taskSnapshot';
import { migrate } from '../../src/store/migration';
import { takeStoreLock } from '../../src/store/storeLock';
import { SegmentedFile } from '../../src/store/segmentedFile';
import { TaskFiles } from '../../src/store/taskFiles';
import { parseStoredTask } from '../../src/store/storedTask';
import { metaOf } from '../../src/store/meta';
import type { WaitResult } from '../../src/core/waiting';
import { scoreboard, taskDetail } from '../../src/mcp/documents';
import { taskResult } from '../../src/mcp/taskView';
import { detailsOf, taskContext, taskDescription, taskIcon } from '../../src/ui/taskView';
import { base, command, pending } from '../fakes/snapshots';
import { collect } from '../rig/collect';

let dir: string;
const none = { tasks: [], damaged: [] };
const lines: string[] = [];
const log = (_level: string, message: string): void => void lines.push(message);

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'codex-worker-store-'));
  lines.length = 0;
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const request: StoredRequest = { prompt: 'do it', keepAliveMs: 1, outputSchema: null, model: 'm', reasoning: null };
const done: TaskSnapshot = {
  ...base,
  status: 'failed',
  endedAt: 9_000,
  finalMessage: 'ü',
  diff: '+x',
  error: { code: 'timeout', message: 'late', retryable: true, hint: 'again' },
  items: [{ kind: 'message', id: 'm1', text: 'hello' }],
};

/** Something of everything that a task can hold. */
const rich: TaskSnapshot = {
  ...done,
  labels: ['a'],
  dependsOn: ['wise-wolf-7'],
  usage: {
    totalTokens: 5,
    inputTokens: 4,
    cachedInputTokens: 3,
    outputTokens: 2,
    reasoningTokens: 1,
    lastTokens: 5,
    contextWindow: 100,
  },
  plan: [{ step: 'look', status: 'completed' }],
  items: [
    { kind: 'command', id: 'c', command: 'ls', exitCode: 0, outcome: 'completed' },
    { kind: 'files', id: 'f', files: [{ path: '/ws/a', kind: 'add', added: 1, removed: 0 }], outcome: null },
    { kind: 'tool', id: 't', tool: 'db.query', outcome: 'failed' },
    { kind: 'message', id: 'm1', text: 'hello' },
  ],
  changedFiles: [{ path: '/ws/a', kind: 'update', added: 1, removed: 2 }],
  pending: [
    pending({ ...command('ls'), rules: [{ kind: 'command', prefix: ['ls'] }] }),
    pending({ type: 'file_approval', changes: [{ path: '/ws/a', kind: 'add', patch: 'x' }], reason: null }, 0, 'r2'),
    pending({ type: 'permission_approval', permissions: { a: 1 }, summary: ['write /x'], reason: 'so' }, 0, 'r3'),
    pending(
      {
        type: 'user_input',
        forPerson: false,
        questions: [
          {
            id: 'q',
            header: 'h',
            text: 't',
            options: [{ label: 'l', description: 'd' }],
            allowFreeform: true,
            isSecret: false,
          },
        ],
      },
      0,
      'r4',
    ),
    pending(
      {
        type: 'elicitation',
        serverName: 's',
        mode: 'form',
        message: 'm',
        schema: { type: 'object' },
        url: null,
        toolCall: { tool: 't', description: null, arguments: {} },
        forPerson: true,
        forSession: true,
        rules: [{ kind: 'tool', server: 's', tool: 't' }],
      },
      0,
      'r5',
    ),
    pending({ type: 'dynamic_tool', toolName: 't', arguments: {} }, 0, 'r6'),
    pending({ type: 'recovery', message: 'm', goesOnAt: 5 }, 0, 'r7'),
  ],
  answers: [{ id: 'r0', type: 'command_approval', by: 'person', outcome: 'approved', answeredAt: 1 }],
  answered: { id: 'r0', type: 'command_approval', by: 'person', outcome: 'approved', answeredAt: 1 },
  leftovers: [{ pid: 7, command: 'sleep 9' }],
  stopReason: { kind: 'failed', error: { code: 'timeout', message: 'late', retryable: true, hint: 'again' } },
};

type Path = readonly (string | number)[];

function pathsOf(value: unknown, at: Path = []): Path[] {
  const inner = Array.isArray(value)
    ? value.flatMap((one, index) => pathsOf(one, [...at, index]))
    : typeof value === 'object' && value !== null
      ? Object.entries(value).flatMap(([key, one]) => pathsOf(one, [...at, key]))
      : [];
  return at.length === 0 ? inner : [at, ...inner];
}

function replaced(value: unknown, [key, ...rest]: Path, by: unknown): unknown {
  if (key === undefined) return by;
  if (Array.isArray(value))
    return value.map((one, index) => (index === key ? replaced(one, rest, by) : (one as unknown)));
  const fields = value as Readonly<Record<string, unknown>>;
  return { ...fields, [key]: replaced(fields[key], rest, by) };
}

const context = { now: 9_000, advice: { agentMayAccept: () => true, personPresent: true } };

/** What a wait gives that shows a task with its first request. */
function result(task: TaskSnapshot): WaitResult {
  const [request] = task.pending;
  const shown = request ? { taskId: task.id, request } : null;
  return { tasks: [task], more: 0, shown, newAnswers: new Map(), timedOut: false, elsewhere: null };
}

async function written(task: TaskSnapshot): Promise<string> {
  const files = await TaskFiles.open(dir, log);
  files.saveRequest(task.id, request);
  files.saveMeta(task);
  await files.flush();
  return files.paths(task.id).dir;
}

describe('the files of a task', () => {
  it('give back a task that has ended as it was', async () => {
    await written(done);
    const files = await TaskFiles.open(dir, log);
    expect(await files.load()).toEqual({
      tasks: [{ snapshot: { version: 1, ...done }, request, unsaid: { next: null, queue: [] }, lostMessages: 0 }],
      damaged: [],
    });
  });

  it('hold no secret of what was asked, and say so', async () => {
    const secret = `ghp_${'a1B2'.repeat(9)}`;
    const files = await TaskFiles.open(dir, log);
    const input = (text: string) => ({ text, model: null, reasoning: null, planMode: false, outputSchema: null });
    files.saveRequest(done.id, { ...request, prompt: `use ${secret}`, developerInstructions: `and ${secret}` });
    files.saveUnsaid(done.id, { next: input(`say ${secret}`), queue: [input('plain'), input(`TOKEN=${secret}`)] });
    files.saveMeta({ ...done, finalMessage: secret, labels: [secret] });
    await files.flush();
    const { dir: path } = files.paths(done.id);
    for (const name of await readdir(path)) expect(await readFile(join(path, name), 'utf8')).not.toContain(secret);
    const { tasks } = await (await TaskFiles.open(dir, log)).load();
    expect(tasks).toMatchObject([
      {
        request: { prompt: 'use [redacted]', isRedacted: true },
        unsaid: { next: null, queue: [{ text: 'plain' }] },
        lostMessages: 2,
      },
    ]);
  });

  it('that are cut at any byte cost that task only, and are told', async () => {
    const path = await written(done);
    await written({ ...done, id: 'wise-wolf-7', createdAt: 1 });
    for (const name of ['meta.json', 'request.json']) {
      const whole = await readFile(join(path, name));
      for (let length = 0; length < whole.length - 2; length += 7) {
        await writeFile(join(path, name), whole.subarray(0, length));
        const { tasks, damaged } = await (await TaskFiles.open(dir, log)).load();
        expect(tasks.map(({ snapshot }) => snapshot.id)).toEqual(['wise-wolf-7']);
        expect(damaged).toEqual([{ id: done.id, dir: path, reason: expect.stringMatching(/./) as string }]);
      }
      await writeFile(join(path, name), whole);
    }
  });

  it('with any byte changed cost no other task anything, and are damaged or a task that ended as it did', async () => {
    const path = await written(done);
    await written({ ...done, id: 'wise-wolf-7', createdAt: 1 });
    const other = (await (await TaskFiles.open(dir, log)).load()).tasks[0];
    let damagedCount = 0;
    for (const name of ['meta.json', 'request.json']) {
      const whole = await readFile(join(path, name));
      for (let at = 0; at < whole.length; at += 3) {
        const bytes = Buffer.from(whole);
        bytes[at] = [0, 0x22, 0x30, 0x7d, 0xff, 0x0a][at % 6]!;
        await writeFile(join(path, name), bytes);
        const { tasks, damaged } = await (await TaskFiles.open(dir, log)).load();
        expect(tasks[0]).toEqual(other);
        const states = [...damaged.map(({ id }) => [id, 'damaged']), ...tasks.slice(1).map(({ snapshot }) => [snapshot.id, snapshot.status])]; // prettier-ignore
        expect([[[done.id, 'damaged']], [[done.id, done.status]]]).toContainEqual(states);
        damagedCount += damaged.length;
      }
      await writeFile(join(path, name), whole);
    }
    expect(damagedCount).toBeGreaterThan(100);
  });

  it('with any value replaced by any other are refused whole, or are a task that everything can show', () => {
    const kept = JSON.parse(JSON.stringify(metaOf(rich))) as unknown;
    const strange = [null, 0, -1, 'x', true, [], [null], {}, { kind: 'x', type: 'x' }];
    let refused = 0;
    for (const path of pathsOf(kept)) {
      for (const value of strange) {
        const meta = JSON.stringify(replaced(kept, path, value));
        let task: TaskSnapshot;
        try {
          task = parseStoredTask(meta, JSON.stringify(request), null).snapshot;
        } catch {
          refused++;
          continue;
        }
        const show = (): unknown => [
          taskResult(task, result(task), context),
          taskDetail(task, 1),
          scoreboard([task], [], 1),
          detailsOf(task),
          taskDescription(task, 1),
          taskContext(task),
          taskIcon(task),
        ];
        expect(show, `${path.join('.')} = ${JSON.stringify(value)}`).not.toThrow();
      }
    }
    expect(refused).toBeGreaterThan(500);
    expect(parseStoredTask(JSON.stringify(kept), JSON.stringify(request), null).snapshot).toMatchObject(rich);
  });

  it('with a status that contradicts their end or error are refused', () => {
    const kept = metaOf(done);
    const read = (changed: object) => () =>
      parseStoredTask(JSON.stringify({ ...kept, ...changed }), JSON.stringify(request), null);
    for (const status of ['submitted', 'working', 'input_required', 'completed', 'cancelled'])
      expect(read({ status })).toThrow('contradicts');
    expect(read({ endedAt: null })).toThrow('contradicts');
    expect(read({ error: null })).toThrow('contradicts');
    expect(read({ status: 'completed', error: null })).not.toThrow();
  });

  it('that cannot be written now are written later, in order, and that is told once', async () => {
    const files = await TaskFiles.open(dir, log);
    const told: string[] = [];
    files.onTrouble(({ id, message }) => told.push(`${id}: ${message}`));
    const { verbose_log, dir: path } = files.paths(done.id);
    await mkdir(path, { recursive: true });
    // Takes no byte, as a full disk does.
    await symlink('/dev/full', verbose_log);
    files.append(done.id, 'verbose', 'one ');
    expect(await files.flush()).toBe(false);
    files.append(done.id, 'verbose', 'two ');
    files.saveMeta({ ...done, title: 'first' });
    expect(await files.flush()).toBe(false);
    files.saveMeta(done);
    expect(told).toEqual([expect.stringMatching(/^bold-falcon-42: This task's files cannot be kept: ENOSPC/)]);
    await rm(verbose_log);
    files.append(done.id, 'verbose', 'three');
    expect(await files.flush()).toBe(true);
    expect(await readFile(verbose_log, 'utf8')).toBe('one two three');
    expect(JSON.parse(await readFile(files.paths(done.id).meta, 'utf8'))).toMatchObject({ title: done.title });
  });

  it('are made again when somebody deletes them in the middle of the work', async () => {
    const files = await TaskFiles.open(dir, log);
    files.saveRequest(done.id, request);
    files.saveMeta({ ...done, title: 'before' });
    files.append(done.id, 'verbose', 'one ');
    await files.flush();
    await rm(join(dir, 'tasks'), { recursive: true });
    files.append(done.id, 'verbose', 'two ');
    expect(await files.flush()).toBe(false);
    files.append(done.id, 'verbose', 'three');
    expect(await files.flush()).toBe(true);
    const { tasks, damaged } = await (await TaskFiles.open(dir, log)).load();
    expect([tasks.map(({ snapshot }) => snapshot.title), damaged]).toEqual([['before'], []]);
    expect(await readFile(files.paths(done.id).verbose_log, 'utf8')).toBe('two three');
    expect(lines.join()).toContain('Could not keep the files');
  });

  it('are gone when the task is removed, also what was still to be written', async () => {
    const path = await written(done);
    const files = await TaskFiles.open(dir, log);
    files.append(done.id, 'verbose', 'more');
    files.remove(done.id);
    await files.flush();
    await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' });
    expect([await files.load(), lines]).toEqual([none, []]);
  });

  it('are gone when the writer was killed before the task was kept, and nothing is said', async () => {
    const path = join(dir, 'tasks', 'calm-crow-5');
    await mkdir(path, { recursive: true });
    await writeFile(join(path, 'request.json'), '{"prompt":"x"');
    await writeFile(join(path, 'meta.json.new'), '{');
    expect(await (await TaskFiles.open(dir, log)).load()).toEqual(none);
    await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' });
    expect(lines).toEqual([]);
  });

  it('of a later version, of another task, or of none are left alone', async () => {
    const path = await written(done);
    const meta = await readFile(join(path, 'meta.json'), 'utf8');
    await mkdir(join(dir, 'tasks', 'not a task'));
    const wrong = { 'Update to see it': ['"version": 1', '"version": 2'], 'other-task-1': [base.id, 'other-task-1'] };
    for (const [reason, [from = '', to = '']] of Object.entries(wrong)) {
      const text = meta.replace(from, to);
      await writeFile(join(path, 'meta.json'), text);
      const { tasks, damaged } = await (await TaskFiles.open(dir, log)).load();
      expect([tasks, damaged]).toEqual([[], [expect.objectContaining({ id: done.id, dir: path })]]);
      expect(damaged[0]?.reason).toContain(reason);
      expect(await readFile(join(path, 'meta.json'), 'utf8')).toBe(text);
    }
    expect(lines).toEqual([]);
  });
});

describe('the format of a task', () => {
  const steps = {
    2: ({ old, ...meta }: Readonly<Record<string, unknown>>) => ({ ...meta, renamed: old }),
    3: (meta: Readonly<Record<string, unknown>>) => ({ ...meta, twice: [meta.renamed, meta.version] }),
  };

  it('is brought to the present one step after the other', () => {
    expect(migrate({ version: 1, old: 'x' }, 3, steps)).toEqual({ version: 3, renamed: 'x', twice: ['x', 2] });
    expect(migrate({ version: 2, renamed: 'x' }, 3, steps)).toEqual({ version: 3, renamed: 'x', twice: ['x', 2] });
    expect(migrate({ version: 3 }, 3, steps)).toEqual({ version: 3 });
  });

  it('of a later program is refused with what to do, and so is one without a version', () => {
    expect(() => migrate({ version: 4 }, 3, steps)).toThrow(/later version .*\(format 4, known here: 3\)\. Update/);
    for (const wrong of [{}, { version: 0 }, { version: '1' }, null, []])
      expect(() => migrate(wrong, 3, steps)).toThrow();
    expect(() => migrate({ version: 1 }, 3, { 3: steps[3] })).toThrow(/from format 1 to 2/);
  });
});

describe('the journal of a task at work', () => {
  it('that is cut at any byte gives back every whole line, and what comes next is a line of its own', async () => {
    const lines = ['{"t":1,"n":5,"method":"a"}', '{"t":2,"n":6,"id":0,"method":"ü"}', '{"t":3,"method":"c"}'];
    const whole = Buffer.from(`${lines.join('\n')}\n`);
    for (let length = 0; length <= whole.length; length++) {
      const path = join(dir, 'tasks', done.id);
      await mkdir(path, { recursive: true });
      await writeFile(join(path, 'events.jsonl'), whole.subarray(0, length));
      const files = await TaskFiles.open(dir, log);
      files.append(done.id, 'events', '{"t":9,"n":9,"method":"next"}\n');
      await files.flush();
      const history = await collect(files.history(done.id));
      const complete = lines.filter((_, index) => Buffer.byteLength(lines.slice(0, index + 1).join('\n')) <= length);
      expect(history.slice(0, complete.length).map(({ json }) => json)).toEqual(complete);
      expect(history.at(-1)).toEqual({ json: '{"t":9,"n":9,"method":"next"}', position: 9 });
      expect(history.length).toBeLessThanOrEqual(complete.length + 2);
    }
  });
});

describe('a file that grows', () => {
  const limits = { bytes: 100, kept: 3 };
  const line = (index: number): string => `line ${String(index).padStart(3, '0')} ü\n`;

  it('is cut into segments, of which the newest are kept; offsets mean the same for ever', async () => {
    const path = join(dir, 'verbose.log');
    let all = '';
    for (let index = 0; index < 60; index++) {
      // Another writer takes over now and then.
      const file = new SegmentedFile(path, limits);
      await file.append(line(index), false);
      all += line(index);
      const whole = Buffer.from(all);
      const kept = (await collect(file.lines())).map((text) => `${text}\n`).join('');
      expect(all.endsWith(kept)).toBe(true);
      expect(await file.read(whole.length - 40, 40)).toMatchObject({ nextOffset: whole.length, size: whole.length });
      const first = whole.length - Buffer.byteLength(kept);
      expect(await file.read(0, 7)).toEqual({
        text: kept.slice(0, 7),
        start: first,
        nextOffset: first + 7,
        size: whole.length,
      });
      expect((await file.read(first, 1_000)).text).toBe(kept);
    }
    const names = (await readdir(dir)).filter((name) => name.startsWith('verbose'));
    expect(names).toHaveLength(limits.kept);
    for (const name of names) expect((await readFile(join(dir, name))).length).toBeLessThanOrEqual(limits.bytes);
  });

  it('is read while it is written, and no part of it is wrong', async () => {
    const file = new SegmentedFile(join(dir, 'events.jsonl'), { ...limits, kept: 1_000 });
    const lines = Array.from({ length: 200 }, (_, index) => line(index));
    const whole = Buffer.from(lines.join(''));
    const writes = lines.map((text) => file.append(text, true));
    for (let offset = 0; offset < whole.length;) {
      const part = await file.read(offset, 33);
      expect(part.text).toBe(whole.subarray(offset, part.nextOffset).toString());
      offset = part.nextOffset;
    }
    await Promise.all(writes);
    expect(await collect(file.lines())).toEqual(whole.toString().split('\n').slice(0, -1));
  });
});

it('the size of the files of tasks is known', async () => {
  const path = await written(done);
  const files = await TaskFiles.open(dir, log);
  files.append(done.id, 'verbose', 'x'.repeat(1_000));
  await files.flush();
  const names = await readdir(path);
  const bytes = (await Promise.all(names.map((name) => readFile(join(path, name))))).map(({ length }) => length);
  const sum = bytes.reduce((total, length) => total + length, 0);
  expect(sum).toBeGreaterThan(1_000);
  expect([...(await files.sizes([done.id, 'none-such-1']))]).toEqual([
    [done.id, sum],
    ['none-such-1', 0],
  ]);
});

describe('the lock of a store', () => {
  it('has one owner, and is taken from the dead', async () => {
    const lock = await takeStoreLock(dir);
    expect(await takeStoreLock(dir)).toBeNull();
    await lock!.release();
    for (const dead of [
      '{"pid":999999,"identity":"999999:1"}',
      `{"pid":${process.pid},"identity":"${process.pid}:1"}`,
      'torn',
    ]) {
      await writeFile(join(dir, 'owner.json'), dead);
      const taken = await takeStoreLock(dir);
      expect(taken, dead).not.toBeNull();
      await taken!.release();
    }
  });

  it('is taken also when a successor of the dead owner died before it had taken over', async () => {
    await writeFile(join(dir, 'owner.json'), 'torn');
    await writeFile(
      join(dir, `owner.json.after-${hashOf('torn').slice(0, 16)}`),
      '{"pid":999999,"identity":"999999:1"}',
    );
    const lock = await takeStoreLock(dir);
    expect(lock).not.toBeNull();
    expect(await readdir(dir)).toEqual(['owner.json']);
    await lock!.release();
    expect(await readdir(dir)).toEqual([]);
  });

  it('goes to one of several that ask at once', async () => {
    for (let round = 0; round < 20; round++) {
      // Free, and of a dead owner.
      if (round % 2 === 0) await rm(join(dir, 'owner.json'), { force: true });
      else await writeFile(join(dir, 'owner.json'), 'torn');
      const taken = await Promise.all(Array.from({ length: 8 }, () => takeStoreLock(dir)));
      expect(taken.filter((lock) => lock !== null)).toHaveLength(1);
    }
  }, 60_000);
});
