import { z } from 'zod';
import { firstLine } from '../core/boundedText';
import { CallError, messageOf } from '../core/errors';
import type { InnerGate } from '../core/innerGate';
import type { RpcPeer } from './rpc';

/**
 * How a thread is run in which everything is asked: it has no executor but the one behind the gate (see execGate/), and what
 * would pass by the gate is switched off, or found, and then the task is refused. What was seen is of Codex 0.169.0.
 */

/**
 * Parameters of `thread/start`, `thread/resume` and `turn/start`. Codex asks nothing itself but for the use of MCP tools, and
 * refuses what would leave the sandbox: what it does not refuse is asked at the gate.
 */
export const gatedParams = {
  approvalPolicy: {
    granular: {
      sandbox_approval: false,
      rules: false,
      skill_approval: false,
      request_permissions: false,
      mcp_elicitations: true,
    },
  },
  approvalsReviewer: 'user',
} as const;

const gatedConfig: Readonly<Record<string, unknown>> = {
  // A command has no terminal, into which anything could be typed.
  'features.unified_exec_tty': false,
  // What these do is seen by nobody, or decided by others.
  'features.apps': false,
  'features.plugins': false,
  'features.browser_use': false,
  'features.computer_use': false,
  'features.hooks': false,
  'features.view_image': false,
  'features.image_generation': false,
  'features.multi_agent_v2': false,
  'features.request_permissions_tool': false,
  'features.exec_permission_approvals': false,
  'features.standalone_web_search': false,
  web_search: 'disabled',
  // It runs a shell for each new thread.
  'features.shell_snapshot': false,
  // Otherwise `cd x` may lead to a place that is not below the directory of the command.
  'shell_environment_policy.set.CDPATH': '',
};

/** The same, for people. */
const alwaysOff = 'hooks, plugins, apps, web search, pictures and interactive terminals';

/**
 * Every tool that Codex 0.169 offers its model in such a thread. What `asks` is put to the rules at each use; what does nothing to
 * files, commands or others needs no asking.
 */
export const gatedTools: Readonly<Record<string, 'asks' | 'harmless'>> = {
  exec_command: 'asks',
  // Polls a command that was accepted; without a terminal nothing can be typed.
  write_stdin: 'harmless',
  apply_patch: 'asks',
  update_plan: 'harmless',
  request_user_input: 'asks',
  // Finds tools, whose use is asked.
  tool_search: 'harmless',
  // Names and descriptions.
  list_mcp_resources: 'harmless',
  list_mcp_resource_templates: 'harmless',
  read_mcp_resource: 'asks',
};

const server = z.looseObject({
  enabled: z.boolean().optional(),
  command: z.string().optional(),
  args: z.array(z.string()).nullish(),
  cwd: z.string().nullish(),
  tools: z.record(z.string(), z.unknown()).nullish(),
});
type Server = z.infer<typeof server>;

const configResult = z.object({
  config: z.looseObject({ mcp_servers: z.record(z.string(), server).nullish() }),
  /** Where each value comes from, by dotted key. */
  origins: z.record(z.string(), z.object({ name: z.looseObject({ type: z.string() }) })),
});

/** What the configuration of a project may say of such a task: nothing of it decides what is run, and with what. */
const harmlessKeys =
  /^(?:model|model_(?:verbosity|reasoning_\w+)|personality|review_model|developer_instructions|project_doc_\w+)$/;

/** What a gated thread is begun with. */
export interface GatedSetup {
  /** By dotted key. */
  readonly config: Readonly<Record<string, unknown>>;
  /** The MCP servers that may be started. */
  readonly servers: readonly { readonly name: string; readonly argv: readonly string[] }[];
  /** What the person may have set up and is off in the thread, for people. */
  readonly off: readonly string[];
}

export interface GatedPlace {
  readonly cwd: string;
  /** Where its commands and MCP servers run. */
  readonly environment: string;
  /** Whether the MCP servers of the person are there; true unless it is said. */
  readonly withServers?: boolean;
}

