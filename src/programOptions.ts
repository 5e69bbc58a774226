import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { userDataDir } from './base/userDirs';
import { HumanError } from './core/errors';
import { deepestNesting } from './core/nesting';
import { recoveries, type Recovery, type UsageLimitAction, usageLimitActions, type WorkerSettings } from './core/ports';
import type { PolicyTest } from './policyCommands';
import { version } from './version';

const help = `mcp-codex-worker ${version}: an MCP server on stdin and stdout that runs coding tasks with the Codex CLI.

  --root DIR           where tasks may work; repeatable; default: the current directory, and where that
                       is / or the home directory, the roots that the client names
  --state-dir DIR      where tasks' files go; default: the user's data directory
  --codex-path FILE    the Codex CLI to use; default: found on PATH
  --allow-full-access  lets callers ask for the sandbox danger-full-access
  --request-timeout MINUTES
                       declines what a task asks when nobody has answered by then; default 0: it waits
  --max-concurrent-tasks N
                       how many tasks are at work at once, 1 to 100; default 8; the others wait
  --nested-tasks N     lets tasks start tasks, N deep, 0 to 3; default 0: not at all
  --idle-timeout MINUTES
                       asks whether to wait on when a task shows no sign of life for that long;
                       default 15; 0 never
  --recovery ask|continue|fail
                       what a task does when Codex stopped in the middle of its turn; default ask
  --usage-limit fail|wait
                       what a task does when the plan's usage limit ends its turn: wait goes on at the
                       reset; default fail
  --elicitation        asks the person behind a waiting client, by MCP elicitation, what a task asks
  --policy FILE        what callers may do without a person; default: a built-in policy. A workspace's
                       own .codex-worker/policy.yaml can only tighten it
  --attach             works through the worker of the editor's window whose folder holds the current
                       directory: its tasks, its approvals, its policy. Tasks outlive this program. With
                       no such window it says what it looked for and ends with exit code 3
  --attach-or-serve    the same, but with no such window it serves tasks of its own
  --window DIR | ID    the window to attach to: one that has DIR open, or the one of that id
  --version, --help

  policy validate FILE     lists every mistake with its line and column
  policy scaffold          prints a commented policy to begin with
  policy test FILE --tool TOOL [--args JSON] [--session NAME]
                           prints what the policy says to a call, and by which rule
  audit show | verify      prints the audit trail, or looks whether a line of it is missing or changed;
                           takes --state-dir

  doctor [--repair]    says how Codex, its login, the store and the processes are, and repairs what
                       an earlier run left; takes --state-dir and --codex-path
`;

export type AttachMode = 'no' | 'only' | 'orServe';

export interface ProgramOptions {
  /** What to do instead of serving, such as `doctor`; empty to serve. */
  readonly command: readonly string[];
  readonly repair: boolean;
  /** The call that `policy test` looks at. */
  readonly call: PolicyTest;
  /** Whether to work through a window of the editor, and what to do when there is none. */
  readonly attach: AttachMode;
  /** The window to attach to: a directory or an id; null for the one that has the current directory open. */
  readonly window: string | null;
  /** Where tasks may work; null when nobody named a directory. */
  readonly roots: readonly string[] | null;
  readonly stateDir: string;
  readonly codexPath: string | null;
  readonly allowFullAccess: boolean;
  readonly policy: string | null;
  readonly requestTimeoutMs: number | null;
  readonly maxConcurrentTasks: number;
  readonly nestedTasks: number;
  readonly idleTimeoutMs: number | null;
  readonly recovery: Recovery;
  readonly usageLimit: UsageLimitAction;
  readonly elicitation: boolean;
}

