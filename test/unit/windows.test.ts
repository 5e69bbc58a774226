import { chmod, mkdir, mkdtemp, readdir, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isAlive, startOf } from '../../src/base/processStart';
import {
  listWindows,
  readWindow,
  removeWindow,
  windowOf,
  type WindowRecord,
  windowsDir,
  writeWindow,
} from '../../src/pipe/windows';

let dir = '';
let started = 0;

beforeEach(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), 'codex-worker-windows-')));
  started = await startOf(process.pid);
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const record = (id: string, changes: Partial<WindowRecord> = {}): WindowRecord => ({
  ...{ version: 1, id, pid: process.pid, started, folders: [dir], address: '/x.sock', token: 't' },
  worker: { version: '1', trusted: true, host: hostname(), opened: 1 },
  ...changes,
});
const [a, b] = ['aaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbb-1'];
const names = (): Promise<string[]> => readdir(windowsDir(dir));
const write = async (id: string, text: string, mode = 0o600): Promise<void> => {
  await mkdir(windowsDir(dir), { recursive: true, mode: 0o700 });
  await writeFile(join(windowsDir(dir), `${id}.json`), text, { mode });
};

describe('the files of windows', () => {
  it('are found again as they were written, privately', async () => {
    await writeWindow(dir, record(a));
    await writeWindow(dir, record(b, { folders: [] }));
    expect(await readWindow(dir, a)).toEqual(record(a));
    expect((await listWindows(dir)).alive.map(({ id }) => id).sort()).toEqual([a, b]);
    expect((await listWindows(dir)).unreadable).toEqual([]);
  });

  it('of the dead are removed, by what the process is and not by its number', async () => {
    await writeWindow(dir, record(a, { started: started + 1 }));
    await writeWindow(dir, record(b));
    expect((await listWindows(dir)).alive.map(({ id }) => id)).toEqual([b]);
    expect(await names()).toEqual([`${b}.json`]);
  });

  it('of another machine, whose home is the same, are left alone and not used', async () => {
    const worker = { version: '1', trusted: true, host: 'elsewhere', opened: 1 };
    await writeWindow(dir, record(a, { started: started + 1, worker }));
    expect((await listWindows(dir)).alive).toEqual([]);
    expect(await names()).toEqual([`${a}.json`]);
  });

  it('are not removed by the window before', async () => {
    await writeWindow(dir, record(a));
    await removeWindow(dir, record(a, { started: started - 1 }));
    expect(await names()).toEqual([`${a}.json`]);
    await removeWindow(dir, record(a));
    expect(await names()).toEqual([]);
  });

  it.each([
    ['damaged', '{"version":1', 'damaged'],
    ['of another id', JSON.stringify(record(b)), 'damaged'],
    ['of a wrong form', JSON.stringify({ ...record(a), folders: 'x' }), 'damaged'],
    ['null', 'null', 'damaged'],
    ['of a later version', JSON.stringify({ version: 2 }), 'version'],
    ['too large', JSON.stringify(record(a, { folders: ['x'.repeat(70_000)] })), 'private'],
  ])('that are %s are told as that, and kept', async (_name, text, why) => {
    await write(a, text);
    expect(await readWindow(dir, a)).toEqual({ id: a, why });
    expect(await listWindows(dir)).toEqual({ alive: [], unreadable: [{ id: a, why }] });
    expect(await names()).toEqual([`${a}.json`]);
  });

  it('that others can read, or that lead elsewhere, are never read', async () => {
    await write(a, JSON.stringify(record(a)), 0o644);
    expect(await readWindow(dir, a)).toEqual({ id: a, why: 'private' });
    const elsewhere = join(dir, 'elsewhere.json');
    await writeFile(elsewhere, JSON.stringify(record(b)), { mode: 0o600 });
    await symlink(elsewhere, join(windowsDir(dir), `${b}.json`));
    expect(await readWindow(dir, b)).toEqual({ id: b, why: 'private' });
    await chmod(join(windowsDir(dir), `${a}.json`), 0o600);
    expect(await readWindow(dir, a)).toEqual(record(a));
    await chmod(windowsDir(dir), 0o755);
    expect(await readWindow(dir, a)).toEqual({ id: a, why: 'private' });
    await expect(writeWindow(dir, record(a))).rejects.toThrow('nobody else can enter');
  });

  it('have names that lead nowhere else', async () => {
    await writeFile(join(dir, 'secret.json'), '{}');
    for (const id of ['../secret', 'secret', '', `${a}/x`, 'AAAAAAAAAAAAAAAA']) {
      expect(await readWindow(dir, id)).toBeNull();
    }
  });
});

describe('the window of a directory', () => {
  it('is the one that holds it most closely, through links, and of equals the named or newest one', async () => {
    await mkdir(join(dir, 'project', 'packages', 'a'), { recursive: true });
    await mkdir(join(dir, 'project-2'));
    await symlink(join(dir, 'project', 'packages'), join(dir, 'link'));
    const outer = record('1'.repeat(16), { folders: [join(dir, 'project')] });
    const inner = record('2'.repeat(16), { folders: ['/nowhere', join(dir, 'link')] });
    const twin = record('3'.repeat(16), {
      folders: [join(dir, 'project')],
      worker: { version: '1', trusted: true, host: hostname(), opened: 2 },
    });
    const empty = record('4'.repeat(16), { folders: [] });
    const windows = [outer, inner, twin, empty];
    const of = async (path: string, preferred?: string) => (await windowOf(join(dir, path), windows, preferred))?.id[0];
    expect(await of('project/packages/a')).toBe('2');
    expect(await of('link/a')).toBe('2');
    expect(await of('project')).toBe('3');
    expect(await of('project', outer.id)).toBe('1');
    expect(await of('project/packages', outer.id)).toBe('2');
    expect(await of('project-2')).toBeUndefined();
    expect(await of('.')).toBeUndefined();
    expect(await of('project/..secret')).toBe('3');
  });
});

it('a process is known by its number and its start', async () => {
  expect(await isAlive(process.pid, started)).toBe(true);
  expect(await isAlive(process.pid, started + 1)).toBe(process.platform !== 'linux');
  expect(await isAlive(2 ** 22 + 1, started)).toBe(false);
});
