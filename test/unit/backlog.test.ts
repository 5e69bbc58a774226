import { mkdir, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Backlog, readBacklog } from '../../src/process/backlog';
import { controlLine, commandSchema, parseControl } from '../../src/process/keeperProtocol';
import { WorkWatch } from '../../src/process/workWatch';

let dir: string;
let path: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'codex-worker-backlog-'));
  path = join(dir, 'backlog.jsonl');
});
afterEach(() => rm(dir, { recursive: true, force: true }));

async function replayed(backlog: Backlog): Promise<string[]> {
  const texts: string[] = [];
  await backlog.replay((text) => void texts.push(text));
  return texts.map((text) => text.trimEnd());
}

describe('what a client missed', () => {
  it('comes in order, from the file and from memory, and not again when it is confirmed', async () => {
    const backlog = new Backlog(path, 100);
    expect(backlog.add('{"a":1}')).toBe('101 {"a":1}\n');
    backlog.add('{"a":2}');
    await backlog.spool();
    backlog.add('{"a":3}');
    expect(await replayed(backlog)).toEqual(['101 {"a":1}', '102 {"a":2}', '103 {"a":3}']);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    backlog.acknowledge(101);
    expect(await replayed(backlog)).toEqual(['101 {"a":1}', '102 {"a":2}', '103 {"a":3}']);
    backlog.acknowledge(102);
    expect(await replayed(backlog)).toEqual(['103 {"a":3}']);
    backlog.acknowledge(103);
    expect(await replayed(backlog)).toEqual([]);
    await expect(readFile(path)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('leaves out streamed text when there is much of it, keeps the rest, and says when it is too much', async () => {
    const backlog = new Backlog(path, 0, { deltas: 100, all: 200, memory: 1_000 });
    backlog.add(`{"method":"x","params":"${'y'.repeat(100)}"}`);
    await backlog.spool();
    backlog.add('{"method":"item/agentMessage/delta","params":{}}');
    backlog.add('{"method":"item/completed","params":{}}');
    await backlog.spool();
    const lines: string[] = [];
    for await (const line of readBacklog(path)) lines.push(line);
    expect(lines.map((line) => line.split(' ')[0])).toEqual(['1', '3']);
    expect(backlog.full).toBe(false);
    backlog.add(`{"method":"x","params":"${'y'.repeat(100)}"}`);
    await backlog.spool();
    expect(backlog.full).toBe(true);
  });

  it('stays in memory while the disk does not take it, and holds the server up before that is too much', async () => {
    const full = join(dir, 'none', 'backlog.jsonl');
    const backlog = new Backlog(full, 0, { deltas: 1_000, all: 2_000, memory: 40 });
    backlog.add('{"a":1}');
    backlog.add('{"a":2}');
    await backlog.spool();
    expect(backlog.crowded).toBe(false);
    backlog.add(`{"a":"${'x'.repeat(40)}"}`);
    await backlog.spool();
    expect([backlog.crowded, backlog.full]).toEqual([true, false]);
    expect((await replayed(backlog)).map((text) => text.split(' ')[0])).toEqual(['1', '2', '3']);
    await mkdir(join(dir, 'none'));
    await backlog.spool();
    expect(backlog.crowded).toBe(false);
    expect((await replayed(backlog)).map((text) => text.split(' ')[0])).toEqual(['1', '2', '3']);
    backlog.acknowledge(3);
    expect(await replayed(backlog)).toEqual([]);
  });

  it('is nothing where there is no file', async () => {
    for await (const line of readBacklog(path)) expect.unreachable(line);
  });
});

it('a server works while one of its threads is active', () => {
  const watch = new WorkWatch();
  const tell = (threadId: string, type: string): void =>
    watch.fromServer(
      `{"method":"thread/status/changed","params":{"threadId":"${threadId}","status":{"type":"${type}"}}}`,
    );
  expect(watch.working).toBe(false);
  tell('a', 'active');
  tell('b', 'active');
  tell('a', 'idle');
  watch.fromServer('{"method":"item/agentMessage/delta","params":{"delta":"thread/status/changed"}}');
  expect(watch.working).toBe(true);
  watch.fromServer('{"method":"thread/closed","params":{"threadId":"b"}}');
  expect(watch.working).toBe(false);
});

it('a control line is what it was, and anything else is nothing', () => {
  const command = { keepMs: null };
  expect(parseControl(commandSchema, controlLine(command).trimEnd())).toEqual(command);
  for (const line of ['!', '!{', '!{"other":1}', '!{"end":"now"}'])
    expect(parseControl(commandSchema, line)).toBeNull();
});
