import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { StoredRequest } from '../../src/core/ports';
import { hashOf } from '../../src/core/hash';
import type { TaskSnapshot } from '../../src/core/taskSnapshot';
import { takeStoreLock } from '../../src/store/storeLock';
import { TaskFiles } from '../../src/store/taskFiles';
import { base } from '../fakes/snapshots';

let dir: string;
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
    expect(await files.load()).toEqual([
      { snapshot: { version: 1, ...done }, request, unsaid: { next: null, queue: [] } },
    ]);
  });

  it('that are cut at any byte cost that task only, and are told', async () => {
    const path = await written(done);
    await written({ ...done, id: 'wise-wolf-7', createdAt: 1 });
    for (const name of ['meta.json', 'request.json']) {
      const whole = await readFile(join(path, name));
      for (let length = 0; length < whole.length - 2; length += 7) {
        await writeFile(join(path, name), whole.subarray(0, length));
        const loaded = await (await TaskFiles.open(dir, log)).load();
        expect(loaded.map(({ snapshot }) => snapshot.id)).toEqual(['wise-wolf-7']);
        expect(lines.pop()).toContain(`The task in ${path} could not be brought back`);
      }
      await writeFile(join(path, name), whole);
    }
  });

  it('are gone when the task is removed, also what was still to be written', async () => {
    const path = await written(done);
    const files = await TaskFiles.open(dir, log);
    files.append(done.id, 'verbose', 'more');
    files.remove(done.id);
    await files.flush();
    await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' });
    expect([await files.load(), lines]).toEqual([[], []]);
  });

  it('of a later version, of another task, or of none are left alone', async () => {
    const path = await written(done);
    const meta = await readFile(join(path, 'meta.json'), 'utf8');
    await mkdir(join(dir, 'tasks', 'calm-crow-5'));
    await mkdir(join(dir, 'tasks', 'not a task'));
    for (const text of [meta.replace('"version": 1', '"version": 2'), meta.replace(base.id, 'other-task-1')]) {
      await writeFile(join(path, 'meta.json'), text);
      expect(await (await TaskFiles.open(dir, log)).load()).toEqual([]);
      expect(await readFile(join(path, 'meta.json'), 'utf8')).toBe(text);
    }
  });
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
  });
});
