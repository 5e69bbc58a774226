import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { listen, newLocalAddress } from '../../src/base/localSocket';
import { Deadlines } from '../../src/core/deadlines';
import { Emitter, tellListenerBugs } from '../../src/core/emitter';

describe('an address for a socket', () => {
  const before = { ...process.env };
  let parent = '';
  beforeEach(async () => {
    parent = await mkdtemp(join(tmpdir(), 'cw-sockets-'));
    process.env.XDG_RUNTIME_DIR = parent;
  });
  afterEach(async () => {
    process.env.XDG_RUNTIME_DIR = before.XDG_RUNTIME_DIR ?? '';
    await rm(parent, { recursive: true, force: true });
  });

  const left = async (name: string, owner: string | null, mode = 0o700): Promise<string> => {
    const dir = join(parent, name);
    await mkdir(dir, { mode });
    if (owner !== null) await writeFile(join(dir, 'owner'), owner, { mode: 0o600 });
    return name;
  };

  it('takes those of the dead away, told by exact identity, and nothing else', async () => {
    const dead = spawnSync(process.execPath, ['-e', '']).pid;
    await left('codex-worker-dead01', `${dead}:1`);
    // Somebody else has the number by now.
    await left('codex-worker-reused', `${process.pid}:1`);
    const kept = [
      await left('codex-worker-noown1', null),
      await left('codex-worker-strang', 'who knows'),
      await left('codex-worker-shared', `${dead}:1`, 0o755),
      await left('codex-worker-longer-name', `${dead}:1`),
    ];
    // It may live in another container.
    const answering = await left('codex-worker-answer', `${dead}:1`);
    const server = createServer();
    await listen(server, { path: join(parent, answering, 's.sock') });
    const own = await newLocalAddress();
    const expected = [...kept, answering, dirname(own.address).slice(parent.length + 1)].sort();
    await vi.waitFor(async () => expect((await readdir(parent)).sort()).toEqual(expected), 5_000);
    await own.cleanUp();
    await expect(stat(dirname(own.address))).rejects.toMatchObject({ code: 'ENOENT' });
    server.close();
  });
});

it('a deadline may be further away than a timer can be', () => {
  vi.useFakeTimers();
  const deadlines = new Deadlines();
  const due: string[] = [];
  const day = 86_400_000;
  deadlines.set('far', 60 * day, () => due.push('far'));
  deadlines.set('gone', 60 * day, () => due.push('gone'));
  vi.advanceTimersByTime(59 * day);
  deadlines.clear('gone');
  expect(due).toEqual([]);
  vi.advanceTimersByTime(2 * day);
  expect(due).toEqual(['far']);
  vi.useRealTimers();
});

it('a bug in a listener is told, and stops neither the others nor the program', async () => {
  const bugs: unknown[] = [];
  tellListenerBugs((error) => bugs.push(error));
  const emitter = new Emitter<number>();
  const heard: number[] = [];
  const bug = new Error('a bug');
  emitter.event(() => {
    throw bug;
  });
  emitter.event((value) => heard.push(value));
  emitter.fire(1);
  await Promise.resolve();
  expect([bugs, heard]).toEqual([[bug], [1]]);
});
