import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { replaceText } from '../base/privateFile';
import { readText } from '../base/readText';
import { HumanError } from '../core/errors';
import { hashOf } from '../core/hash';
import { run } from '../process/childProcess';
import { ConfigFile } from './configFile';

/** Whether a client has our server: as we would write it, or an entry of its name that says something else. */
export type ClientState = 'absent' | 'connected' | 'other';

/** Another MCP client that can be given our server. */
export interface Client {
  readonly id: string;
  readonly name: string;
  /** Where its entry is: a file. */
  readonly where: string;
  /** What is added there, or the commands that do it. */
  readonly preview: string;
  /** How it is written: into the file, or by the client's own command; null when it can only be shown. */
  readonly by: 'file' | 'command' | null;
  /** Rejects with a `HumanError` when its configuration cannot be read. */
  state(): Promise<ClientState>;
  /** Writes the entry, over another one of the same name. */
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  /** A choice of its own, beside the entry. */
  readonly choice?: ClientChoice;
}

/** Something that the person may want or not. */
export interface ClientChoice {
  readonly label: string;
  readonly detail: string;
  apply(wanted: boolean): Promise<void>;
}

export interface ClientPlace {
  readonly home: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** See launcher.ts. */
  readonly launcher: string;
  /** The first folder of the window; null without one. */
  readonly folder: string | null;
  /** The Codex CLI; null when there is none. */
  readonly codex: string | null;
}

export const entryName = 'codex-worker';
const commandLimitMs = 30_000;

/** All clients that we know how to connect. */
export async function findClients(place: ClientPlace): Promise<readonly Client[]> {
  const { home, env, launcher, folder, codex } = place;
  const [claude, copilot] = await Promise.all([onPath('claude', env), onPath('copilot', env)]);
  const claudeFile =
    env.CLAUDE_CONFIG_DIR === undefined ? join(home, '.claude.json') : join(env.CLAUDE_CONFIG_DIR, '.claude.json');
  const copilotFile = join(env.COPILOT_HOME ?? join(home, '.copilot'), 'mcp-config.json');
  const stdio = { type: 'stdio', command: launcher, args: ['--attach'] };
  const plain = { command: launcher, args: ['--attach'] };
  const claudeCommand =
    claude === null
      ? null
      : {
          program: claude,
          add: ['mcp', 'add', '--scope', 'user', entryName, '--', launcher, '--attach'],
          remove: ['mcp', 'remove', '--scope', 'user', entryName],
        };
  const copilotCommand =
    copilot === null
      ? null
      : {
          program: copilot,
          add: ['mcp', 'add', entryName, '--', launcher, '--attach'],
          remove: ['mcp', 'remove', entryName],
        };
  const list = 'mcpServers';
  const clients = [
    jsonClient({
      id: 'claude',
      name: 'Claude Code',
      file: claudeFile,
      list,
      entry: { ...stdio, env: {} },
      command: claudeCommand,
    }),
    codexClient(codex, env.CODEX_HOME ?? join(home, '.codex'), launcher),
    jsonClient({
      id: 'copilot',
      name: 'Copilot CLI',
      file: copilotFile,
      list,
      entry: { type: 'local', ...plain, tools: ['*'] },
      command: copilotCommand,
    }),
    jsonClient({ id: 'cursor', name: 'Cursor', file: join(home, '.cursor', 'mcp.json'), list, entry: plain }),
    jsonClient({ id: 'gemini', name: 'Gemini CLI', file: join(home, '.gemini', 'settings.json'), list, entry: plain }),
  ];
  if (folder === null) return clients;
  const file = join(folder, '.vscode', 'mcp.json');
  return [
    ...clients,
    jsonClient({ id: 'vscode', name: 'VS Code, for this folder', file, list: 'servers', entry: stdio }),
  ];
}

/** The entry as plain JSON, for any other client. */
export function plainEntry(launcher: string): string {
  return block('mcpServers', { command: launcher, args: ['--attach'] });
}

interface OwnCommand {
  readonly program: string;
  readonly add: readonly string[];
  readonly remove: readonly string[];
}

interface JsonClientParts {
  readonly id: string;
  readonly name: string;
  readonly file: string;
  /** The field of the file that holds the servers by their names. */
  readonly list: string;
  readonly entry: object;
  /** The client's own command, where it has one. */
  readonly command?: OwnCommand | null;
}

function jsonClient({ id, name, file, list, entry, command }: JsonClientParts): Client {
  const config = new ConfigFile(file);
  const place = [list, entryName];
  const state = async (): Promise<ClientState> => {
    const found = await config.get(place);
    if (found === undefined) return 'absent';
    return isSame(found, entry) ? 'connected' : 'other';
  };
  if (!command) {
    return {
      ...{ id, name, where: file, preview: block(list, entry), by: 'file', state },
      connect: () => config.set(place, entry),
      disconnect: () => config.set(place, undefined),
    };
  }
  return {
    ...{ id, name, where: file, preview: shown(id, command.add), by: 'command', state },
    connect: async () => {
      // They refuse a name that is there already (seen with Claude Code 2.1.197 and Copilot CLI 1.0.85).
      if ((await state()) !== 'absent') await runOwn(command.program, command.remove);
      await runOwn(command.program, command.add);
    },
    disconnect: () => runOwn(command.program, command.remove),
  };
}

