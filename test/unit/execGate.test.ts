import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isConfined, KnownSandboxes } from '../../src/execGate/confinement';
import { type ExecMessage, passingMethods } from '../../src/execGate/execMessages';
import { GatedEnvironment, Refusal } from '../../src/execGate/gatedEnvironment';
import type { AllowedSandbox, GateQuestion } from '../../src/execGate/gateProtocol';
import { ServerWatch } from '../../src/execGate/serverWatch';
import { gatedSetup } from '../../src/codex/gatedThreads';
import type { RpcPeer } from '../../src/codex/rpc';
import { unwrapArgv } from '../../src/codex/shellCommand';

const special = (kind: string, access: string, subpath?: string): object => ({
  path: { type: 'special', value: { kind, ...(subpath === undefined ? {} : { subpath }) } },
  access,
});
const closed = ['.git', '.agents', '.codex', '.aws'].map((part) => special('project_roots', 'read', part));

/** As Codex 0.169.0 sends it for the sandbox workspace-write. */
const sandbox = (more: readonly object[] = [], network = 'restricted', cwd = 'file:///ws'): object => ({
  permissions: {
    type: 'managed',
    file_system: {
      type: 'restricted',
      entries: [special('root', 'read'), special('project_roots', 'write'), ...more, ...closed],
    },
    network,
  },
  cwd,
  policyContext: { cwd, workspaceRoots: [cwd] },
  workspaceRoots: [cwd],
  windowsSandboxLevel: 'disabled',
});

const writing: AllowedSandbox = { cwd: '/ws', network: false, writesWorkspace: true, roots: ['/more'] };
const reading: AllowedSandbox = { ...writing, writesWorkspace: false };
const entriesOf = (struct: unknown): object[] =>
  (struct as { permissions: { file_system: { entries: object[] } } }).permissions.file_system.entries;

describe('a sandbox', () => {
  const path = (at: string): object => ({ path: { type: 'path', path: at }, access: 'write' });

  it.each([
    ['as Codex makes it', sandbox(), writing, true],
    ['with temporary directories', sandbox([special('slash_tmp', 'write'), special('tmpdir', 'write')]), writing, true],
    ['with a directory of the configuration', sandbox([path('file:///more')]), writing, true],
    ['with a directory besides', sandbox([path('file:///home')]), writing, false],
    ['with the root', sandbox([special('root', 'write')]), writing, false],
    ['with a kind that is not known', sandbox([special('home', 'write')]), writing, false],
    ['with a part of the project', sandbox([special('project_roots', 'write', '.git')]), writing, false],
    ['with an access that is not known', sandbox([special('root', 'all')]), writing, false],
    ['with the network', sandbox([], 'enabled'), writing, false],
    ['with the network that the task has', sandbox([], 'enabled'), { ...writing, network: true }, true],
    ['of another directory', sandbox([], 'restricted', 'file:///'), writing, false],
    ['that writes, of a task that reads', sandbox(), reading, false],
    ['none', null, writing, false],
    ['none, of a task that may do everything', null, null, true],
    ['in another shape', { permissions: 'all' }, writing, false],
  ])('%s is confined: %#', (_name, struct, allowed, expected) => {
    expect(isConfined(struct, allowed)).toBe(expected);
  });

  it('with one entry taken away or changed allows no more', () => {
    const whole = sandbox();
    for (const part of ['.git', '.codex']) {
      const struct = structuredClone(whole);
      const entries = entriesOf(struct);
      entries.splice(
        entries.findIndex((entry) => JSON.stringify(entry).includes(`"${part}"`)),
        1,
      );
      expect(isConfined(struct, writing)).toBe(false);
    }
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 5 }), fc.anything(), (index, value) => {
        const struct = structuredClone(whole);
        const entries = entriesOf(struct) as unknown[];
        entries[index] = { ...(entries[index] as object), path: value, access: 'write' };
        expect(isConfined(struct, writing)).toBe(false);
      }),
    );
  });

  it('is made from a known one for whatever Codex gives none for, and allows no more', () => {
    const known = new KnownSandboxes();
    expect(known.make({ ...writing, cwd: '/other' })).toBeNull();
    known.learn(sandbox([path('file:///more'), special('tmpdir', 'write')], 'enabled'));
    const other = { cwd: '/other', network: false, roots: [] };
    for (const writesWorkspace of [true, false]) {
      const allowed = { ...other, writesWorkspace };
      const made = known.make(allowed);
      expect(isConfined(made, allowed)).toBe(true);
      expect(JSON.stringify(made)).not.toContain('/ws');
    }
  });
});

