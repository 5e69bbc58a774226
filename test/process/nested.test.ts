import { afterAll, beforeAll, expect, it } from 'vitest';
import { join } from 'node:path';
import { bundled } from '../rig/bundled';
import { type CodexRig, startCodexRig, startWorker } from '../rig/codexRig';
import { exists } from '../rig/installEditor';
import { processesWith } from '../rig/processes';
import { until } from '../rig/until';

/** Our own program in the person's Codex configuration: each thread of a task starts it, below our own app-server. */

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
