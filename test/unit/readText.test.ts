import { execFileSync } from 'node:child_process';
import { appendFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readLines, readText, readTextWithin } from '../../src/base/readText';
import { collect } from '../rig/collect';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'codex-worker-read-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

describe('a file of somebody else', () => {
  it('is read up to a limit, and is none when it is missing', async () => {
    const path = join(dir, 'text');
    await writeFile(path, 'ü'.repeat(50));
    expect([await readText(path, 100), await readText(join(dir, 'none'), 100)]).toEqual(['ü'.repeat(50), null]);
    await appendFile(path, '!');
    await expect(readText(path, 100)).rejects.toMatchObject({
      reason: 'too_large',
      message: `"${path}" has more than 100 bytes.`,
    });
  });

  it('that never ends is not begun: a device, a pipe, a directory, also behind a link', async () => {
    const [pipe, link] = [join(dir, 'pipe'), join(dir, 'link')];
    execFileSync('mkfifo', [pipe]);
    await symlink('/dev/zero', link);
    for (const path of [pipe, link, dir, '/dev/zero']) {
      await expect(readText(path, 100)).rejects.toMatchObject({ reason: 'irregular' });
      await expect(collect(readLines(path, 100))).rejects.toMatchObject({ reason: 'irregular' });
    }
  });

  it('that is no UTF-8 is refused, and not read as something else', async () => {
    const path = join(dir, 'bytes');
    await writeFile(path, Buffer.from([0x61, 0xff, 0x62]));
    await expect(readText(path, 100)).rejects.toMatchObject({ reason: 'no_text' });
  });

  it('that a link leads out of its place is refused', async () => {
    const inside = join(dir, 'inside');
    await mkdir(inside);
    await writeFile(join(dir, 'secret'), 'x');
    await writeFile(join(inside, 'own'), 'own');
    await symlink(join(dir, 'secret'), join(inside, 'link'));
    await symlink(join(inside, 'own'), join(inside, 'other'));
    await expect(readTextWithin(inside, join(inside, 'link'), 10)).rejects.toMatchObject({ reason: 'elsewhere' });
    expect(await readTextWithin(inside, join(inside, 'other'), 10)).toBe('own');
  });
});

describe('lines', () => {
  const line = (index: number): string => `${index} ${'ü'.repeat(index % 97)}`;
  const lines = Array.from({ length: 5_000 }, (_, index) => line(index));

  it('come whole over all chunks, the last one without its end too; none of a file that is missing', async () => {
    const path = join(dir, 'lines');
    await writeFile(path, lines.join('\n'));
    expect(await collect(readLines(path, 1_000))).toEqual(lines);
    expect(await collect(readLines(join(dir, 'none'), 1_000))).toEqual([]);
  });

  it('that are too long are left out, whether they come in one chunk or in many', async () => {
    const path = join(dir, 'lines');
    await writeFile(path, ['a', 'x'.repeat(101), 'b', 'y'.repeat(200_000), 'c', 'z'.repeat(300)].join('\n'));
    expect(await collect(readLines(path, 100))).toEqual(['a', 'b', 'c']);
  });

  it('of a part are those that begin in it, wherever it begins', async () => {
    const path = join(dir, 'lines');
    await writeFile(path, 'one\ntwo\nthree\n');
    const from = (start: number): Promise<string[]> => collect(readLines(path, 100, { start }));
    expect([await from(0), await from(1), await from(4), await from(5), await from(13)]).toEqual([
      ...[['one', 'two', 'three'], ['two', 'three'], ['two', 'three'], ['three'], []],
    ]);
    expect(await collect(readLines(path, 100, { end: 8 }))).toEqual(['one', 'two']);
    await writeFile(path, `${'x'.repeat(150_000)}\nnext\n`);
    expect(await from(10)).toEqual(['next']);
  });
});
