import { execa } from 'execa';
import { chmod, lstat, mkdir, mkdtemp, readFile, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Client, findClients } from '../../src/clients/clients';
import { launcherPath, writeLauncher } from '../../src/clients/launcher';
import { findCodex, thisMachine } from '../../src/codex/findCodex';
import { version } from '../../src/version';
import { bundled } from '../rig/bundled';
import { launcherPath as codexLauncher } from '../rig/codexRig';

/** What is written into the configuration of other clients, read back by the real ones where they are at hand. */

let home = '';
const launcher = '/opt/code worker/bin/mcp-codex-worker';

beforeEach(async () => {
  home = await realpath(await mkdtemp(join(tmpdir(), 'codex-worker-clients-')));
});
afterEach(() => rm(home, { recursive: true, force: true }));

async function clients(more: { PATH?: string; codex?: string | null; folder?: string } = {}) {
  const env = { PATH: more.PATH ?? '', CODEX_HOME: join(home, 'codex') };
  await mkdir(env.CODEX_HOME, { recursive: true });
  const found = await findClients({ home, env, launcher, folder: more.folder ?? null, codex: more.codex ?? null });
  return (id: string): Client => found.find((client) => client.id === id)!;
}
const read = (path: string): Promise<string> => readFile(join(home, path), 'utf8');
const write = async (path: string, text: string): Promise<void> => {
  await mkdir(dirname(join(home, path)), { recursive: true });
  await writeFile(join(home, path), text);
};
const entry = { command: launcher, args: ['--attach'] };

describe('a client with a JSON file', () => {
  it.each([
    ['claude', '.claude.json', { mcpServers: { 'codex-worker': { type: 'stdio', ...entry, env: {} } } }],
    ['copilot', '.copilot/mcp-config.json', { mcpServers: { 'codex-worker': { type: 'local', ...entry, tools: ['*'] } } }],
    ['cursor', '.cursor/mcp.json', { mcpServers: { 'codex-worker': entry } }],
    ['gemini', '.gemini/settings.json', { mcpServers: { 'codex-worker': entry } }],
    ['vscode', 'project/.vscode/mcp.json', { servers: { 'codex-worker': { type: 'stdio', ...entry } } }],
  ])('%s gets what the preview shows, and is free of it again', async (id, file, content) => {
    const client = (await clients({ folder: join(home, 'project') }))(id);
    expect([client.where, await client.state(), client.by]).toEqual([join(home, file), 'absent', 'file']);
    await client.connect();
    expect(JSON.parse(await read(file))).toEqual(content);
    expect(JSON.parse(client.preview)).toEqual(content);
    expect(await client.state()).toBe('connected');
    expect((await stat(join(home, file))).mode & 0o777).toBe(0o600);
    await client.disconnect();
    expect(await client.state()).toBe('absent');
    await client.disconnect();
  }); // prettier-ignore

  it('keeps everything else of it: comments, order, indentation, its mode and that it is a link', async () => {
    const before = '{\n\t// mine\n\t"theme": "dark",\n\t"mcpServers": {\n\t\t"other": { "command": "x" }, // keep\n\t},\n}\n';
    await write('dotfiles/settings.json', before);
    await chmod(join(home, 'dotfiles/settings.json'), 0o644);
    await mkdir(join(home, '.gemini'));
    await symlink(join(home, 'dotfiles/settings.json'), join(home, '.gemini/settings.json'));
    const client = (await clients())('gemini');
    await client.connect();
    const after = await read('dotfiles/settings.json');
    const added = '"codex-worker": {\n\t\t\t"command": "/opt/code worker/bin/mcp-codex-worker",\n\t\t\t"args": [\n\t\t\t\t"--attach"\n\t\t\t]\n\t\t},\n\t\t';
    expect(after).toBe(before.replace('"other"', `${added}"other"`));
    expect((await lstat(join(home, '.gemini/settings.json'))).isSymbolicLink()).toBe(true);
    expect((await stat(join(home, 'dotfiles/settings.json'))).mode & 0o777).toBe(0o644);
    await client.disconnect();
    expect(await read('dotfiles/settings.json')).toBe(before);
  }); // prettier-ignore

  it('with another entry of our name says so, and replaces it only when asked', async () => {
    await write('.cursor/mcp.json', '{"mcpServers":{"codex-worker":{"command":"node","args":["old.js"]}}}');
    const client = (await clients())('cursor');
    expect(await client.state()).toBe('other');
    await client.connect();
    expect(await client.state()).toBe('connected');
  });

  it.each([
    ['broken', '{"mcpServers":'],
    ['no object', '[]'],
    ['no text at all', '\u0000\u0001'],
  ])('that is %s is left as it is', async (_name, text) => {
    await write('.cursor/mcp.json', text);
    const client = (await clients())('cursor');
    await expect(client.state()).rejects.toThrow('is not JSON as it stands');
    await expect(client.connect()).rejects.toThrow('nothing is changed in it');
    expect(await read('.cursor/mcp.json')).toBe(text);
  });

  it('that is empty, or where a field is of another type, is no trouble or told', async () => {
    await write('.cursor/mcp.json', '\n');
    await (await clients())('cursor').connect();
    expect(JSON.parse(await read('.cursor/mcp.json'))).toEqual({ mcpServers: { 'codex-worker': entry } });
    await write('.gemini/settings.json', '{"mcpServers":"none"}');
    const client = (await clients())('gemini');
    for (const text of ['{"mcpServers":"none"}', '{"mcpServers":[]}']) {
      await write('.gemini/settings.json', text);
      await expect(client.connect()).rejects.toThrow('is no object in this file');
      expect(await read('.gemini/settings.json')).toBe(text);
    }
  });

  it.each([
    '{"mcpServers":{"codex-worker":1,},}',
    '{"mcpServers":{"codex-worker":1}}',
    '\ufeff{"mcpServers":{"codex-worker":1}}',
  ])('that held nothing but our entry is a good one without it: %j', async (text) => {
    await write('.cursor/mcp.json', text);
    const client = (await clients())('cursor');
    expect(await client.state()).toBe('other');
    await client.disconnect();
    expect(JSON.parse((await read('.cursor/mcp.json')).replace(/,}/g, '}'))).toEqual({ mcpServers: {} });
  });

  it('that is a device is not read for ever', async () => {
    await mkdir(join(home, '.cursor'));
    await symlink('/dev/zero', join(home, '.cursor/mcp.json'));
    await expect((await clients())('cursor').state()).rejects.toThrow('no regular file');
  });
});