/** One environment, and what was asked in it. */
function environment(answer: boolean, { asksCalls = true, allowed = writing }: Partial<Options> = {}) {
  const asked: GateQuestion[] = [];
  const watch = new ServerWatch({ onLearnt: () => undefined, onThreadClosed: () => undefined });
  const servers = [{ name: 'one', argv: ['node', 'server.js'] }];
  const host = {
    watch,
    sandboxes: new KnownSandboxes(),
    settled: (holds: () => boolean) => Promise.resolve(holds()),
    ask: (question: GateQuestion) => {
      asked.push(question);
      return Promise.resolve(answer);
    },
  };
  const gated = new GatedEnvironment({ asksCalls, servers }, host);
  gated.bind({ id: 't', sandbox: allowed });
  watch.fromServer('{"method":"turn/started","params":{"threadId":"t","turn":{"id":"u"}}}');
  return { gated, asked, watch };
}

interface Options {
  readonly asksCalls: boolean;
  readonly allowed: AllowedSandbox;
}

const command = (more: object = {}, id = 'call'): ExecMessage => ({
  id: 1,
  method: 'process/start',
  params: {
    processId: 'p',
    metadata: { threadId: 't', toolCallId: id },
    argv: ['/bin/bash', '-c', 'ls'],
    cwd: 'file:///ws',
    tty: false,
    pipeStdin: false,
    arg0: null,
    sandbox: sandbox(),
    ...more,
  },
});

const patch = (itemId: string, ...paths: string[]): string =>
  `{"method":"item/started","params":{"item":${JSON.stringify({
    type: 'fileChange',
    id: itemId,
    changes: paths.map((path) => ({ path, kind: { type: 'add' }, diff: 'x' })),
  })},"threadId":"t","turnId":"u"}}`;
const write = (path: string, method = 'fs/writeFile', struct: unknown = sandbox()): ExecMessage => ({
  id: 2,
  method,
  params: { path: `file://${path}`, dataBase64: '', sandbox: struct },
});

describe('the gate', () => {
  it('asks for a command as it will run, and passes it on once', async () => {
    const { gated, asked } = environment(true);
    expect(await gated.judge(command())).toEqual(command());
    expect(asked).toEqual([
      {
        method: 'execGate/command',
        params: { threadId: 't', turnId: 'u', argv: ['/bin/bash', '-c', 'ls'], cwd: '/ws' },
      },
    ]);
    await expect(gated.judge(command())).rejects.toThrow('This call was made already.');
    expect(asked).toHaveLength(1);
  });

  it.each([
    ['a terminal', { tty: true }],
    ['a standard input', { pipeStdin: true }],
    ['another name', { arg0: 'sudo' }],
    ['another thread', { metadata: { threadId: 'other', toolCallId: 'c' } }],
    ['a wider sandbox', { sandbox: sandbox([], 'enabled') }],
    ['no sandbox where none is known', { sandbox: null }],
    ['a directory elsewhere', { cwd: 'ssh://host/ws' }],
    ['a program of no tool', { metadata: null }],
    ['a shape that is not known', { argv: 'ls' }],
  ])('refuses a command with %s, and asks nobody', async (_name, more) => {
    const { gated, asked } = environment(true);
    await expect(gated.judge(command(more))).rejects.toThrow();
    expect(asked).toEqual([]);
  });

  it('runs what a rule of Codex’s takes out of the sandbox inside it', async () => {
    const { gated } = environment(true);
    await gated.judge(command());
    const passed = await gated.judge(command({ sandbox: null }, 'second'));
    expect(isConfined((passed.params as { sandbox: unknown }).sandbox, writing)).toBe(true);
  });

  it('lets nothing pass that it does not know, and everything that only reads', async () => {
    const { gated } = environment(true);
    for (const method of passingMethods) expect(await gated.judge({ id: 1, method })).toEqual({ id: 1, method });
    await fc.assert(
      fc.asyncProperty(fc.string(), async (method) => {
        fc.pre(!passingMethods.has(method));
        await expect(gated.judge({ id: 1, method, params: {} })).rejects.toThrow();
      }),
    );
    await expect(gated.judge({ id: 1, result: {} })).rejects.toThrow(Refusal);
  });

  it('asks once for a change of several files, and refuses what it does not name', async () => {
    const { gated, asked, watch } = environment(true);
    await expect(gated.judge(write('/ws/a'))).rejects.toThrow('No change that Codex told of names this file.');
    watch.fromServer(patch('i', '/ws/a', '/ws/new/b'));
    for (const one of [write('/ws/a'), write('/ws/new', 'fs/createDirectory'), write('/ws/new/b')]) {
      expect(await gated.judge(one)).toEqual(one);
    }
    expect(asked).toEqual([{ method: 'execGate/fileChange', params: { threadId: 't', turnId: 'u', itemId: 'i' } }]);
    for (const one of [write('/ws/c'), write('/ws/ne', 'fs/createDirectory')]) {
      await expect(gated.judge(one)).rejects.toThrow('No change');
    }
    const { params } = await gated.judge(write('/ws/a', 'fs/remove', null));
    expect(isConfined((params as { sandbox: unknown }).sandbox, writing)).toBe(true);
    watch.fromServer('{"method":"item/completed","params":{"item":{"type":"fileChange","id":"i"},"threadId":"t"}}');
    await expect(gated.judge(write('/ws/a'))).rejects.toThrow('No change');
  });

  it('does nothing of a change that was declined', async () => {
    const { gated, watch } = environment(false);
    watch.fromServer(patch('i', '/ws/a', '/ws/b'));
    await expect(gated.judge(write('/ws/a'))).rejects.toThrow('rejected by user');
    await expect(gated.judge(write('/ws/b'))).rejects.toThrow('rejected by user');
  });

  it('refuses everything when no turn runs', async () => {
    const { gated, watch, asked } = environment(true);
    watch.fromServer(patch('i', '/ws/a'));
    watch.fromServer('{"method":"turn/completed","params":{"threadId":"t","turn":{"id":"u"}}}');
    await expect(gated.judge(command())).rejects.toThrow('No turn runs.');
    await expect(gated.judge(write('/ws/a'))).rejects.toThrow('No change');
    expect(asked).toEqual([]);
  });
});

