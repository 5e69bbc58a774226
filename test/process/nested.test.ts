import { readFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { join } from 'node:path';
import { bundled } from '../rig/bundled';
import { type CodexRig, startCodexRig, startWorker } from '../rig/codexRig';
import { exists } from '../rig/installEditor';
import { processesWith } from '../rig/processes';
import { until } from '../rig/until';

/** Our own program in the person's Codex configuration: each thread of a task starts it, below our own app-server. */

describe('our own program without a worker that it could work through', () => {
  let rig: CodexRig;
  let worker: Awaited<ReturnType<typeof startWorker>>;

  beforeAll(async () => {
    rig = await startCodexRig({
      more: [
        // Known by its program, whatever it is called.
        '\n[mcp_servers.delegate]',
        `command = ${JSON.stringify(process.execPath)}`,
        `args = ${JSON.stringify([bundled('stdio'), '--state-dir', '/nonexistent/codex-worker-off'])}`,
        'required = true',
        '\n[mcp_servers.linked]',
        `command = "mcp-codex-worker"`,
        'required = true',
        // What hides behind a shell is not known, and refuses by itself.
        '\n[mcp_servers.codex-worker]',
        'command = "sh"',
        // The store of the program is not that of the task.
        `args = ${JSON.stringify(['-c', `exec ${process.execPath} ${bundled('stdio')} --state-dir /nonexistent/codex-worker-nested`])}`,
        'default_tools_approval_mode = "approve"',
        'required = true\n',
      ].join('\n'),
    });
    worker = await startWorker(rig, { keepMs: () => 60_000 });
  });
  afterAll(async () => {
    await worker.shutDown();
    await rig.dispose();
  });

  it('is switched off where it is known, and elsewhere refuses every call, owns no store, and leaves with its thread', async () => {
    const prompt = 'tool: mcp__codex_worker/spawn_task {"prompt":"say nested"}\nsay over';
    const { id } = await worker.tasks.spawn({ prompt }, 'test');
    let started = 0;
    await until(
      'it has ended',
      () => {
        started = Math.max(started, processesWith('codex-worker-off').length);
        return worker.tasks.get(id).endedAt !== null;
      },
      30_000,
    );
    expect(started).toBe(0);
    expect(worker.tasks.get(id)).toMatchObject({ status: 'completed', finalMessage: 'over' });
    const answers = rig.model.requests.at(-1)?.input.filter(({ type }) => type.endsWith('_output'));
    expect(JSON.stringify(answers)).toMatch(/not_available.*started by Codex inside a task/);
    expect(worker.tasks.snapshots()).toHaveLength(1);
    expect(await exists(join('/nonexistent', 'codex-worker-nested'))).toBe(false);
    await until('nothing of it is left', () => processesWith('codex-worker-nested').length === 0, 15_000);
  });
});

describe('our own program inside a task', () => {
  let rig: CodexRig;
  let worker: Awaited<ReturnType<typeof startWorker>>;
  const ownStore = '/nonexistent/codex-worker-inside';

  beforeAll(async () => {
    rig = await startCodexRig({
      more: [
        '\n[mcp_servers.codex-worker]',
        `command = ${JSON.stringify(process.execPath)}`,
        `args = ${JSON.stringify([bundled('stdio'), '--state-dir', ownStore])}`,
        'default_tools_approval_mode = "approve"',
        'required = true\n',
      ].join('\n'),
    });
  });
  afterEach(async () => {
    await worker.shutDown();
    expect(await exists(ownStore)).toBe(false);
    await until('nothing of it is left', () => processesWith('codex-worker-inside').length === 0, 15_000);
  });
  afterAll(() => rig.dispose());

  async function start(nestedTasks: number): Promise<void> {
    const settings = { nestedTasks: () => nestedTasks, maxConcurrentTasks: () => 1 };
    worker = await startWorker(rig, { keepMs: () => 60_000, settings });
    await worker.share('those of a test');
  }

  async function ended(prompt: string, more: object = {}): Promise<string> {
    const { id } = await worker.tasks.spawn({ prompt, ...more }, 'window');
    await until('it has ended', () => worker.tasks.get(id).endedAt !== null, 60_000);
    expect(worker.tasks.get(id)).toMatchObject({ status: 'completed' });
    return id;
  }

  /** What the model was told by the tools that it called, in all conversations. */
  function told(): string {
    const outputs = rig.model.requests.flatMap(({ input }) => input.filter(({ type }) => type.endsWith('_output')));
    return JSON.stringify(outputs);
  }

  it('starts tasks in the worker of its task, where the person allowed it, and waits for them in its place', async () => {
    await start(1);
    const outer = await ended('tool: mcp__codex_worker/spawn_task {"prompt":"say nested","wait_ms":30000}\nsay over', {
      sandbox: 'read-only',
    });
    const inner = worker.tasks.snapshots().find(({ id }) => id !== outer);
    expect(inner).toMatchObject({ status: 'completed', finalMessage: 'nested', sandbox: 'read-only' });
    expect(inner?.spawnedBy).toBe(`window#task:${outer}`);
    expect(told()).toContain('nested');
  });

  it('may start none in a Codex that a command of a task runs, and reaches no task of others', async () => {
    await start(0);
    const { id: other } = await worker.tasks.spawn({ prompt: 'hang' }, 'window');
    await until('it works', () => worker.tasks.get(other).turns === 1);
    const run = (tool: string, args: object, file: string): string => {
      const prompt = `tool: mcp__codex_worker/${tool} ${JSON.stringify(args)}`;
      return `${rig.codexPath} exec --skip-git-repo-check -s danger-full-access '${prompt}' < /dev/null > ${file} 2>&1`;
    };
    const commands = [
      run('spawn_task', { prompt: 'say no' }, 'spawn.txt'),
      run('cancel_task', { task_id: other }, 'cancel.txt'),
    ];
    // It has the only place.
    await worker.tasks.cancel([other]);
    const id = await ended(`run: ${commands.join('; ')}\nsay over`, { sandbox: 'danger-full-access' });
    expect(worker.tasks.snapshots().map((task) => task.id)).toEqual([other, id]);
    expect(told()).toMatch(/policy_denied.*Tasks may not start tasks/);
    expect(told()).toMatch(/policy_denied.*none that this task started/);
    expect(await readFile(`${rig.workspace}/spawn.txt`, 'utf8')).toContain('spawn_task');
  });
});