describe('a client with a command of its own', () => {
  /** Writes down how it was called, and its file as the real one does. */
  async function fakeClaude(exitCode = 0): Promise<string> {
    const bin = join(home, 'bin');
    await mkdir(bin);
    const script = `#!/bin/sh\necho "$@" >> ${join(home, 'calls')}\necho "no such thing" >&2\nexit ${exitCode}\n`;
    await writeFile(join(bin, 'claude'), script, { mode: 0o755 });
    return bin;
  }

  it('is connected by it, and one that refuses says why', async () => {
    const PATH = await fakeClaude();
    const client = (await clients({ PATH }))('claude');
    expect([client.by, client.preview]).toEqual(['command', `claude mcp add --scope user codex-worker -- "${launcher}" --attach`]); // prettier-ignore
    await client.connect();
    await client.disconnect();
    await write('.claude.json', '{"mcpServers":{"codex-worker":{"command":"old"}}}');
    await client.connect();
    const [add, remove] = [`mcp add --scope user codex-worker -- ${launcher} --attach`, 'mcp remove --scope user codex-worker']; // prettier-ignore
    expect((await read('calls')).trim().split('\n')).toEqual([add, remove, remove, add]);
  });

  it('that fails is told with its reason', async () => {
    const client = (await clients({ PATH: await fakeClaude(1) }))('claude');
    await expect(client.connect()).rejects.toThrow('did not do it: no such thing');
  });
});