describe('the MCP servers behind the gate', () => {
  const startServer = (argv: string[]): ExecMessage =>
    command({ metadata: undefined, argv, pipeStdin: true, processId: 'm', sandbox: null });
  const say = (...messages: object[]): ExecMessage => ({
    id: 3,
    method: 'process/write',
    params: {
      processId: 'm',
      chunk: Buffer.from(messages.map((message) => `${JSON.stringify(message)}\n`).join('')).toString('base64'),
    },
  });
  const call = (tool: string, args: object = {}): object => ({
    method: 'tools/call',
    params: { name: tool, arguments: args },
  });
  const accepted = (watch: ServerWatch, tool: string, args: object, result: object): void => {
    const params = {
      threadId: 't',
      serverName: 'one',
      _meta: { codex_approval_kind: 'mcp_tool_call', tool_name: tool, tool_params: args },
    };
    watch.fromServer(`{"method":"mcpServer/elicitation/request","id":7,"params":${JSON.stringify(params)}}`);
    watch.fromClient(JSON.stringify({ id: 7, result }));
  };

  it('are started as they are configured, and in no other way', async () => {
    const { gated } = environment(true);
    await gated.judge(startServer(['node', 'server.js']));
    for (const argv of [['node', 'server.js', '-e'], ['node'], ['sh', '-c', 'node server.js']]) {
      await expect(gated.judge(startServer(argv))).rejects.toThrow(Refusal);
    }
  });

  it('get a call that was accepted once, and one that was not is asked', async () => {
    const { gated, asked, watch } = environment(false);
    await gated.judge(startServer(['node', 'server.js']));
    await gated.judge(say({ method: 'initialize' }, { id: 1, result: {} }));
    accepted(watch, 'do', { b: 1, a: { d: 2, c: 3 } }, { action: 'accept' });
    await gated.judge(say(call('do', { a: { c: 3, d: 2 }, b: 1 })));
    expect(asked).toEqual([]);
    await expect(gated.judge(say(call('do', { a: { c: 3, d: 2 }, b: 1 })))).rejects.toThrow('rejected by user');
    accepted(watch, 'do', { a: 1 }, { action: 'accept' });
    await expect(gated.judge(say(call('do', { a: 2 })))).rejects.toThrow('rejected by user');
    accepted(watch, 'no', {}, { action: 'decline' });
    await expect(gated.judge(say(call('no')))).rejects.toThrow('rejected by user');
    await expect(gated.judge(say({ method: 'resources/read', params: { uri: 'a' } }))).rejects.toThrow(
      'rejected by user',
    );
    expect(asked.map(({ params }) => params)).toMatchObject([
      { server: 'one', tool: 'do' },
      { tool: 'do', arguments: { a: 2 } },
      { tool: 'no' },
      { tool: 'read_mcp_resource', arguments: { uri: 'a' } },
    ]);
  });

  it('get every call of a tool that was accepted for longer', async () => {
    const { gated, asked, watch } = environment(false);
    await gated.judge(startServer(['node', 'server.js']));
    accepted(watch, 'do', {}, { action: 'accept', _meta: { persist: 'session' } });
    for (const args of [{}, { a: 1 }]) await gated.judge(say(call('do', args)));
    expect(asked).toEqual([]);
  });

  it('get nothing that is not a whole message of a known kind', async () => {
    const { gated } = environment(true);
    await gated.judge(startServer(['node', 'server.js']));
    await expect(gated.judge(say({ method: 'sampling/other' }))).rejects.toThrow(Refusal);
    const part = Buffer.from('{"method":"tools/call"').toString('base64');
    const params = { processId: 'm', chunk: part };
    await expect(gated.judge({ method: 'process/write', params })).rejects.toThrow('A part of a message');
    await expect(gated.judge({ method: 'process/write', params: { ...params, processId: 'x' } })).rejects.toThrow(
      'takes no input',
    );
  });
});

