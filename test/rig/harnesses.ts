import { execa } from 'execa';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { writeCodexHome } from '../../src/demo/codexHome';
import { type CodexRig, newCodexHome } from './codexRig';
import { installCopilot } from './installCopilot';

/** What the editor hands to its harnesses of our server. */
export interface HandedDefinition {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** Read from where the editor keeps it for its harnesses; undefined as long as it has not handed it on. */
export async function handedDefinition(dataDir: string): Promise<HandedDefinition | undefined> {
  return (await handedDefinitions(dataDir))[0];
}

/** All that it ever handed on, each once: another one is kept beside those before. */
export async function handedDefinitions(dataDir: string): Promise<readonly HandedDefinition[]> {
  const plugins = join(dataDir, 'agentPlugins');
  const names = await readdir(plugins, { recursive: true }).catch(() => []);
  const found = new Map<string, HandedDefinition>();
  for (const name of names.filter((one) => one.endsWith('.mcp.json'))) {
    const { mcpServers } = JSON.parse(await readFile(join(plugins, name), 'utf8')) as {
      mcpServers?: Readonly<Record<string, HandedDefinition>>;
    };
    const own = mcpServers?.['codex-worker'];
    if (own) found.set(JSON.stringify(own), own);
  }
  return [...found.values()];
}

/** What this needs of a session of the Copilot SDK. */
interface CopilotSession {
  sendAndWait(message: { prompt: string }, timeoutMs?: number): Promise<unknown>;
}
interface CopilotSdk {
  readonly CopilotClient: new (options: object) => {
    createSession(options: object): Promise<CopilotSession>;
    stop(): Promise<unknown>;
  };
}

/** Has the Copilot runtime do what a script says, with our server as the editor hands it on. */
export async function runCopilot(rig: CodexRig, definition: HandedDefinition, script: string): Promise<void> {
  const root = await installCopilot(() => undefined);
  const require = createRequire(join(root, 'x.js'));
  const path = pathToFileURL(require.resolve('@github/copilot-sdk')).href;
  const { CopilotClient } = (await import(path)) as CopilotSdk;
  const home = await mkdtemp(join(tmpdir(), 'codex-worker-copilot-'));
  const client = new CopilotClient({ baseDirectory: home, env: { ...process.env, COPILOT_HOME: home } });
  const provider = { type: 'openai', wireApi: 'responses', baseUrl: rig.model.url, apiKey: 'x' };
  const session = await client.createSession({
    ...{ model: 'gpt-5', streaming: true, provider, workingDirectory: rig.workspace },
    onPermissionRequest: () => Promise.resolve({ kind: 'approve-once' }),
    mcpServers: { 'codex-worker': { type: 'stdio', ...definition, tools: ['*'] } },
  });
  await session.sendAndWait({ prompt: script }, 60_000);
  await client.stop();
  await rm(home, { recursive: true, force: true, maxRetries: 5 });
}

/** Has `codex exec` do what a script says, with our server in its config.toml as the recipe has it. */
export async function runCodexExec(rig: CodexRig, definition: HandedDefinition, script: string): Promise<string> {
  const home = await newCodexHome();
  const env = Object.entries(definition.env).map(([name, value]) => `${name} = ${JSON.stringify(value)}`);
  const server = [
    '[mcp_servers.codex-worker]',
    `command = ${JSON.stringify(definition.command)}`,
    `args = ${JSON.stringify(definition.args)}`,
    'default_tools_approval_mode = "approve"',
    'required = true',
    `env = { ${env.join(', ')} }`,
  ];
  await writeCodexHome(home, { modelUrl: rig.model.url, more: `\n${server.join('\n')}\n` });
  const { all } = await execa(rig.codexPath, ['exec', '--skip-git-repo-check', '--json', script], {
    cwd: rig.workspace,
    env: { CODEX_HOME: home },
    stdin: 'ignore',
    reject: false,
    all: true,
    timeout: 90_000,
  });
  await rm(home, { recursive: true, force: true, maxRetries: 5 });
  return all;
}

/** What the tools answered in the newest request to the model, oldest first, as text. */
export function toolAnswers(rig: CodexRig, since: number): readonly string[] {
  const request = rig.model.requests.slice(since).findLast(({ input }) => input.some(isAnswer));
  return (request?.input ?? []).filter(isAnswer).map(({ output }) => JSON.stringify(output));
}

function isAnswer({ type }: { readonly type: string }): boolean {
  return type.endsWith('_output');
}