describe('the Codex CLI', () => {
  it('gets the entry by its own command, keeps the rest, and the approval mode where it is wanted', async () => {
    const { path: codex } = await findCodex(thisMachine(codexLauncher, null));
    await write('codex/config.toml', '# mine\nmodel = "x" # keep\n\n[mcp_servers.other]\ncommand = "y"\n');
    const client = (await clients({ codex }))('codex');
    expect(await client.state()).toBe('absent');
    await client.connect();
    expect(await client.state()).toBe('connected');
    await client.choice!.apply(true);
    await client.choice!.apply(true);
    const toml = await read('codex/config.toml');
    expect(toml).toContain('# mine\nmodel = "x" # keep\n');
    expect(toml).toContain(`[mcp_servers.codex-worker]\ndefault_tools_approval_mode = "approve"\ncommand = "${launcher}"\nargs = ["--attach"]`); // prettier-ignore
    expect(toml.match(/default_tools_approval_mode/g)).toHaveLength(1);
    expect(await client.state()).toBe('connected');
    await client.choice!.apply(false);
    expect(await read('codex/config.toml')).not.toContain('default_tools_approval_mode');
    const { stdout } = await execa(codex, ['mcp', 'list', '--json'], { env: { CODEX_HOME: join(home, 'codex') } });
    expect((JSON.parse(stdout) as { name: string }[]).map(({ name }) => name).sort()).toEqual([
      'codex-worker',
      'other',
    ]);
    await client.disconnect();
    expect(await client.state()).toBe('absent');
    expect(await read('codex/config.toml')).toContain('[mcp_servers.other]');
  });

  it.each([
    '[mcp_servers.codex-worker] # mine\n  default_tools_approval_mode = "prompt"\ncommand = "x"\n',
    '[mcp_servers."codex-worker"]\ncommand = "x"\n',
  ])('has one approval mode, however its table is written: %j', async (toml) => {
    await write('codex/config.toml', toml);
    const client = (await clients())('codex');
    await client.choice!.apply(true);
    expect((await read('codex/config.toml')).match(/default_tools_approval_mode = "approve"/g)).toHaveLength(1);
    expect((await read('codex/config.toml')).match(/default_tools_approval_mode/g)).toHaveLength(1);
    await client.choice!.apply(false);
    expect(await read('codex/config.toml')).not.toContain('approval_mode');
  });

  it('that is not there can only be shown', async () => {
    const client = (await clients())('codex');
    expect([client.by, await client.state()]).toEqual([null, 'absent']);
    expect(client.preview).toBe(`[mcp_servers.codex-worker]\ncommand = "${launcher}"\nargs = ["--attach"]\n`);
    await expect(client.connect()).rejects.toThrow('was not found');
  });
});

describe('the launcher', () => {
  const options = (storage: string) => ({ storage, node: process.execPath, program: bundled('stdio'), dataDir: join(home, 'data') }); // prettier-ignore

  it('starts the program of now from a path that stays, whatever is in the paths', async () => {
    const storage = join(home, "it's a $HOME `dir`");
    const path = await writeLauncher(options(storage));
    expect(path).toBe(launcherPath(storage));
    const { stdout } = await execa(path, ['--version'], { env: { PATH: '/usr/bin:/bin' }, extendEnv: false });
    expect(stdout).toBe(version);
    const env = { PATH: '/usr/bin:/bin', HOME: home };
    const attached = await execa(path, ['--attach'], { env, extendEnv: false, reject: false, cwd: home, input: '' });
    expect(attached.stderr).toContain(join(home, 'data', 'windows'));
  });

  it('is written anew for another program, and left alone otherwise', async () => {
    const path = await writeLauncher(options(home));
    const before = await stat(path);
    await writeLauncher(options(home));
    expect((await stat(path)).ino).toBe(before.ino);
    await writeLauncher({ ...options(home), program: '/elsewhere/stdio.js' });
    expect(await readFile(path, 'utf8')).toContain("'/elsewhere/stdio.js'");
    expect((await stat(path)).mode & 0o777).toBe(0o755);
  });

  it('of Windows names both without a variable in them', async () => {
    const path = await writeLauncher({ ...options(home), program: 'C:\\100% sure\\stdio.js' }, 'win32');
    expect(path.endsWith('.cmd')).toBe(true);
    expect(await readFile(path, 'utf8')).toContain('"C:\\100%% sure\\stdio.js" %*\r\n');
  });
});
