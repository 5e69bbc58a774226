import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Answer, RequestQuestion } from '../../src/core/pendingRequest';
import type { TaskSnapshot } from '../../src/core/taskSnapshot';
import { type CodexRig, startCodexRig, startWorker } from '../rig/codexRig';
import { until } from '../rig/until';

/** Requests of the protocol that the real Codex of today does not send, or not without an account. */

let rig: CodexRig;
let worker: Awaited<ReturnType<typeof startWorker>>;

beforeAll(async () => {
  rig = await startCodexRig();
  const codexPath = join(rig.dir, 'fake-codex');
  const script = join(import.meta.dirname, '../fakes/appServer.mjs');
  await writeFile(codexPath, `#!/bin/sh\nexec ${process.execPath} ${script} "$@"\n`, { mode: 0o755 });
  worker = await startWorker({ ...rig, codexPath }, { gateless: true });
});
afterAll(async () => {
  await worker.shutDown();
  await rig.dispose();
});

const caller = 'test';

interface Question {
  /** Told, and not asked. */
  readonly notify?: boolean;
  readonly method: string;
  readonly params?: object;
}

async function spawn(questions: readonly Question[]): Promise<string> {
  return (await worker.tasks.spawn({ prompt: JSON.stringify(questions) }, caller)).id;
}

async function asked(id: string): Promise<RequestQuestion> {
  const [request] = await until('it asks', () => {
    const { pending } = worker.tasks.get(id);
    return pending.length > 0 ? pending : null;
  });
  return request!.question;
}

function replies(task: TaskSnapshot): unknown {
  return JSON.parse(task.finalMessage ?? 'null');
}

const decide = (decision: 'accept' | 'accept_for_session' | 'reject' | 'cancel'): Answer => ({
  kind: 'decision',
  decision,
});

it.each([
  [decide('accept'), 'approved'],
  [decide('accept_for_session'), 'approved_for_session'],
  [decide('reject'), { denied: { rejection: 'It was declined.' } }],
  [decide('cancel'), 'abort'],
])('the legacy approvals take %j as %j', async (answer, decision) => {
  const fileChanges = { '/ws/a.js': { type: 'update', unified_diff: '@@ -1 +1 @@\n-a\n+b\n' } };
  const id = await spawn([
    { method: 'execCommandApproval', params: { command: ['bash', '-lc', 'npm test'], cwd: '/ws', reason: 'why' } },
    { method: 'applyPatchApproval', params: { fileChanges, reason: null } },
  ]);
  expect(await asked(id)).toEqual({
    type: 'command_approval',
    command: 'npm test',
    cwd: '/ws',
    reason: 'why',
    rules: [],
  });
  const who = { by: 'person', caller: 'person' } as const;
  await worker.tasks.respond(id, 'r1', answer, who);
  expect(await asked(id)).toEqual({
    type: 'file_approval',
    changes: [{ path: '/ws/a.js', kind: 'update', patch: '@@ -1 +1 @@\n-a\n+b\n' }],
    reason: null,
  });
  await worker.tasks.respond(id, 'r2', answer, who);
  expect(replies(await finish(id))).toEqual([{ decision }, { decision }]);
});

async function finish(id: string): Promise<TaskSnapshot> {
  const { tasks } = await worker.tasks.wait({ caller, about: [id], until: 'all', timeoutMs: 10_000 });
  expect(tasks[0]).toMatchObject({ status: 'completed' });
  return tasks[0]!;
}