/** Parses the command line; null when it asked for a text only, which is printed. */
export function parseCommandLine(args: readonly string[]): ProgramOptions | null {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      root: { type: 'string', multiple: true },
      'state-dir': { type: 'string' },
      'codex-path': { type: 'string' },
      'allow-full-access': { type: 'boolean' },
      policy: { type: 'string' },
      'request-timeout': { type: 'string' },
      'max-concurrent-tasks': { type: 'string' },
      'nested-tasks': { type: 'string' },
      'idle-timeout': { type: 'string' },
      recovery: { type: 'string' },
      'usage-limit': { type: 'string' },
      elicitation: { type: 'boolean' },
      repair: { type: 'boolean' },
      tool: { type: 'string' },
      args: { type: 'string' },
      session: { type: 'string' },
      attach: { type: 'boolean' },
      'attach-or-serve': { type: 'boolean' },
      window: { type: 'string' },
      version: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  });
  if (values.version || values.help) {
    process.stdout.write(values.version ? `${version}\n` : help);
    return null;
  }
  assertCommand(positionals);
  const attach = values['attach-or-serve'] ? 'orServe' : (values.attach ?? values.window !== undefined) ? 'only' : 'no';
  const ofWorker = workerOptions.find((name) => values[name] !== undefined);
  if (attach === 'only' && ofWorker !== undefined) {
    throw new HumanError(
      `--${ofWorker} is for a worker of its own, and --attach works under the settings of the window. Leave it out, or use --attach-or-serve.`,
    );
  }
  return {
    command: positionals,
    repair: values.repair ?? false,
    call: { tool: values.tool ?? '', args: values.args ?? '{}', session: values.session ?? 'stdio' },
    attach,
    window: values.window ?? null,
    roots: values.root?.map((root) => resolve(root)) ?? null,
    stateDir: resolve(values['state-dir'] ?? userDataDir()),
    codexPath: values['codex-path'] === undefined ? null : resolve(values['codex-path']),
    allowFullAccess: values['allow-full-access'] ?? false,
    policy: values.policy === undefined ? null : resolve(values.policy),
    requestTimeoutMs: minutes('--request-timeout', values['request-timeout'] ?? '0'),
    maxConcurrentTasks: count('--max-concurrent-tasks', values['max-concurrent-tasks'] ?? '8', [1, 100]),
    nestedTasks: count('--nested-tasks', values['nested-tasks'] ?? '0', [0, deepestNesting]),
    idleTimeoutMs: minutes('--idle-timeout', values['idle-timeout'] ?? '15'),
    recovery: oneOf('--recovery', recoveries, values.recovery ?? 'ask'),
    usageLimit: oneOf('--usage-limit', usageLimitActions, values['usage-limit'] ?? 'fail'),
    elicitation: values.elicitation ?? false,
  };
}

/** What a worker of its own is started with: nobody may think that it holds in a window. */
const workerOptions = [
  'root',
  'state-dir',
  'codex-path',
  'allow-full-access',
  'policy',
  'request-timeout',
  'max-concurrent-tasks',
  'nested-tasks',
  'idle-timeout',
  'recovery',
  'usage-limit',
  'elicitation',
] as const;

const commands = [
  ['doctor'],
  ['policy', 'validate', 'FILE'],
  ['policy', 'scaffold'],
  ['policy', 'test', 'FILE'],
  ['audit', 'show'],
  ['audit', 'verify'],
];

function assertCommand(words: readonly string[]): void {
  const fits = (form: readonly string[]): boolean =>
    form.length === words.length && form.every((part, index) => part === 'FILE' || part === words[index]);
  if (words.length === 0 || commands.some(fits)) return;
  throw new HumanError(`Unknown command "${words.join(' ')}"; --help lists what there is.`);
}

/** Milliseconds of an option that is given in minutes. */
function minutes(option: string, text: string): number | null {
  const value = /^\d{1,5}(\.\d{1,3})?$/.test(text) ? Number(text) : Number.NaN;
  if (value === 0) return null;
  if (value <= 7 * 24 * 60) return value * 60_000;
  throw new HumanError(`${option} "${text}" is not a number of minutes up to a week, such as 30; 0 is never.`);
}

function count(option: string, text: string, [least, most]: readonly [number, number]): number {
  if (/^\d{1,3}$/.test(text) && Number(text) >= least && Number(text) <= most) return Number(text);
  throw new HumanError(`${option} "${text}" is not a number from ${least} to ${most}.`);
}

function oneOf<T extends string>(option: string, values: readonly T[], text: string): T {
  const known = values.find((one) => one === text);
  if (known) return known;
  throw new HumanError(`${option} "${text}" is none of ${values.join(', ')}.`);
}

export function settingsOf(options: ProgramOptions, roots: () => readonly string[]): WorkerSettings {
  const { allowFullAccess, requestTimeoutMs, idleTimeoutMs, recovery, usageLimit, elicitation } = options;
  const { maxConcurrentTasks, nestedTasks } = options;
  return {
    roots,
    trusted: () => true,
    sandbox: () => 'workspace-write',
    approvalPolicy: () => 'on-request',
    allowFullAccess: () => allowFullAccess,
    allowUnknownModels: () => false,
    // There is no editor to ask: over stdio the client decides.
    agentMayApprove: () => 'always',
    requestTimeoutMs: () => requestTimeoutMs,
    idleTimeoutMs: () => idleTimeoutMs,
    maxConcurrentTasks: () => maxConcurrentTasks,
    nestedTasks: () => nestedTasks,
    recovery: () => recovery,
    usageLimit: () => usageLimit,
    personPresent: () => false,
    elicitation: () => elicitation,
    keepAliveMs: () => 7 * 24 * 3_600_000,
  };
}
