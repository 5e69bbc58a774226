import { describeLimits, isNearLimit } from '../../src/core/usageLimits';
import fc from 'fast-check';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { BoundedMap } from '../../src/core/boundedMap';
import { beginningOf, endOf, wellFormed } from '../../src/base/wellFormed';
import { beginningBefore, BoundedText, firstLine, lastLines } from '../../src/core/boundedText';
import { DisposableStore } from '../../src/core/disposable';
import { Emitter } from '../../src/core/emitter';
import { hashOf } from '../../src/core/hash';
import { isTaskId, newTaskId } from '../../src/core/taskId';
import { TaskDetails } from '../../src/core/taskDetails';
import type { TaskEvent } from '../../src/core/taskEvent';
import { countLines, formatDuration, formatTokens, Transcript } from '../../src/core/transcript';
import { TaskFiles } from '../../src/store/taskFiles';

describe('a task id', () => {
  it('reads like bold-falcon-42, is never taken, and `all` is none', () => {
    const taken = new Set<string>();
    for (let count = 0; count < 2_000; count++) {
      const id = newTaskId((one) => taken.has(one));
      expect(isTaskId(id) && !taken.has(id)).toBe(true);
      taken.add(id);
    }
    expect(['all', '../x-y-1', 'A-b-1', 'a-b', 'a-b-12345'].filter(isTaskId)).toEqual([]);
  });

  it('grows to four digits when the small numbers are taken', () => {
    expect(
      newTaskId(
        (id) => /-\d\d?$/.test(id),
        (limit) => limit - 1,
      ),
    ).toBe('wise-wolf-9999');
  });
});

describe('bounded things', () => {
  it('keep the end of a text, whatever the parts', () => {
    fc.assert(
      fc.property(fc.array(fc.string()), fc.integer({ min: 1, max: 20 }), (parts, limit) => {
        const text = new BoundedText(limit);
        for (const part of parts) text.append(part);
        const whole = parts.join('');
        expect(text.dropped).toBe(Math.max(0, whole.length - limit));
        expect(text.toString()).toBe(whole.slice(-limit));
      }),
    );
  });

  it('take a text in where they ended before, unless that is dropped', () => {
    const text = new BoundedText(6);
    text.append('ab');
    const mark = text.end;
    text.append('ef');
    text.insert(mark, 'cd');
    expect([text.toString(), text.end]).toEqual(['abcdef', 6]);
    text.append('ghijklmnop');
    expect(text.toString()).toBe('klmnop');
    text.insert(mark, 'x');
    expect([text.toString(), text.dropped]).toEqual(['klmnop', 10]);
  });

  it('tell what came before a stream, however little of it is kept', () => {
    const streamed = new BoundedText(3);
    streamed.append('two three');
    expect(beginningBefore(streamed, 'one two three')).toBe('one ');
    expect(beginningBefore(streamed, 'two three')).toBe('');
    expect(beginningBefore(streamed, 'three')).toBe('');
    expect(beginningBefore(streamed, 'one two four')).toBe('');
  });

  it('forget the oldest entry', () => {
    const map = new BoundedMap<string, number>(2);
    for (const [key, value] of [
      ['a', 1],
      ['b', 2],
      ['a', 3],
      ['c', 4],
    ] as const)
      map.set(key, value);
    expect(['a', 'b', 'c'].map((key) => map.get(key))).toEqual([3, undefined, 4]);
    expect([map.take('a'), map.get('a')]).toEqual([3, undefined]);
  });

  it('take lines from both ends of a text', () => {
    expect(lastLines('a\r\nb\nc\n', 2)).toEqual(['b', 'c']);
    expect(lastLines('', 2)).toEqual([]);
    expect(firstLine('  hello world\nmore', 8)).toBe('hello w…');
  });
});