describe('the configuration of a task that is asked about everything', () => {
  const place = { cwd: '/ws', environment: 'env' };
  const rules = { holds: true, refusesUnseen: true };
  const local = { command: 'node', args: ['a.js'] };
  const remote = { url: 'https://example.com/mcp' };
  /** Of the person, and what the project adds, by dotted key. */
  const setup = (servers: object, gate = rules, project: Readonly<Record<string, unknown>> = {}) => {
    const ofProject = Object.keys(project).map((key) => [key, { name: { type: 'project' } }]);
    const added = Object.entries(project).flatMap(([key, value]) =>
      key.startsWith('mcp_servers.') ? [[key.split('.')[1], value]] : [],
    );
    const request = (_method: string, { cwd }: { cwd?: string }) =>
      Promise.resolve({
        config: { mcp_servers: cwd === undefined ? servers : { ...servers, ...(Object.fromEntries(added) as object) } },
        origins: cwd === undefined ? {} : (Object.fromEntries(ofProject) as object),
      });
    return gatedSetup({ request } as unknown as RpcPeer, place, gate, 'linux');
  };

  it('has the servers of the person run behind the gate, and those over the network off', async () => {
    const { config, servers, off } = await setup({ one: { ...local, tools: { 'a b': {}, do: {} } }, far: remote });
    expect(servers).toEqual([{ name: 'one', argv: ['node', 'a.js'] }]);
    expect(config).toMatchObject({
      'mcp_servers.one.environment_id': 'env',
      'mcp_servers.one.cwd': '/ws',
      'mcp_servers.one.default_tools_approval_mode': 'prompt',
      'mcp_servers.one.tools.do.approval_mode': 'prompt',
      'mcp_servers.far.enabled': false,
    });
    expect(off[1]).toBe('the MCP servers "far", which are reached over the network');
    expect(Object.keys(config).filter((key) => key.includes('a b'))).toEqual([]);
    const unseen = await setup({ far: remote }, { ...rules, refusesUnseen: false });
    expect(unseen.config).not.toHaveProperty(['mcp_servers.far.enabled']);
  });

  it('does not start what has an odd name or is of the project, and refuses what it cannot switch off', async () => {
    const { servers, config, off } = await setup({ 'odd name': local }, rules, { 'mcp_servers.own.command': local });
    expect([servers, off[1]]).toEqual([[], 'the MCP servers "odd name", "own", of the project or with an odd name']);
    expect(Object.keys(config).filter((key) => key.startsWith('mcp_servers'))).toEqual([]);
    await expect(setup({ 'odd name': remote })).rejects.toMatchObject({ code: 'policy_unenforceable' });
    const far = await setup({}, rules, { 'mcp_servers.far.url': remote });
    expect(far.config).toMatchObject({ 'mcp_servers.far.enabled': false });
  });

  it.each([
    'notify',
    'shell_environment_policy.set.PATH',
    'sandbox_workspace_write.writable_roots',
    'features.x',
    'mcp_servers.one.env.NODE_OPTIONS',
  ])('is none where the project says %s, while rules hold', async (key) => {
    await expect(setup({ one: local }, rules, { [key]: local })).rejects.toMatchObject({
      code: 'policy_unenforceable',
      message: expect.stringContaining(key) as string,
    });
    await setup({ one: local }, { holds: false, refusesUnseen: false }, { [key]: local });
  });

  it('is one where the project chooses its model', async () => {
    expect((await setup({}, rules, { model: 'm', model_reasoning_effort: 'low' })).servers).toEqual([]);
  });
});

it.each([
  [['/bin/bash', '-c', 'npm test'], 'npm test'],
  [['/usr/bin/zsh', '-lc', 'a && b'], 'a && b'],
  [['bash', '-c', 'npm test'], "bash -c 'npm test'"],
  [['/ws/bin/bash', '-c', 'npm test'], "/ws/bin/bash -c 'npm test'"],
  [['/bin/bash', '-c', 'npm test', 'x'], "/bin/bash -c 'npm test' x"],
  [['A=b', "it's", ''], String.raw`'A=b' 'it'\''s' ''`],
])('the words %j are shown as %s', (argv, shown) => {
  expect(unwrapArgv(argv)).toBe(shown);
});