/** Fields that a client adds by itself say nothing against an entry. */
function isSame(found: unknown, entry: object): boolean {
  if (typeof found !== 'object' || found === null) return false;
  const wanted = Object.entries(entry).filter(([key]) => key === 'command' || key === 'args');
  return wanted.every(([key, value]) => hashOf((found as Record<string, unknown>)[key]) === hashOf(value));
}

function codexClient(codex: string | null, codexHome: string, launcher: string): Client {
  const file = join(codexHome, 'config.toml');
  const toml = `[mcp_servers.${entryName}]\ncommand = ${JSON.stringify(launcher)}\nargs = ["--attach"]\n`;
  const add = ['mcp', 'add', entryName, '--', launcher, '--attach'];
  const env = { CODEX_HOME: codexHome };
  const state = async (): Promise<ClientState> => {
    if (codex === null) return codexEntryOf((await readText(file, tomlLimit)) ?? '') === null ? 'absent' : 'other';
    const { exitCode, stdout } = await run(codex, ['mcp', 'get', entryName, '--json'], {
      timeoutMs: commandLimitMs,
      env,
    });
    if (exitCode !== 0) return 'absent';
    const { transport } = JSON.parse(stdout) as { transport?: unknown };
    return isSame(transport, { command: launcher, args: ['--attach'] }) ? 'connected' : 'other';
  };
  const own = async (args: readonly string[]): Promise<void> => {
    if (codex === null)
      throw new HumanError('The Codex CLI was not found. Copy the block into its config.toml yourself.');
    await runOwn(codex, args, env);
  };
  return {
    id: 'codex',
    name: 'Codex CLI',
    where: file,
    preview: codex === null ? toml : shown('codex', add),
    by: codex === null ? null : 'command',
    state,
    // It writes over an entry of the same name (seen with 0.169.0).
    connect: () => own(add),
    disconnect: () => own(['mcp', 'remove', entryName]),
    choice: {
      label: 'Let Codex use these tools without asking',
      detail:
        'Adds default_tools_approval_mode = "approve". Without it "codex exec" refuses them, because they can change files and nobody is there to ask. With it a Codex session starts tasks here without a question; the policy and the approvals of this window still hold.',
      apply: (wanted) => setApprovalMode(file, wanted),
    },
  };
}

const tomlLimit = 4 * 1024 * 1024;
const approvalLine = 'default_tools_approval_mode = "approve"';

/** The lines of our table in Codex's configuration, as from and to; null when it is not there. */
function codexEntryOf(
  toml: string,
): { readonly lines: readonly string[]; readonly from: number; readonly to: number } | null {
  const lines = toml.split('\n');
  const names = [`[mcp_servers.${entryName}]`, `[mcp_servers."${entryName}"]`];
  const from = lines.findIndex((line) => names.includes((line.split('#', 1)[0] ?? '').trim()));
  if (from < 0) return null;
  const next = lines.findIndex((line, index) => index > from && line.trimStart().startsWith('['));
  return { lines, from, to: next < 0 ? lines.length : next };
}

async function setApprovalMode(file: string, wanted: boolean): Promise<void> {
  const entry = codexEntryOf((await readText(file, tomlLimit)) ?? '');
  if (!entry && !wanted) return;
  if (!entry)
    throw new HumanError(`"${file}" has no table [mcp_servers.${entryName}]. Put this line into it: ${approvalLine}`);
  const { lines, from, to } = entry;
  const isMode = (line: string): boolean => line.trimStart().startsWith('default_tools_approval_mode');
  const kept = lines.filter((line, index) => index <= from || index >= to || !isMode(line));
  const next = wanted ? [...kept.slice(0, from + 1), approvalLine, ...kept.slice(from + 1)] : kept;
  await replaceText(file, next.join('\n'));
}

async function runOwn(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { exitCode, stdout, stderr } = await run(program, args, { timeoutMs: commandLimitMs, env });
  if (exitCode === 0) return;
  const why = `${stderr}\n${stdout}`.trim().split('\n').slice(0, 3).join(' ').slice(0, 300);
  throw new HumanError(`"${program}" did not do it: ${why === '' ? `exit code ${exitCode ?? '?'}` : why}`);
}

function block(list: string, entry: object): string {
  return JSON.stringify({ [list]: { [entryName]: entry } }, null, 2);
}

function shown(program: string, args: readonly string[]): string {
  return [program, ...args.map((arg) => (/^[\w./:@-]+$/.test(arg) ? arg : `"${arg}"`))].join(' ');
}

/** A program of that name on the PATH. */
async function onPath(name: string, env: ClientPlace['env']): Promise<string | null> {
  const names = process.platform === 'win32' ? [`${name}.cmd`, `${name}.exe`] : [name];
  for (const dir of (env.PATH ?? '').split(delimiter).filter((part) => part !== '')) {
    for (const one of names) {
      const path = join(dir, one);
      const isThere = await access(path, constants.X_OK).then(
        () => true,
        () => false,
      );
      if (isThere) return path;
    }
  }
  return null;
}