describe('a cut', () => {
  it.each([0, 1, 2, 3, 8, 9, 20])('after %i units, at either end, leaves whole characters', (length) => {
    for (const text of ['🎉'.repeat(6), `a${'🎉'.repeat(6)}`, `${'🎉'.repeat(6)}b`]) {
      const bounded = new BoundedText(length);
      bounded.append(text);
      const cuts = [beginningOf(text, length), endOf(text, length), bounded.toString()];
      expect(cuts.map((one) => one.isWellFormed())).toEqual([true, true, true]);
      expect(
        cuts.map((one) => Math.min(length, text.length) - one.length).every((less) => less === 0 || less === 1),
      ).toBe(true);
      expect(text.startsWith(cuts[0]!) && text.endsWith(cuts[1]!)).toBe(true);
    }
    expect(firstLine(`a${'🎉'.repeat(9)}`, length + 2).isWellFormed()).toBe(true);
  });

  it('or half a character from elsewhere is made whole in all that is sent', () => {
    expect(wellFormed({ 'k\ud83c': ['a\ud83c', { b: '\udf89b', c: null, d: 1 }] })).toEqual({
      'k\ufffd': ['a\ufffd', { b: '\ufffdb', c: null, d: 1 }],
    });
  });
});

describe('ownership', () => {
  it('disposes in the reverse order, once, and what comes too late at once', () => {
    const order: number[] = [];
    const store = new DisposableStore();
    for (const number of [1, 2]) store.add({ dispose: () => order.push(number) });
    store.dispose();
    store.dispose();
    store.add({ dispose: () => order.push(3) });
    expect(order).toEqual([2, 1, 3]);
  });

  it('lets a listener throw without stopping the others', () => {
    const errors: unknown[] = [];
    const emitter = new Emitter<number>((error) => errors.push(error));
    const seen: number[] = [];
    emitter.event(() => {
      throw new Error('bug');
    });
    const subscription = emitter.event((value) => seen.push(value));
    emitter.fire(1);
    subscription.dispose();
    emitter.fire(2);
    expect([seen, errors.length]).toEqual([[1], 2]);
  });
});

it('a hash does not depend on the order of fields, nor on absent ones', () => {
  expect(hashOf({ a: 1, b: [{ c: 2, d: undefined }] })).toBe(hashOf({ b: [{ c: 2 }], a: 1 }));
  expect(hashOf({ a: [1, 2] })).not.toBe(hashOf({ a: [2, 1] }));
});

describe('a transcript', () => {
  it('streams deltas and does not repeat them, but shows what was not streamed', () => {
    const transcript = new Transcript();
    const command = { itemId: 'c', command: 'ls', cwd: '/' };
    const done = {
      type: 'commandCompleted',
      ...command,
      outcome: 'completed',
      exitCode: 0,
      durationMs: 1_500,
    } as const;
    const text = [
      { type: 'commandStarted', ...command } as const,
      { type: 'commandOutput', itemId: 'c', text: 'two\n' } as const,
      { ...done, output: 'one\ntwo\n' },
      { type: 'messageDelta', itemId: 'm', text: 'hel' } as const,
      { type: 'messageDelta', itemId: 'm', text: 'lo' } as const,
      { type: 'message', itemId: 'm', text: 'hello' } as const,
      { type: 'commandStarted', ...command, itemId: 'd' } as const,
      { ...done, itemId: 'd', output: 'short\n' },
    ].map((event) => transcript.entry(event).verbose);
    expect(text.join('')).toBe(
      '$ ls\ntwo\n[before that]\none\n[exit 0 · 1.5 s]\nhello\n$ ls\nshort\n[exit 0 · 1.5 s]\n',
    );
  });

  it('has output of a command that came late in its place, where the output is kept as one text', () => {
    const details = new TaskDetails();
    const command = (itemId: string) => ({ itemId, command: itemId, cwd: '/' });
    const done = { type: 'commandCompleted', outcome: 'completed', exitCode: 0, durationMs: 1 } as const;
    const events: readonly TaskEvent[] = [
      { type: 'commandStarted', ...command('a') },
      { type: 'commandOutput', itemId: 'a', text: 'a2\n' },
      { type: 'commandStarted', ...command('b') },
      { type: 'commandOutput', itemId: 'a', text: 'a3\n' },
      { ...done, ...command('a'), output: 'a1\na2\na3\n' },
      { ...done, ...command('b'), output: 'b1\n' },
    ];
    for (const event of events) details.apply(event);
    expect(details.outputTail).toBe('$ a\na1\na2\n$ b\na3\nb1\n');
  });

  it('counts the lines of a patch, and of a whole file', () => {
    const patch = '--- a\n+++ b\n@@ -1 +1,2 @@\n-old\n+new\n+more\n';
    expect(countLines({ path: 'a', kind: 'update', patch })).toEqual({ added: 2, removed: 1 });
    // Comments of SQL and Lua, rules of Markdown: lines that look like the names of the files.
    const looksLikeNames = '--- a\n+++ b\n@@ -1,2 +1 @@\n--- drop it\n-- and it\n+++ more\n@@ -9 +9 @@\n---\n same\n';
    expect(countLines({ path: 'a', kind: 'update', patch: looksLikeNames })).toEqual({ added: 1, removed: 3 });
    expect(countLines({ path: 'a', kind: 'add', patch: 'one\ntwo\n' })).toEqual({ added: 2, removed: 0 });
    expect(countLines({ path: 'a', kind: 'delete', patch: 'one' })).toEqual({ added: 0, removed: 1 });
  });

  it('writes times and tokens for people', () => {
    const durations = [850, 999.6, 3_200, 42_000, 59_600, 119_700, 245_000, 3_599_800, 7_380_000];
    expect(durations.map(formatDuration)).toEqual([
      '850 ms',
      '1.0 s',
      '3.2 s',
      '42 s',
      '1 m 00 s',
      '2 m 00 s',
      '4 m 05 s',
      '1 h 00 m',
      '2 h 03 m',
    ]);
    expect([840, 5_120, 1_200_000].map(formatTokens)).toEqual(['840', '5.1k', '1.2M']);
  });
});

