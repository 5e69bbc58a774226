import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { readText } from '../base/readText';
import { CallError, messageOf } from '../core/errors';
import type { InnerGate } from '../core/innerGate';
import { codexHome } from './codexAccount';
import { letsCommandsRun } from './execRules';
import type { RpcPeer } from './rpc';

/**
 * How a thread is run while rules hold for what happens in it: everything that would run without being asked is switched to
 * asking, switched off, or found, and then the task is refused. What was seen is of Codex 0.169.0.
 */

/** Parameters of `thread/start`, `thread/resume` and `turn/start`. */
export const gatedParams = { approvalPolicy: 'untrusted', approvalsReviewer: 'user' } as const;

const gatedConfig: Readonly<Record<string, unknown>> = {
  // Into an interactive shell that was accepted once anything could be typed without being asked.
  'features.unified_exec_tty': false,
  'features.write_stdin_approval': true,
  // What these do is asked of nobody, or decided by others.
  'features.apps': false,
  'features.plugins': false,
  'features.browser_use': false,
  'features.computer_use': false,
  'features.hooks': false,
  'features.view_image': false,
  'features.image_generation': false,
  'features.multi_agent_v2': false,
  'features.standalone_web_search': false,
  web_search: 'disabled',
  // Otherwise `cd x` may lead to a place that is not below the directory of the command.
  'shell_environment_policy.set.CDPATH': '',
};

/**
 * Every tool that Codex 0.169 offers its model in such a thread. What `asks` is put to the rules at each use; what does nothing to
 * files, commands or others needs no asking. Reading the resources of an MCP server is asked of nobody, and Codex has no switch for it.
 */
export const gatedTools: Readonly<Record<string, 'asks' | 'harmless' | 'reads MCP resources unasked'>> = {
  exec_command: 'asks',
  // Polls a command that was accepted; without a terminal nothing can be typed.
  write_stdin: 'harmless',
  apply_patch: 'asks',
  update_plan: 'harmless',
  request_user_input: 'asks',
  // Finds tools, whose use is asked.
  tool_search: 'harmless',
  list_mcp_resources: 'reads MCP resources unasked',
  list_mcp_resource_templates: 'reads MCP resources unasked',
  read_mcp_resource: 'reads MCP resources unasked',
};

const configResult = z.object({
  config: z.looseObject({
    mcp_servers: z
      .record(
        z.string(),
        z.looseObject({ enabled: z.boolean().optional(), tools: z.record(z.string(), z.unknown()).nullish() }),
      )
      .nullish(),
  }),
});

/** The configuration of a thread in which everything is asked. Throws `policy_unenforceable` when that cannot be. */
export async function gatedConfigFor(
  rpc: RpcPeer,
  cwd: string,
  gate: InnerGate,
  env: Readonly<Record<string, string | undefined>>,
  platform = process.platform,
): Promise<Readonly<Record<string, unknown>>> {
  const holes = [...(await allowingRules(env, cwd)), ...(platform === 'win32' ? [windowsShells] : [])];
  const { config, unseen } = await askingServers(rpc, cwd);
  if (gate.refusesUnseen && holes.length + unseen.length > 0) throw unenforceable([...holes, ...unseen]);
  return { ...gatedConfig, ...config };
}

/** Rules on programs look into the scripts of POSIX shells. */
const windowsShells = 'on Windows commands run in PowerShell or cmd, whose scripts the policy cannot read';

function unenforceable(holes: readonly string[]): CallError {
  return new CallError(
    'policy_unenforceable',
    `The policy has rules for what happens inside a task, and Codex would not ask for everything: ${holes.join('; ')}.`,
    { hint: 'The person can remove that, or say "unseen: allow" in the policy.' },
  );
}

/** A thread from before there were rules goes on without them. */
export function stillUngated(): CallError {
  return new CallError(
    'policy_unenforceable',
    'The policy got rules for what happens inside a task, and Codex did not let go of this one to begin with them.',
    { hint: 'Send the message again in some seconds.', retryable: true },
  );
}

/** A tool that says of itself that it only reads is not asked about otherwise. */
async function askingServers(
  rpc: RpcPeer,
  cwd: string,
): Promise<{ readonly config: Readonly<Record<string, unknown>>; readonly unseen: readonly string[] }> {
  try {
    const { config } = configResult.parse(await rpc.request('config/read', { includeLayers: false, cwd }));
    const servers = Object.entries(config.mcp_servers ?? {});
    const odd = servers.filter(([name, { tools }]) =>
      [name, ...Object.keys(tools ?? {})].some((one) => !/^[\w-]+$/.test(one)),
    );
    const asking = servers.flatMap(([name, { tools }]) => [
      [`mcp_servers.${name}.default_tools_approval_mode`, 'prompt'] as const,
      ...Object.keys(tools ?? {}).map((tool) => [`mcp_servers.${name}.tools.${tool}.approval_mode`, 'prompt'] as const),
    ]);
    return {
      config: Object.fromEntries(asking),
      unseen: odd.map(([name]) => `the MCP server "${name}" has a name that cannot be switched to asking`),
    };
  } catch (error) {
    return { config: {}, unseen: [`its configuration cannot be read (${messageOf(error)})`] };
  }
}

/** Rule files that let commands run without being asked; Codex has no switch for them. */
async function allowingRules(
  env: Readonly<Record<string, string | undefined>>,
  cwd: string,
): Promise<readonly string[]> {
  // A project's own rules count wherever Codex takes a directory above for the project's root.
  const projects = ancestors(cwd).map((dir) => join(dir, '.codex', 'rules'));
  const dirs = [join(codexHome(env), 'rules'), '/etc/codex/rules', ...projects];
  const found = await Promise.all([...new Set(dirs)].map(allowingFiles));
  return found.flat();
}

function ancestors(dir: string): readonly string[] {
  const above = dirname(dir);
  return above === dir ? [dir] : [dir, ...ancestors(above)];
}

const ruleFileLimit = 1024 * 1024;

async function allowingFiles(dir: string): Promise<readonly string[]> {
  try {
    const names = (await readdir(dir)).filter((name) => name.endsWith('.rules'));
    const paths = names.map((name) => join(dir, name));
    const texts = await Promise.all(paths.map((path) => readText(path, ruleFileLimit)));
    return paths.filter((_, index) => letsCommandsRun(texts[index] ?? '')).map((path) => `${path} lets commands run`);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    return code === 'ENOENT' || code === 'ENOTDIR' ? [] : [`${dir} cannot be read (${messageOf(error)})`];
  }
}
