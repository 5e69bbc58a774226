import { access, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { Answer, Decision } from '../../src/core/pendingRequest';
import type { Sandbox } from '../../src/core/ports';
import type { TaskSnapshot } from '../../src/core/taskSnapshot';
import { type CodexRig, startCodexRig, startWorker } from '../rig/codexRig';
import { processesWith } from '../rig/processes';
import { until } from '../rig/until';

/** The gate in front of the sandbox, attacked on the real Codex: what counts is what was done, not only what was asked. */

let rig: CodexRig;
let worker: Awaited<ReturnType<typeof startWorker>>;
/** What no sandbox of these tests lets a command write to. */
let outside: string;

beforeAll(async () => {
  const args = JSON.stringify([join(import.meta.dirname, '../fakes/mcpServer.mjs')]);
  const sandbox = '[sandbox_workspace_write]\nexclude_slash_tmp = true\nexclude_tmpdir_env_var = true\n';
  rig = await startCodexRig({
    more: `\n[mcp_servers.fake]\ncommand = ${JSON.stringify(process.execPath)}\nargs = ${args}\n${sandbox}`,
  });
  outside = join(rig.dir, 'outside');
  await mkdir(outside);
});
afterAll(() => rig.dispose());
afterEach(async () => {
  await worker.shutDown();
  expect(await readdir(outside)).toEqual([]);
});

const asPerson = { by: 'person', caller: 'person' } as const;
const decide = (decision: Decision): Answer => ({ kind: 'decision', decision });

async function start(rules: string | null, keepMs?: () => number): Promise<void> {
  const policyPath = join(rig.dir, 'gate.yaml');
  if (rules !== null) await writeFile(policyPath, `tools:\n  ${rules}\n`);
  worker = await startWorker(rig, { policyPath: rules === null ? null : policyPath, ...(keepMs ? { keepMs } : {}) });
}

const allowAll =
  'codex/command: {rules: [{action: allow, conditions: [{path: args.unparsed, op: in, value: [true, false]}]}]}\n  codex/file-change: {rules: [{action: allow}]}\n  codex/elicitation: {rules: [{action: allow}]}';

async function spawn(prompt: string, sandbox: Sandbox = 'workspace-write'): Promise<string> {
  return (await worker.tasks.spawn({ prompt, sandbox, approvalPolicy: 'untrusted' }, 'agent')).id;
}

const stopped = (id: string): Promise<TaskSnapshot> =>
  until('it asks or ends', () => {
    const task = worker.tasks.get(id);
    return task.pending.length > 0 || task.endedAt !== null ? task : null;
  });
const ended = (id: string): Promise<TaskSnapshot> =>
  until('it ends', () => (worker.tasks.get(id).endedAt === null ? null : worker.tasks.get(id)));
const inWorkspace = (name: string): string => join(rig.workspace, name);
const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
const told = (): string => JSON.stringify(rig.model.requests.at(-1)?.input);

describe.each(['workspace-write', 'read-only'] as const)('accepted by a rule in the sandbox %s', (sandbox) => {
  it('a command that leaves the sandbox is run once, inside it, however it asks', async () => {
    await start(allowAll);
    const escape = `echo once >> ${inWorkspace(`count-${sandbox}`)}; touch ${join(outside, 'escaped')}`;
    const asking = JSON.stringify({ cmd: escape, sandbox_permissions: 'require_escalated', justification: 'x' });
    const quiet = JSON.stringify({ cmd: escape, sandbox_permissions: 'require_escalated' });
    const task = await ended(
      await spawn(
        [
          `run: ${escape}`,
          `run!: ${escape}`,
          `tool: exec_command ${asking}`,
          `tool: exec_command ${quiet}`,
          'say done',
        ].join('\n'),
        sandbox,
      ),
    );
    expect(task).toMatchObject({ status: 'completed', gated: true });
    // Codex itself refuses the three that ask to leave the sandbox.
    const count = await readFile(inWorkspace(`count-${sandbox}`), 'utf8').catch(() => '');
    expect(count).toBe(sandbox === 'read-only' ? '' : 'once\n');
    expect(task.answers.map(({ outcome }) => outcome)).toEqual(['accepted']);
  });

  it('a change outside it is not made, and one through a link neither', async () => {
    await start(allowAll);
    await ended(await spawn(`run: ln -sfn ${outside} ${inWorkspace('link')}\nsay done`, 'danger-full-access'));
    const paths = [join(outside, 'patched.txt'), inWorkspace('link/patched.txt'), inWorkspace('.git/hooks/x')];
    const task = await ended(
      await spawn([...paths.map((path) => `patch: ${path} text`), 'say done'].join('\n'), sandbox),
    );
    expect(task.status).toBe('completed');
    expect(await exists(inWorkspace('.git/hooks/x'))).toBe(false);
  });

  it('a terminal, another shell, a picture and a wider sandbox are not to be had', async () => {
    await start(allowAll);
    const calls = [
      'exec_command {"cmd":"bash","tty":true,"yield_time_ms":300}',
      `exec_command {"cmd":"touch ${join(outside, 'x')}","shell":"/bin/sh"}`,
      `view_image {"path":"${inWorkspace('x.png')}"}`,
      'request_permissions {"permissions":{"network":{"enabled":true}},"reason":"x"}',
    ];
    const task = await ended(await spawn([...calls.map((call) => `tool: ${call}`), 'say done'].join('\n'), sandbox));
    expect(task).toMatchObject({ status: 'completed', pending: [] });
  });
});

it('what is denied at once is asked once and done never, twenty times', async () => {
  await start(allowAll);
  const escape = `echo once >> ${inWorkspace('twenty')}; touch ${join(outside, 'escaped')}`;
  const task = await ended(await spawn([...Array<string>(20).fill(`run: ${escape}`), 'say done'].join('\n')));
  expect(task.answers).toHaveLength(20);
  expect((await readFile(inWorkspace('twenty'), 'utf8')).split('\n')).toHaveLength(21);
});

it('three calls of one name are judged one by one', async () => {
  await start(
    'codex/command: {rules: [{action: deny, conditions: [{path: args.command, op: contains, value: evil}]}, {action: allow, conditions: [{path: args.unparsed, op: in, value: [true, false]}]}]}',
  );
  const call = (cmd: string): string => `tool: exec_command ${JSON.stringify({ cmd })}`;
  const file = inWorkspace('named');
  const line = ['benign', 'evil', 'benign'].map((word) => call(`echo ${word} >> ${file}`)).join(' || ');
  await ended(await spawn(`par: ${line}\nsay done`));
  expect(await readFile(file, 'utf8')).toBe('benign\nbenign\n');
});

describe('held for somebody', () => {
  it('a command is not begun before, and is run once when it is accepted', async () => {
    await start(null);
    const file = inWorkspace('held');
    const id = await spawn(`run: echo ran >> ${file}\nsay done`);
    const { pending } = await stopped(id);
    expect(pending[0]?.question).toMatchObject({ type: 'command_approval', command: `echo ran >> ${file}` });
    await delay(1_000);
    expect(await exists(file)).toBe(false);
    await worker.tasks.respond(id, undefined, decide('accept'), asPerson);
    expect(await ended(id)).toMatchObject({ status: 'completed' });
    expect(await readFile(file, 'utf8')).toBe('ran\n');
  });

  it('a change shows all its files, is made whole or not at all, and its model hears why', async () => {
    await start(null);
    const patch = ['a.txt', 'b.txt'].map((name) => `*** Add File: ${name}\\n+text`).join('\\n');
    const prompt = `patch-raw: *** Begin Patch\\n${patch}\\n*** End Patch`;
    for (const [decision, made] of [
      ['reject', false],
      ['accept', true],
    ] as const) {
      const id = await spawn(`${prompt}\nsay done`);
      const { pending } = await stopped(id);
      expect(pending[0]?.question).toMatchObject({
        type: 'file_approval',
        changes: [{ path: inWorkspace('a.txt') }, { path: inWorkspace('b.txt') }],
      });
      await worker.tasks.respond(id, undefined, decide(decision), asPerson);
      expect(await ended(id)).toMatchObject({ status: 'completed' });
      expect([await exists(inWorkspace('a.txt')), await exists(inWorkspace('b.txt'))]).toEqual([made, made]);
      if (!made) expect(told()).toContain('was not made: it was rejected by user');
    }
  });

  it('for the session it is asked once, and another one is asked all the same', async () => {
    await start(null);
    const id = await spawn(`run: touch one\nrun: touch one\nrun: touch two\nsay done`);
    await stopped(id);
    await worker.tasks.respond(id, undefined, decide('accept_for_session'), asPerson);
    const task = await until('the second is asked', () => {
      const now = worker.tasks.get(id);
      return now.pending[0]?.id === 'r3' ? now : null;
    });
    expect(task.pending[0]?.question).toMatchObject({ command: 'touch two' });
    await worker.tasks.respond(id, undefined, decide('reject'), asPerson);
    await ended(id);
    expect([await exists(inWorkspace('one')), await exists(inWorkspace('two'))]).toEqual([true, false]);
  });

  it.each(['a cancel of the task', 'a cancel as the answer'])('%s runs nothing', async (how) => {
    await start(null);
    const id = await spawn(`run: touch cancelled\nsay done`);
    await stopped(id);
    if (how.endsWith('task')) await worker.tasks.cancel([id]);
    else await worker.tasks.respond(id, undefined, decide('cancel'), asPerson);
    await ended(id);
    await delay(500);
    expect(await exists(inWorkspace('cancelled'))).toBe(false);
  });

  it('it waits for a worker that went away, and is asked again, once', async () => {
    await start(null, () => 60_000);
    const file = inWorkspace('away');
    const id = await spawn(`run: echo ran >> ${file}\nsay done`);
    await stopped(id);
    await worker.suspend();
    await delay(1_000);
    expect(await exists(file)).toBe(false);
    await start(null, () => 60_000);
    await worker.restore();
    const task = await stopped(id);
    expect(task.pending.map(({ id: request }) => request)).toEqual(['r1']);
    await worker.tasks.respond(id, undefined, decide('accept'), asPerson);
    expect(await ended(id)).toMatchObject({ status: 'completed' });
    expect(await readFile(file, 'utf8')).toBe('ran\n');
  });
});

describe('a command that runs behind the gate', () => {
  it.each(['as it is', 'from which it detached itself'])(
    'is dead after a cancel, and what it left %s too',
    async (how) => {
      await start(allowAll);
      const marked = `sleep 9${process.pid}.${how.length}`;
      const left = how === 'as it is' ? `${marked} &` : `(env -i setsid ${marked} > /dev/null 2>&1 < /dev/null &)`;
      const id = await spawn(`run: ${left} ${marked}\nsay done`);
      await until('both run', () => processesWith(marked).length > 1);
      await worker.tasks.cancel([id]);
      expect([(await ended(id)).leftovers, processesWith(marked)]).toEqual([[], []]);
    },
  );

  it('goes on while the window is away, and its output is there afterwards', async () => {
    await start(allowAll, () => 60_000);
    const file = inWorkspace('gone-on');
    const id = await spawn(`run: echo before; sleep 2; echo after; echo ran >> ${file}\nsay done`);
    await until(
      'it runs',
      () => worker.tasks.get(id).outputTail.includes('before') || processesWith('sleep 2').length > 0,
    );
    await worker.suspend();
    await start(allowAll, () => 60_000);
    await worker.restore();
    expect(await ended(id)).toMatchObject({ status: 'completed', gated: true });
    expect(await readFile(file, 'utf8')).toBe('ran\n');
  });
});

describe('an MCP server', () => {
  it('is asked about each use of a tool and of a resource while rules hold', async () => {
    await start('codex/elicitation: {rules: [{action: deny}]}');
    for (const call of ['mcp__fake/look {}', 'read_mcp_resource {"server":"fake","uri":"fake://a"}']) {
      const task = await ended(await spawn(`tool: ${call}\nsay done`));
      expect(task.answers).toMatchObject([{ by: 'policy', type: 'elicitation', outcome: 'declined' }]);
      expect(told()).not.toMatch(/looked|the resource/);
    }
  });

  it('does what was accepted', async () => {
    await start('codex/elicitation: {rules: [{action: allow}]}');
    const id = await spawn(
      'tool: mcp__fake/look {}\ntool: read_mcp_resource {"server":"fake","uri":"fake://a"}\nsay done',
    );
    expect(await ended(id)).toMatchObject({ status: 'completed' });
    expect(told()).toContain('looked');
    expect(told()).toContain('the resource');
  });
});

describe('the configuration of a project', () => {
  const folder = (): string => inWorkspace('project');
  const configure = async (toml: string): Promise<void> => {
    await mkdir(join(folder(), '.codex'), { recursive: true });
    await writeFile(join(folder(), '.codex', 'config.toml'), toml);
    // Only then it counts.
    const trust = `\n[projects.${JSON.stringify(folder())}]\ntrust_level = "trusted"\n`;
    const home = join(rig.codexHome, 'config.toml');
    const text = await readFile(home, 'utf8');
    if (!text.includes(trust)) await writeFile(home, text + trust);
  };
  const spawnThere = (prompt: string): Promise<{ id: string }> =>
    worker.tasks.spawn({ prompt, cwd: folder(), sandbox: 'workspace-write' }, 'agent');

  it.each([
    ['shell_environment_policy.set', '[shell_environment_policy]\nset = { PATH = "/ws/evil" }'],
    ['sandbox_workspace_write.writable_roots', '[sandbox_workspace_write]\nwritable_roots = ["/"]'],
    ['notify', 'notify = ["sh", "-c", "true"]'],
    ['mcp_servers.fake.env', '[mcp_servers.fake]\nenv = { NODE_OPTIONS = "--require /ws/evil.js" }'],
    ['mcp_servers.fake.command', '[mcp_servers.fake]\ncommand = "sh"'],
  ])('that sets %s is no ground for rules, and it is said what it sets', async (key, toml) => {
    await configure(toml);
    await start(allowAll);
    const refused = await spawnThere('say done').catch((error: unknown) => error);
    // Codex itself does not heed all that a project says.
    if (refused instanceof Error) {
      expect(refused).toMatchObject({ code: 'policy_unenforceable', message: expect.stringContaining(key) as string });
    } else {
      const heeded = await ended((refused as { id: string }).id);
      expect([key, heeded.status]).toEqual(['notify', 'completed']);
    }
  });

  it('starts no server of its own, and reaches none over the network', async () => {
    let reached = 0;
    const far = createServer((_request, response) => response.writeHead(404).end(String(++reached)));
    far.listen(0, '127.0.0.1');
    await once(far, 'listening');
    onTestFinished(() => void far.close());
    const { port } = far.address() as AddressInfo;
    const touch = `args = ["-c", "touch ${join(outside, 'started')}; sleep 5"]`;
    await configure(
      `[mcp_servers.own]\ncommand = "sh"\n${touch}\n[mcp_servers.far]\nurl = "http://127.0.0.1:${port}/mcp"\n`,
    );
    await start(allowAll);
    const { id } = await spawnThere('run: true\nsay done');
    expect(await ended(id)).toMatchObject({ status: 'completed' });
    expect(await readFile(worker.tasks.paths(id).timeline_log, 'utf8')).toContain(
      'Off in this task: the MCP servers "own", of the project',
    );
    expect(reached).toBe(0);
  });
});

it('says at the start of a task what is off in it', async () => {
  await start(allowAll);
  const id = await spawn('say done');
  await ended(id);
  const text = await readFile(worker.tasks.paths(id).timeline_log, 'utf8');
  expect(text).toMatch(/Off in this task: hooks, plugins/);
});
