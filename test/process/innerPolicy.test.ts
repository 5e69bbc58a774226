import { access, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { gatedTools } from '../../src/codex/gatedThreads';
import type { Answer } from '../../src/core/pendingRequest';
import type { TaskSnapshot } from '../../src/core/taskSnapshot';
import { toolNames } from '../../src/demo/modelRequest';
import { type CodexRig, startCodexRig, startWorker } from '../rig/codexRig';
import { until } from '../rig/until';

/** Rules for what Codex does inside a task, attacked on the real Codex under full access. */

let rig: CodexRig;
let worker: Awaited<ReturnType<typeof startWorker>>;
let policyPath: string;

beforeAll(async () => {
  const args = JSON.stringify([join(import.meta.dirname, '../fakes/mcpServer.mjs')]);
  rig = await startCodexRig({
    more: `\n[mcp_servers.fake]\ncommand = ${JSON.stringify(process.execPath)}\nargs = ${args}\n`,
  });
  policyPath = join(rig.dir, 'inner.yaml');
});
afterAll(() => rig.dispose());
afterEach(() => worker.shutDown());

const asPerson = { by: 'person', caller: 'person' } as const;
const decide = (decision: 'accept' | 'accept_for_session' | 'reject'): Answer => ({ kind: 'decision', decision });

async function start(rules: string, more = ''): Promise<void> {
  await writeFile(policyPath, `${more}\ntools:\n  ${rules}\n`);
  worker = await startWorker(rig, { policyPath });
}

const rule = (tool: string, ...all: readonly string[]): string => `${tool}: {rules: [${all.join(', ')}]}`;

async function spawn(prompt: string): Promise<string> {
  return (await worker.tasks.spawn({ prompt, sandbox: 'danger-full-access', approvalPolicy: 'never' }, 'agent')).id;
}

/** The task when it asks or has ended. */
function stopped(id: string): Promise<TaskSnapshot> {
  return until('it asks or ends', () => {
    const task = worker.tasks.get(id);
    return task.pending.length > 0 || task.endedAt !== null ? task : null;
  });
}

async function ended(id: string): Promise<TaskSnapshot> {
  return until('it ends', () => {
    const task = worker.tasks.get(id);
    return task.endedAt === null ? null : task;
  });
}

const exists = (name: string): Promise<boolean> =>
  access(join(rig.workspace, name)).then(
    () => true,
    () => false,
  );

const asked = (task: TaskSnapshot): unknown => task.pending[0]?.question;

describe('a command', () => {
  it('is accepted by a rule, declined by a rule, and left to the person', async () => {
    await start(
      rule(
        'codex/command',
        '{action: deny, reason: Nothing is removed., conditions: [{path: args.programs, op: contains, value: rm}]}',
        '{action: allow, name: harmless, conditions: [{path: args.programs, op: in, value: [touch, ls]}]}',
      ),
    );
    await writeFile(join(rig.workspace, 'kept.txt'), 'kept');
    const id = await spawn('run: touch made.txt\nrun: mkdir asked\nrun: ls && rm kept.txt\nsay done');
    expect(asked(await stopped(id))).toMatchObject({ type: 'command_approval', command: 'mkdir asked' });
    expect([await exists('made.txt'), await exists('asked')]).toEqual([true, false]);
    await worker.tasks.respond(id, undefined, decide('accept'), asPerson);
    const task = await ended(id);
    expect(task.answers.map(({ by, outcome }) => [by, outcome])).toEqual([
      ['policy', 'accepted'],
      ['person', 'accepted'],
      ['policy', 'declined'],
    ]);
    expect([task.status, await exists('asked'), await exists('kept.txt')]).toEqual(['completed', true, true]);
    expect(JSON.stringify(rig.model.requests.map(({ input }) => input))).toContain('Nothing is removed.');
  });

  it.each([
    ['a second one in a list', 'ls; touch evil.txt'],
    ['a pipeline', 'ls | xargs touch evil.txt'],
    ['a shell of its own', "bash -lc 'touch evil.txt'"],
    ['env', 'env ls=1 touch evil.txt'],
    ['a substitution', 'ls $(touch evil.txt)'],
    ['a here-document', 'cat <<EOF\n$(touch evil.txt)\nEOF'],
    ['a redirection', 'ls > evil.txt'],
    ['a variable', 'PATH=. ls; touch evil.txt'],
  ])('hidden in %s is not what the rule allows', async (_, command) => {
    await start(
      rule('codex/command', '{action: allow, conditions: [{path: args.programs, op: in, value: [ls, cat]}]}'),
    );
    const id = await spawn(`tool: exec_command ${JSON.stringify({ cmd: command })}\nsay done`);
    expect(asked(await stopped(id))).toMatchObject({ type: 'command_approval' });
    expect(await exists('evil.txt')).toBe(false);
  });

  it('that needs a person is not for an agent, even one that may approve', async () => {
    await start(rule('codex/command', '{action: require_approval, name: mine}'));
    const id = await spawn('run: touch mine.txt\nsay done');
    await stopped(id);
    const answer = worker.tasks.respond(id, 'r1', decide('accept'), { by: 'agent', caller: 'agent' });
    await expect(answer).rejects.toMatchObject({ code: 'approval_required' });
    await worker.tasks.respond(id, 'r1', decide('accept'), asPerson);
    await ended(id);
    expect(await exists('mine.txt')).toBe(true);
  });

  it('that was accepted for the session is judged again each time, and no other is accepted with it', async () => {
    await start(rule('codex/command', '{action: require_approval}'));
    const id = await spawn(
      'run: echo a >> session.txt\nrun: echo a >> session.txt\nrun: echo b >> session.txt\nsay done',
    );
    await stopped(id);
    await worker.tasks.respond(id, 'r1', decide('accept_for_session'), asPerson);
    const task = await until('it asks again', () => {
      const one = worker.tasks.get(id);
      return one.pending.length > 0 ? one : null;
    });
    expect(asked(task)).toMatchObject({ command: 'echo b >> session.txt' });
    expect(await readFile(join(rig.workspace, 'session.txt'), 'utf8')).toBe('a\na\n');
    await writeFile(policyPath, 'tools: {codex/command: {rules: [{action: deny, reason: Not any more.}]}}');
    await until(
      'the change is in force',
      () =>
        worker.policies.gate.judge(
          { type: 'command_approval', command: 'x', cwd: '/', reason: null, rules: [] },
          { id, cwd: '/', spawnedBy: 'agent' },
        ).kind === 'decline',
    );
    await worker.tasks.respond(id, undefined, decide('reject'), asPerson);
    await ended(id);
    await worker.tasks.message(id, { text: 'run: echo a >> session.txt\nsay done', mode: 'auto' }, 'agent');
    await until('it was declined', () => worker.tasks.get(id).answers.at(-1)?.by === 'policy');
    await ended(id);
    expect(await readFile(join(rig.workspace, 'session.txt'), 'utf8')).toBe('a\na\n');
  });

  it('cannot be typed into a shell that was accepted', async () => {
    await start(
      rule('codex/command', '{action: allow, conditions: [{path: args.command, op: regex, value: "^bash"}]}'),
    );
    const shell = JSON.stringify({ cmd: 'bash --norc', tty: true, yield_time_ms: 500 });
    const before = rig.model.requests.length;
    const id = await spawn(`tool: exec_command ${shell}\nslow 3s 3\nslow 3s 3`);
    const output = await until('the shell was started', () => {
      const inputs = rig.model.requests.slice(before).map(({ input }) => JSON.stringify(input));
      return inputs.find((text) => text.includes('function_call_output'));
    });
    const session = Number(/session ID (\d+)/.exec(output)?.[1] ?? 1);
    const typed = JSON.stringify({ session_id: session, chars: 'touch typed.txt\n', yield_time_ms: 1_000 });
    await worker.tasks.message(id, { text: `tool: write_stdin ${typed}\nsay typed`, mode: 'steer' }, 'agent');
    const task = await stopped(id);
    if (task.pending.length > 0) expect(asked(task)).toMatchObject({ grantsMore: true });
    expect(await exists('typed.txt')).toBe(false);
  });
});

describe('a change of files', () => {
  const under = '{action: allow, conditions: [{path: args.paths, op: under, value: src}]}';

  it('is accepted inside the folders of a rule, and asked elsewhere', async () => {
    await mkdir(join(rig.workspace, 'src'), { recursive: true });
    await start(rule('codex/file-change', under));
    const id = await spawn('patch: src/in.txt hello\npatch: out.txt hello\nsay done');
    expect(asked(await stopped(id))).toMatchObject({ type: 'file_approval' });
    expect([await exists('src/in.txt'), await exists('out.txt')]).toEqual([true, false]);
  });

  it('accepted for the session asks again when the file is changed otherwise, or deleted', async () => {
    await start(rule('codex/file-change', '{action: require_approval}'));
    const remove = '*** Begin Patch\\n*** Delete File: again.txt\\n*** End Patch';
    const id = await spawn(`patch: again.txt one\npatch-raw: ${remove}\nsay done`);
    await stopped(id);
    await worker.tasks.respond(id, 'r1', decide('accept_for_session'), asPerson);
    const task = await until('it asks again', () => {
      const one = worker.tasks.get(id);
      return one.pending.length > 0 || one.endedAt !== null ? one : null;
    });
    expect(asked(task)).toMatchObject({ type: 'file_approval', changes: [{ kind: 'delete' }] });
    expect(await exists('again.txt')).toBe(true);
  });
});

describe('what Codex would not ask', () => {
  it('is a tool that says it only reads: it is asked about', async () => {
    await start(rule('codex/elicitation', '{action: deny, reason: No tools.}'));
    const id = await spawn('tool: mcp__fake/look {}\nsay done');
    const task = await ended(id);
    expect(task.answers).toMatchObject([{ by: 'policy', outcome: 'declined', type: 'elicitation' }]);
    expect(JSON.stringify(rig.model.requests.at(-1)?.input)).not.toContain('looked');
  });

  it('is what rules of the person or the project allow: it is judged all the same', async () => {
    const dirs = [join(rig.codexHome, 'rules'), join(rig.workspace, '.codex', 'rules')];
    for (const dir of dirs) {
      await mkdir(dir, { recursive: true });
      await writeFile(join(dir, 'default.rules'), 'prefix_rule(pattern=["touch"], decision="allow")\n');
    }
    await start(rule('codex/command', '{action: deny}'));
    const task = await ended(await spawn('run: touch ruled.txt\nsay done'));
    expect(task.answers).toMatchObject([{ by: 'policy', outcome: 'declined', type: 'command_approval' }]);
    expect(await exists('ruled.txt')).toBe(false);
    await Promise.all(dirs.map((dir) => rm(dir, { recursive: true })));
  });

  it('offers the model no tool that asks nobody but those that are known', async () => {
    await start(rule('codex/command', '{action: allow}'));
    await ended(await spawn('say done'));
    const request = rig.model.requests.at(-1);
    const offered = request ? toolNames(request) : [];
    expect(offered).toContain('exec_command');
    expect(offered.filter((name) => !Object.hasOwn(gatedTools, name))).toEqual([]);
    // Called all the same, they do nothing.
    const id = await spawn(`tool: view_image {"path": "${join(rig.workspace, 'x.png')}"}\nsay done`);
    expect(await ended(id)).toMatchObject({ status: 'completed' });
    expect(JSON.stringify(rig.model.requests.at(-1)?.input)).toMatch(
      /unsupported call|not (?:found|enabled|available)/i,
    );
  });

  it('is what was loaded before there were rules: the next turn is begun anew with them', async () => {
    await start('wait-task: {rules: []}');
    const id = await spawn('slow 2s 10');
    await until('it works', () => worker.tasks.get(id).turns === 1);
    await worker.tasks.message(id, { text: 'tool: mcp__fake/look {}\nsay done', mode: 'queue' }, 'agent');
    const denied = [rule('codex/command', '{action: deny}'), rule('codex/elicitation', '{action: deny}')];
    await writeFile(policyPath, `tools:\n  ${denied.join('\n  ')}\n`);
    await until('the rules are in force', () => worker.policies.gate.holds);
    const steered = await worker.tasks.message(id, { text: 'run: touch steered.txt', mode: 'auto' }, 'agent');
    expect(steered.delivered).toBe('queued');
    await until('both were declined', () => worker.tasks.get(id).answers.length === 2);
    const task = await ended(id);
    expect(task.answers.map(({ by, outcome }) => [by, outcome])).toEqual(Array(2).fill(['policy', 'declined']));
    expect(await exists('steered.txt')).toBe(false);
    expect(JSON.stringify(rig.model.requests.at(-1)?.input)).not.toContain('looked');
  });
});