describe('the files of a task', () => {
  let dir: string;
  const trouble: string[] = [];
  afterEach(() => rm(dir, { recursive: true, force: true }));
  async function files(): Promise<TaskFiles> {
    dir = await mkdtemp(join(tmpdir(), 'codex-worker-files-'));
    return TaskFiles.open(dir, (_level, message) => trouble.push(message));
  }

  it('are appended in order, private, and read in parts of whole characters', async () => {
    const store = await files();
    for (const text of ['日本', '語\n', 'end\n']) store.append('a-b-1', 'verbose', text);
    const first = await store.read('a-b-1', 'verbose', 0, 7);
    expect(first).toEqual({ text: '日本', start: 0, nextOffset: 6, size: 14 });
    expect(await store.read('a-b-1', 'verbose', first.nextOffset, 100)).toEqual({
      text: '語\nend\n',
      start: 6,
      nextOffset: 14,
      size: 14,
    });
    const paths = store.paths('a-b-1');
    expect((await stat(paths.dir)).mode & 0o777).toBe(0o700);
    expect((await stat(paths.verbose_log)).mode & 0o777).toBe(0o600);
    expect(await readFile(paths.verbose_log, 'utf8')).toBe('日本語\nend\n');
    expect(store.has('a-b-1')).toBe(true);
    expect((await TaskFiles.open(dir, () => undefined)).has('a-b-1')).toBe(true);
  });

  it('that cannot be written are told of once, and nothing throws', async () => {
    const store = await files();
    await rm(join(dir, 'tasks'), { recursive: true });
    await import('node:fs/promises').then(({ writeFile }) => writeFile(join(dir, 'tasks'), 'in the way'));
    store.append('a-b-1', 'verbose', 'x');
    await store.flush();
    store.append('a-b-1', 'verbose', 'y');
    await store.flush();
    expect(trouble).toHaveLength(1);
    expect(await store.read('a-b-1', 'verbose', 0, 10)).toEqual({ text: '', start: 0, nextOffset: 0, size: 0 });
  });
});

describe('the limits of the plan', () => {
  const now = new Date(2026, 0, 5, 12, 0).getTime();
  it('are told with their span and their reset', () => {
    const windows = [
      { usedPercent: 81.6, minutes: 300, resetsAt: new Date(2026, 0, 5, 17, 30).getTime() },
      { usedPercent: 12, minutes: 10_080, resetsAt: new Date(2026, 0, 9, 8, 5).getTime() },
      { usedPercent: 3, minutes: 90, resetsAt: now - 1 },
    ];
    expect(describeLimits(windows, now)).toBe(
      '5 h: 82 % used, resets at 17:30; 7 d: 12 % used, resets on Fri Jan 09 at 08:05; 90 min: 3 % used',
    );
    expect([isNearLimit(windows), isNearLimit([{ ...windows[0]!, usedPercent: 90 }])]).toEqual([false, true]);
    expect(describeLimits([], now)).toBe('');
  });
});