/** The configuration of a thread in which everything is asked. Throws `policy_unenforceable` when that cannot be. */
export async function gatedSetup(
  rpc: RpcPeer,
  place: GatedPlace,
  gate: Pick<InnerGate, 'holds' | 'refusesUnseen'>,
  platform = process.platform,
): Promise<GatedSetup> {
  const [person, here] = await Promise.all([readConfig(rpc), readConfig(rpc, place.cwd)]);
  const known = person.servers.map(([name]) => name);
  const servers = person.servers.filter(([name]) => isPlain(name));
  const remote = here.servers.filter(isRemote);
  const decides = here.ofProject.filter((key) => !harmlessKeys.test(key) && !isOfForeignServer(key, known));
  const holes = [
    ...(platform === 'win32' ? [windowsShells] : []),
    ...(decides.length > 0 ? [decidedByProject(decides)] : []),
    ...remote
      .filter(([name]) => !isPlain(name))
      .map(([name]) => `the MCP server "${name}" has a name that cannot be configured`),
  ];
  if (holes.length > 0 && gate.holds && gate.refusesUnseen) throw unenforceable(holes);
  const closed = place.withServers === false ? servers : gate.refusesUnseen ? remote : [];
  // Without an environment Codex does not start them.
  const foreign = here.servers.filter((one) => !servers.some(([name]) => name === one[0]) && !isRemote(one));
  const off = [
    alwaysOff,
    ...(closed.length > 0 ? [`the MCP servers ${namesOf(closed)}, which are reached over the network`] : []),
    ...(foreign.length > 0 ? [`the MCP servers ${namesOf(foreign)}, of the project or with an odd name`] : []),
  ];
  return {
    config: Object.fromEntries([
      ...Object.entries(gatedConfig),
      ...servers.flatMap(([name, one]) => serverConfig(name, one, place, gate.holds)),
      ...closed.map(([name]) => [`mcp_servers.${name}.enabled`, false] as const),
    ]),
    servers: servers.flatMap(([name, { command, args }]) =>
      command === undefined ? [] : [{ name, argv: [command, ...(args ?? [])] }],
    ),
    off,
  };
}

/** While rules hold, every tool is asked about: one that says of itself that it only reads would not be. */
function serverConfig(
  name: string,
  { command, cwd, tools }: Server,
  place: GatedPlace,
  asks: boolean,
): readonly (readonly [string, unknown])[] {
  const local = [
    [`mcp_servers.${name}.environment_id`, place.environment],
    [`mcp_servers.${name}.cwd`, cwd ?? place.cwd],
  ] as const;
  const asking = [
    [`mcp_servers.${name}.default_tools_approval_mode`, 'prompt'] as const,
    ...Object.keys(tools ?? {})
      .filter(isPlain)
      .map((tool) => [`mcp_servers.${name}.tools.${tool}.approval_mode`, 'prompt'] as const),
  ];
  return [...(command === undefined ? [] : local), ...(asks ? asking : [])];
}

/** The configuration of the person, or that which counts in a directory, and the keys that its project sets. */
async function readConfig(
  rpc: RpcPeer,
  cwd?: string,
): Promise<{ readonly servers: readonly (readonly [string, Server])[]; readonly ofProject: readonly string[] }> {
  try {
    const { config, origins } = configResult.parse(await rpc.request('config/read', { includeLayers: false, cwd }));
    const servers = Object.entries(config.mcp_servers ?? {}).filter(([, { enabled }]) => enabled !== false);
    const ofProject = Object.entries(origins).filter(([, { name }]) => name.type === 'project');
    return { servers, ofProject: ofProject.map(([key]) => key) };
  } catch (error) {
    throw unenforceable([`its configuration cannot be read (${messageOf(error)})`]);
  }
}

function isRemote([, { command }]: readonly [string, Server]): boolean {
  return command === undefined;
}

/** A server of the project alone is not started, or switched off; one of the person's could be given another environment. */
function isOfForeignServer(key: string, known: readonly string[]): boolean {
  const name = /^mcp_servers\.([\w-]+)\./.exec(key)?.[1];
  return name !== undefined && !known.includes(name);
}

function decidedByProject(keys: readonly string[]): string {
  const named = firstLine(keys.join(', '), 200);
  return `the project's own .codex/config.toml decides what is run and with what (${named})`;
}

function namesOf(servers: readonly (readonly [string, Server])[]): string {
  return servers.map(([name]) => `"${name}"`).join(', ');
}

/** Of a name that a dotted key of the configuration can hold. */
function isPlain(name: string): boolean {
  return /^[\w-]+$/.test(name);
}

/** Rules on programs look into the scripts of POSIX shells. */
const windowsShells = 'on Windows commands run in PowerShell or cmd, whose scripts the policy cannot read';

export function unenforceable(
  holes: readonly string[],
  hint = 'The person can remove that, or say "unseen: allow" in the policy.',
): CallError {
  return new CallError(
    'policy_unenforceable',
    `Everything that this task does would have to be asked, and Codex would not ask for everything: ${holes.join('; ')}.`,
    { hint },
  );
}

/** A thread that is still loaded elsewhere goes on there, without rules. */
export function stillLoaded(): CallError {
  return new CallError(
    'policy_unenforceable',
    'What is asked in this task has changed, and Codex did not let go of it to begin anew.',
    { hint: 'Send the message again in some seconds.', retryable: true },
  );
}
