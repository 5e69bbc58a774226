import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { ListRootsRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { mkdir, realpath, symlink } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { mayBeRoot } from '../../src/programRoots';
import { bundled } from '../rig/bundled';
import { type CodexRig, startCodexRig } from '../rig/codexRig';
import { call, callRefused } from '../rig/mcpRig';

/** Where tasks may work when a program is started without --root, as desktop clients do. */

let rig: CodexRig;
let clients: Client[];

beforeEach(async () => {
  rig = await startCodexRig();
  clients = [];
});
afterEach(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await rig.dispose();
});

/** A client of a program that was started in a directory; `roots` are what it names, null for one that names none. */
async function startedIn(cwd: string, roots: { current: readonly string[] } | null, home = homedir()): Promise<Client> {
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [bundled('stdio'), '--state-dir', rig.stateDir, '--codex-path', rig.codexPath, '--policy', rig.policyPath],
    env: { PATH: process.env.PATH ?? '', ...rig.env, HOME: home },
    cwd,
    stderr: 'ignore',
  });
  const client = new Client({ name: 'desktop', version: '1' }, { capabilities: roots ? { roots: { listChanged: true } } : {} });
  if (roots) {
    client.setRequestHandler(ListRootsRequestSchema, () => ({
      roots: roots.current.map((path) => ({ uri: path.includes('://') ? path : pathToFileURL(path).href })),
    }));
  }
  clients.push(client);
  await client.connect(transport);
  return client;
} // prettier-ignore

const refusal = (client: Client, more: object = {}): Promise<{ error: Record<string, unknown> }> =>
  callRefused(client, 'spawn-task', { prompt: 'say hi', ...more });

it('is nowhere in / and in the home directory, and the refusal says how to name a place', async () => {
  const home = join(rig.dir, 'home');
  await mkdir(home);
  for (const cwd of ['/', home]) {
    const { error } = await refusal(await startedIn(cwd, null, home));
    expect(error).toMatchObject({ code: 'invalid_argument', hint: expect.stringContaining('--root DIR') as string });
  }
});

it('is what the client names, at the first call already, and anew when it says so', async () => {
  const roots = { current: ['/', homedir(), 'https://host/x', join(rig.dir, 'none'), rig.workspace] };
  const client = await startedIn('/', roots);
  const spawned = await call(client, 'spawn-task', { prompt: 'say hi', wait_ms: 20_000 });
  expect(spawned).toMatchObject({ status: 'completed', final_message: 'hi' });
  expect((await refusal(client, { cwd: '/' })).error.hint).toBe(`Allowed is a directory in: ${rig.workspace}.`);
  roots.current = ['/'];
  await client.sendRootsListChanged();
  expect((await refusal(client, { cwd: rig.workspace })).error.code).toBe('invalid_argument');
});

it('is the current directory everywhere else, whatever the client names', async () => {
  const client = await startedIn(rig.workspace, { current: [rig.dir] });
  expect((await refusal(client, { cwd: rig.dir })).error.hint).toContain(await realpath(rig.workspace));
});

it('is never as wide as the machine, behind a link too', async () => {
  const link = join(rig.dir, 'link');
  await symlink('/', link);
  const wide = ['/', link, homedir(), join(homedir(), '..'), tmpdir(), join(rig.dir, 'none')];
  expect(await Promise.all(wide.map(mayBeRoot))).toEqual(wide.map(() => false));
  expect(await Promise.all([rig.workspace, rig.dir].map(mayBeRoot))).toEqual([true, true]);
});
