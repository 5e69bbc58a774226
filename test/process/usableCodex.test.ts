import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { findCodex, thisMachine } from '../../src/codex/findCodex';
import { writeCodexHome } from '../../src/demo/codexHome';
import type { Worker } from '../../src/worker';
import { type CodexRig, launcherPath, startCodexRig, startWorker } from '../rig/codexRig';
import { until } from '../rig/until';

let rig: CodexRig;
let worker: Worker | undefined;

beforeAll(async () => {
  rig = await startCodexRig();
});
afterAll(() => rig.dispose());
afterEach(async () => {
  await worker?.shutDown();
  worker = undefined;
});

/** A program in front of the real Codex, as a version manager or a container would put one there. */
async function wrapper(name: string, script: string): Promise<string> {
  const path = join(rig.dir, name);
  await writeFile(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return path;
}

async function refusal(
  changes: Partial<CodexRig>,
  sandbox: 'workspace-write' | 'danger-full-access' = 'danger-full-access',
): Promise<unknown> {
  worker = await startWorker({ ...rig, ...changes });
  return worker.tasks.spawn({ prompt: 'say hi', sandbox }, 'test').then(
    () => null,
    (error: unknown) => error,
  );
}

it('a Codex that is not there, does not run or is too old is refused with what to do', async () => {
  expect(await refusal({ codexPath: join(rig.dir, 'nothing') })).toMatchObject({
    code: 'codex_not_found',
    hint: expect.stringContaining('npm install -g @openai/codex') as string,
  });
  expect(await refusal({ codexPath: await wrapper('broken', 'echo "no such library" >&2; exit 1') })).toMatchObject({
    code: 'codex_not_found',
    message: expect.stringContaining('no such library') as string,
  });
  expect(await refusal({ codexPath: await wrapper('old', 'echo codex-cli 0.100.0') })).toMatchObject({
    code: 'codex_too_old',
    message: expect.stringContaining('Codex 0.100.0') as string,
  });
});

it('a Codex that is not logged in is refused before any turn', async () => {
  const codexHome = join(rig.dir, 'fresh-home');
  await mkdir(codexHome);
  const env = { CODEX_HOME: codexHome, OPENAI_API_KEY: '', CODEX_API_KEY: '' };
  expect(await refusal({ env })).toMatchObject({
    code: 'codex_not_logged_in',
    hint: expect.stringContaining('codex login') as string,
  });
  expect(worker?.tasks.snapshots()).toEqual([]);
});

it('an account that is changed while Codex runs is the one of the next task', async () => {
  const codexHome = join(rig.dir, 'changing-home');
  await writeCodexHome(codexHome, { modelUrl: rig.model.url });
  const config = join(codexHome, 'config.toml');
  const text = await readFile(config, 'utf8');
  await writeFile(config, text.replace('requires_openai_auth = false', 'requires_openai_auth = true'));
  const env = { CODEX_HOME: codexHome, OPENAI_API_KEY: '', CODEX_API_KEY: '' };
  expect(await refusal({ env })).toMatchObject({ code: 'codex_not_logged_in' });
  await execa(rig.codexPath, ['login', '--with-api-key'], { env, input: 'sk-test-0123456789abcdef0123456789' });
  const { id } = await worker!.tasks.spawn({ prompt: 'hang' }, 'test');
  await until('it works', () => worker!.tasks.get(id).turns === 1);
  await execa(rig.codexPath, ['logout'], { env });
  // Its account is the one that it was begun with.
  await expect(worker!.tasks.spawn({ prompt: 'say hi' }, 'test')).rejects.toMatchObject({
    code: 'codex_unavailable',
    retryable: true,
    message: expect.stringContaining('another account') as string,
  });
  await worker!.tasks.cancel([id]);
  await expect(worker!.tasks.spawn({ prompt: 'say hi' }, 'test')).rejects.toMatchObject({
    code: 'codex_not_logged_in',
  });
});

it('an app-server that ends at its start is told, and the next task tries again', async () => {
  const flag = join(rig.dir, 'works');
  const codexPath = await wrapper(
    'flaky',
    `[ "$1" != app-server ] || [ -e ${flag} ] || { echo "bad config" >&2; exit 3; }\nexec ${rig.codexPath} "$@"`,
  );
  expect(await refusal({ codexPath })).toMatchObject({
    code: 'codex_unavailable',
    retryable: true,
    message: expect.stringContaining('bad config') as string,
  });
  await writeFile(flag, '');
  expect(await worker!.tasks.spawn({ prompt: 'say hi' }, 'test')).toMatchObject({ status: 'submitted' });
});

it('a sandbox that cannot start is found before the first task, and explained', async () => {
  // The real Codex where no user namespaces can be made, as in many containers.
  const inner = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" "$@"';
  const codexPath = await wrapper(
    'contained',
    `exec unshare --user --map-root-user sh -c '${inner}' ${rig.codexPath} "$@"`,
  );
  expect(await refusal({ codexPath }, 'workspace-write')).toMatchObject({
    code: 'codex_unavailable',
    message: expect.stringContaining('sandbox "workspace-write" does not start') as string,
    hint: expect.stringContaining('user namespaces') as string,
  });
  expect(worker?.tasks.snapshots()).toEqual([]);
  const task = await worker!.tasks.spawn({ prompt: 'say hi', sandbox: 'danger-full-access' }, 'test');
  const { tasks } = await worker!.tasks.wait({ caller: 'test', about: [task.id], until: 'all', timeoutMs: 20_000 });
  expect(tasks[0]).toMatchObject({ status: 'completed' });
});

it('a sandbox that cannot start in one directory is told with the link that is in its way, and starts in another', async () => {
  const [linked, plain] = [join(rig.workspace, 'linked'), join(rig.workspace, 'plain')];
  await Promise.all([linked, plain, join(rig.workspace, 'elsewhere')].map((dir) => mkdir(dir)));
  await symlink('../elsewhere', join(linked, '.codex'));
  worker = await startWorker(rig);
  const spawn = (cwd: string): Promise<unknown> =>
    worker!.tasks.spawn({ prompt: 'say hi', sandbox: 'workspace-write', cwd }, 'test');
  await expect(spawn(linked)).rejects.toMatchObject({
    code: 'codex_unavailable',
    message: expect.stringMatching(/does not start in .*linked: .*\.codex/) as string,
    hint: expect.stringMatching(/^(?!.*danger-full-access).*link/) as string,
  });
  expect(await spawn(plain)).toMatchObject({ status: 'submitted' });
});

describe('a task whose commands could write where the doors are', () => {
  const spawn = (more: object = {}): Promise<unknown> =>
    worker!.tasks.spawn({ prompt: 'say hi', sandbox: 'workspace-write', ...more }, 'test');
  const refused = {
    code: 'not_available',
    message: expect.stringContaining('doors') as string,
    hint: expect.stringContaining('CODEX_WORKER_DATA') as string,
  };

  it('is refused when its folder holds them, unless it only reads', async () => {
    const dataDir = join(rig.workspace, 'home', 'data');
    worker = await startWorker({ ...rig, dataDir });
    await expect(spawn()).rejects.toMatchObject(refused);
    await expect(spawn({ cwd: join(rig.workspace, 'home') })).rejects.toMatchObject(refused);
    expect(await spawn({ sandbox: 'read-only' })).toMatchObject({ sandbox: 'read-only' });
    expect(worker.tasks.snapshots()).toHaveLength(1);
  });

  it.each([
    ['the temporary directory', '/tmp', ''],
    ['a root that the configuration adds', null, '\n[sandbox_workspace_write]\nwritable_roots = ["PARENT"]\n'],
  ])('is refused when %s holds them', async (_name, parent, config) => {
    const dataDir = parent === null ? rig.dataDir : await mkdtemp(join(parent, 'codex-worker-test-'));
    const codexHome = join(rig.dir, `home of ${_name}`);
    await writeCodexHome(codexHome, { modelUrl: rig.model.url, more: config.replace('PARENT', dirname(dataDir)) });
    worker = await startWorker({ ...rig, dataDir, env: { ...rig.env, CODEX_HOME: codexHome } });
    await expect(spawn()).rejects.toMatchObject(refused);
    if (parent !== null) await rm(dataDir, { recursive: true });
  });

  it('has them in the runtime directory where the folder holds the data directory', async () => {
    const runtime = await mkdtemp(join(dirname(rig.dataDir), 'run-'));
    vi.stubEnv('XDG_RUNTIME_DIR', runtime);
    onTestFinished(async () => {
      vi.unstubAllEnvs();
      await rm(runtime, { recursive: true });
    });
    worker = await startWorker({ ...rig, dataDir: join(rig.workspace, 'home', 'data') });
    expect(await spawn()).toMatchObject({ status: 'submitted' });
  });
});

it('tells of a command that the sandbox did not start, which Codex tells its model alone', async () => {
  const cwd = join(rig.workspace, 'linked-later');
  await mkdir(join(cwd, 'elsewhere'), { recursive: true });
  worker = await startWorker(rig);
  const { tasks } = worker;
  const { id } = await tasks.spawn({ prompt: 'run: echo fine\nsay hi', sandbox: 'workspace-write', cwd }, 'test');
  const ended = () => tasks.wait({ caller: 'test', about: [id], until: 'all', timeoutMs: 20_000 });
  await ended();
  await symlink('elsewhere', join(cwd, '.codex'));
  await tasks.message(id, { text: 'run: touch made.txt\nsay made it', mode: 'auto' }, 'test');
  await ended();
  const { text } = await tasks.readJournal(id, 'timeline', 0, 100_000);
  expect(text.match(/CMD echo fine/g)).toHaveLength(1);
  // On a slow machine Codex tells of it itself, with how long it took. It is told once in any case.
  expect(text.match(/CMD touch made\.txt/g)).toHaveLength(1);
  expect(text).toMatch(
    /CMD touch made\.txt\n[\d:]+ EXIT exit 1(?: · \d+ ms)? touch made\.txt\n(?:.*\n)?[\d:]+ TURN completed/,
  );
  expect(tasks.get(id).outputTail).toContain('crosses writable symlink');
  await expect(tasks.spawn({ prompt: 'say hi', sandbox: 'workspace-write', cwd }, 'test')).rejects.toMatchObject({
    code: 'codex_unavailable',
    hint: expect.stringContaining('link') as string,
  });
});

it('twenty tasks at once look for Codex once, and try its sandbox once', async () => {
  const calls = join(rig.dir, 'calls');
  const codexPath = await wrapper('counting', `echo "$1" >> ${calls}\nexec ${rig.codexPath} "$@"`);
  worker = await startWorker({ ...rig, codexPath });
  const spawns = Array.from({ length: 20 }, (_, i) =>
    worker!.tasks.spawn({ prompt: `say ${i}`, sandbox: 'workspace-write' }, 'test'),
  );
  expect(await Promise.all(spawns)).toHaveLength(20);
  const made = (await readFile(calls, 'utf8')).trim().split('\n');
  expect(made.sort()).toEqual(['--version', 'app-server', 'sandbox']);
});

it('a broken configuration is told by file and line, whatever else it brings about, and is read again once it is mended', async () => {
  const codexHome = join(rig.dir, 'broken-home');
  await writeCodexHome(codexHome, { modelUrl: rig.model.url });
  const config = join(codexHome, 'config.toml');
  const text = await readFile(config, 'utf8');
  const line = text.split('\n').length + 1;
  for (const sandbox of ['workspace-write', 'danger-full-access'] as const) {
    await writeFile(config, `${text}\nthis is = = not toml\n`);
    await worker?.shutDown();
    expect(await refusal({ env: { CODEX_HOME: codexHome } }, sandbox)).toMatchObject({
      code: 'codex_unavailable',
      message: expect.stringContaining(`${config}:${line}:`) as string,
      hint: 'Correct that file, then try again.',
    });
    await writeFile(config, text);
    expect(await worker!.tasks.spawn({ prompt: 'say hi', sandbox }, 'test')).toMatchObject({ status: 'submitted' });
  }
});

it.each([true, false])('why Codex did not start is told (kept by a keeper: %s)', async (isKept) => {
  const missing = join(rig.dir, 'no-home');
  const keep = isKept ? { keepMs: () => 1_000 } : {};
  worker = await startWorker({ ...rig, env: { CODEX_HOME: missing } }, keep);
  await expect(worker.tasks.spawn({ prompt: 'say hi', sandbox: 'danger-full-access' }, 'test')).rejects.toMatchObject({
    code: 'codex_unavailable',
    message: expect.stringContaining(`CODEX_HOME points to "${missing}"`) as string,
  });
});

it('a launcher whose program is missing is told as that, and passed over for a good one behind it', async () => {
  const [broken, shim] = [join(rig.dir, 'broken-npm'), join(rig.dir, 'shim-npm')];
  const launcher = join(broken, 'lib/@openai/codex/bin/codex.js');
  await mkdir(join(launcher, '..'), { recursive: true });
  await mkdir(shim);
  await writeFile(launcher, '#!/usr/bin/env node\n', { mode: 0o755 });
  await symlink(launcher, join(broken, 'codex'));
  const script = '#!/bin/sh\necho "Error: Missing optional dependency @openai/codex-linux-x64" >&2\necho "Node.js v20" >&2\nexit 1\n';
  await writeFile(join(shim, 'codex'), script, { mode: 0o755 });
  const find = (...dirs: readonly string[]) => findCodex({ ...thisMachine(null, null), searchPath: dirs.join(':') });
  for (const dir of [broken, shim]) {
    await expect(find(dir)).rejects.toMatchObject({
      code: 'codex_not_found',
      message: `"${join(dir, 'codex')}" starts Codex's npm package, whose program for this machine is missing.`,
      hint: expect.stringContaining('--include=optional') as string,
    });
  }
  expect(await find(broken, shim, dirname(launcherPath))).toMatchObject({ source: 'PATH' });
}); // prettier-ignore