it('what is not for people is answered at once, and an unknown request is "method not found" and a line of the log', async () => {
  const id = await spawn([
    { method: 'currentTime/read' },
    { method: 'account/chatgptAuthTokens/refresh', params: { reason: 'unauthorized' } },
    { method: 'attestation/generate' },
    { method: 'mcpServer/elicitation/request', params: { serverName: 's', mode: 'openai/userVerification' } },
    { method: 'something/new' },
    { method: 'item/commandExecution/requestApproval', params: { command: 7 } },
  ]);
  const answers = replies(await finish(id)) as unknown[];
  expect(answers).toEqual([
    { currentTimeAt: expect.any(Number) as number },
    { code: -32000, message: 'This client holds no tokens; run "codex login".' },
    { code: -32000, message: 'This client has no attestation.' },
    { action: 'decline', content: null, _meta: null },
    { code: -32601, message: 'Method not found: something/new' },
    { code: -32602, message: 'The parameters have an unknown shape.' },
  ]);
  const { currentTimeAt } = answers[0] as { currentTimeAt: number };
  expect(Math.abs(currentTimeAt - Date.now() / 1000)).toBeLessThan(10);
  expect(worker.lines).toContain('warn Codex asked "something/new", which this client does not do; it was refused.');
  const { text } = await worker.tasks.readJournal(id, 'verbose', 0, 10_000);
  expect(text).toContain('[warning] Codex asked "something/new"');
});

it('an approval says what the command gets beyond running, and offers what Codex offers', async () => {
  const id = await spawn([
    {
      method: 'item/commandExecution/requestApproval',
      params: {
        kind: 'writeStdin',
        command: 'yes',
        cwd: '/ws',
        networkApprovalContext: { host: 'example.com', protocol: 'https' },
        additionalPermissions: { network: { enabled: true }, fileSystem: { read: ['/etc'], write: null } },
        proposedExecpolicyAmendment: ['yes'],
        proposedNetworkPolicyAmendments: [{ host: 'example.com', action: 'deny' }],
      },
    },
    { method: 'item/commandExecution/requestApproval', params: { command: 'yes', cwd: '/ws' } },
  ]);
  const deny = { kind: 'network', host: 'example.com', access: 'deny' } as const;
  expect(await asked(id)).toEqual({
    type: 'command_approval',
    command: 'yes',
    cwd: '/ws',
    reason:
      'This is input for a program that runs already. It wants to reach example.com (https). It gets more than the sandbox: use the network, read /etc.',
    rules: [{ kind: 'command', prefix: ['yes'] }, deny],
    grantsMore: true,
  });
  const who = { by: 'person', caller: 'person' } as const;
  await worker.tasks.respond(id, 'r1', { kind: 'rule', rule: deny }, who);
  await asked(id);
  await worker.tasks.respond(id, 'r2', decide('reject'), who);
  expect(replies(await finish(id))).toEqual([
    {
      decision: { applyNetworkPolicyAmendment: { network_policy_amendment: { host: 'example.com', action: 'deny' } } },
    },
    { decision: 'decline' },
  ]);
});

it('what Codex says of no task is kept or logged: the limits of the plan, a warning, and what is unknown', async () => {
  const changes: number[] = [];
  const listening = worker.tasks.onDidChangePlanLimits(() => changes.push(Date.now()));
  const primary = { usedPercent: 91, windowDurationMins: 300, resetsAt: 1_800_000_000 };
  const id = await spawn([
    { notify: true, method: 'account/rateLimits/updated', params: { rateLimits: { primary, secondary: null } } },
    { notify: true, method: 'account/rateLimits/updated', params: { rateLimits: { primary: null, secondary: null } } },
    { notify: true, method: 'configWarning', params: { summary: 'Unknown key', details: 'modle', path: '/c.toml' } },
    { notify: true, method: 'brand/new', params: {} },
    { notify: true, method: 'skills/changed', params: {} },
  ]);
  await finish(id);
  listening.dispose();
  expect(worker.tasks.planLimits).toEqual([{ usedPercent: 91, minutes: 300, resetsAt: 1_800_000_000_000 }]);
  expect(changes).toHaveLength(1);
  expect(worker.lines).toContain('warn codex: Unknown key modle /c.toml');
  expect(worker.lines).toContain('warn Codex sent "brand/new", which this version does not know.');
  expect(worker.lines.join('\n')).not.toContain('skills/changed');
});
