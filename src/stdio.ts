#!/usr/bin/env node
import { stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { HumanError, messageOf } from './core/errors';
import { type LogLevel, recoveries, type Recovery, type WorkerSettings } from './core/ports';
import { trustNotice } from './core/trustNotice';
import { describeFindings, examine } from './doctor';
import { version } from './version';
import { Worker } from './worker';

const help = `mcp-codex-worker ${version}: an MCP server on stdin and stdout that runs coding tasks with the Codex CLI.

  --root DIR           where tasks may work; repeatable; default: the current directory
  --state-dir DIR      where tasks' files go; default: the user's data directory
  --codex-path FILE    the Codex CLI to use; default: found on PATH
  --allow-full-access  lets callers ask for the sandbox danger-full-access
  --request-timeout MINUTES
                       declines what a task asks when nobody has answered by then; default 0: it waits
  --max-concurrent-tasks N
                       how many tasks are at work at once, 1 to 100; default 8; the others wait
  --idle-timeout MINUTES
                       asks whether to wait on when a task shows no sign of life for that long;
                       default 15; 0 never
  --recovery ask|continue|fail
                       what a task does when Codex stopped in the middle of its turn; default ask
  --elicitation        asks the person behind a waiting client, by MCP elicitation, what a task asks
  --policy FILE        accepted for later; it is not enforced yet
  --version, --help

  doctor [--repair]    says how Codex, its login, the store and the processes are, and repairs what
                       an earlier run left; takes --state-dir and --codex-path
`;

const successorMs = 60_000;

interface ProgramOptions {
  /** Set for `doctor`. */
  readonly doctor: { readonly repair: boolean } | null;
  readonly roots: readonly string[];
  readonly stateDir: string;
  readonly codexPath: string | null;
  readonly allowFullAccess: boolean;
  readonly policy: string | null;
  readonly requestTimeoutMs: number | null;
  readonly maxConcurrentTasks: number;
  readonly idleTimeoutMs: number | null;
  readonly recovery: Recovery;
  readonly elicitation: boolean;
}

/** Parses the command line; null when it asked for a text only, which is printed. */
function parseCommandLine(args: readonly string[]): ProgramOptions | null {
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
      'idle-timeout': { type: 'string' },
      recovery: { type: 'string' },
      elicitation: { type: 'boolean' },
      repair: { type: 'boolean' },
      version: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  });
  if (values.version || values.help) {
    process.stdout.write(values.version ? `${version}\n` : help);
    return null;
  }
  const [command, ...others] = positionals;
  if ((command !== undefined && command !== 'doctor') || others.length > 0) {
    throw new HumanError(`Unknown argument "${others[0] ?? command ?? ''}"; --help lists what there is.`);
  }
  return {
    doctor: command === undefined ? null : { repair: values.repair ?? false },
    roots: (values.root ?? [process.cwd()]).map((root) => resolve(root)),
    stateDir: resolve(values['state-dir'] ?? defaultStateDir()),
    codexPath: values['codex-path'] === undefined ? null : resolve(values['codex-path']),
    allowFullAccess: values['allow-full-access'] ?? false,
    policy: values.policy ?? null,
    requestTimeoutMs: minutes('--request-timeout', values['request-timeout'] ?? '0'),
    maxConcurrentTasks: count('--max-concurrent-tasks', values['max-concurrent-tasks'] ?? '8'),
    idleTimeoutMs: minutes('--idle-timeout', values['idle-timeout'] ?? '15'),
    recovery: recoveryOf(values.recovery ?? 'ask'),
    elicitation: values.elicitation ?? false,
  };
}

/** Milliseconds of an option that is given in minutes. */
function minutes(option: string, text: string): number | null {
  const value = /^\d{1,5}(\.\d{1,3})?$/.test(text) ? Number(text) : Number.NaN;
  if (value === 0) return null;
  if (value <= 7 * 24 * 60) return value * 60_000;
  throw new HumanError(`${option} "${text}" is not a number of minutes up to a week, such as 30; 0 is never.`);
}

function count(option: string, text: string): number {
  if (/^\d{1,3}$/.test(text) && Number(text) >= 1 && Number(text) <= 100) return Number(text);
  throw new HumanError(`${option} "${text}" is not a number from 1 to 100.`);
}

function recoveryOf(text: string): Recovery {
  const known = recoveries.find((one) => one === text);
  if (known) return known;
  throw new HumanError(`--recovery "${text}" is none of ${recoveries.join(', ')}.`);
}

/** The user's data directory on this platform. */
function defaultStateDir(): string {
  const { env, platform } = process;
  if (platform === 'win32') return join(env.LOCALAPPDATA ?? join(homedir(), 'AppData', 'Local'), 'codex-worker');
  if (platform === 'darwin') return join(homedir(), 'Library', 'Application Support', 'codex-worker');
  return join(env.XDG_DATA_HOME ?? join(homedir(), '.local', 'share'), 'codex-worker');
}

function settingsOf(options: ProgramOptions): WorkerSettings {
  const { roots, allowFullAccess, requestTimeoutMs, idleTimeoutMs, recovery, elicitation, maxConcurrentTasks } =
    options;
  return {
    roots: () => roots,
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
    recovery: () => recovery,
    personPresent: () => false,
    elicitation: () => elicitation,
    keepAliveMs: () => 7 * 24 * 3_600_000,
  };
}

/** The exit code: 1 when something is wrong. */
async function doctor({ stateDir, codexPath, policy }: ProgramOptions, repair: boolean): Promise<number> {
  const findings = await examine({
    stateDir,
    codexPath,
    repair,
    ownsStore: false,
    extensionDir: null,
    endpoint: 'over standard input and output of this program',
    policy: policy === null ? 'none is given' : `${policy} is not enforced yet`,
  });
  process.stdout.write(describeFindings(findings));
  return findings.some(({ state }) => state === 'error') ? 1 : 0;
}

async function assertRoots(roots: readonly string[]): Promise<void> {
  for (const root of roots) {
    const info = await stat(root).catch(() => null);
    if (!info?.isDirectory()) throw new HumanError(`--root ${root} is not a directory that can be read.`);
  }
}

/** stdout carries MCP and nothing else. */
function log(level: LogLevel, message: string): void {
  if (level !== 'debug') process.stderr.write(`${new Date().toISOString()} ${level} ${message}\n`);
}

async function main(): Promise<void> {
  // A client that closes our log must not end us.
  process.stderr.on('error', () => undefined);
  const options = parseCommandLine(process.argv.slice(2));
  if (!options) return;
  if (options.doctor) {
    process.exitCode = await doctor(options, options.doctor.repair);
    return;
  }
  await assertRoots(options.roots);
  if (options.policy !== null) log('warn', `--policy ${options.policy} is not enforced yet.`);
  const worker = await Worker.create({
    stateDir: options.stateDir,
    settings: settingsOf(options),
    log,
    codexPath: () => options.codexPath,
    // After a crash of this program a successor on the same store has a minute to take over.
    keeper: { program: join(__dirname, 'keeper.js'), keepMs: () => successorMs },
    onFirstWritableTask: (cwd) => log('info', trustNotice(cwd)),
  });
  worker.restore().catch((error: unknown) => log('error', `The tasks could not be brought back: ${messageOf(error)}`));
  await worker.serveStdio();
  await worker.shutDown();
}

main().then(
  // Everything is closed by now; a stray handle must not keep a program alive whose client is gone.
  () => process.exit(),
  (error: unknown) => {
    const human = error instanceof HumanError || (error instanceof TypeError && 'code' in error);
    process.stderr.write(`${human ? messageOf(error) : String(error instanceof Error ? error.stack : error)}\n`);
    process.exit(1);
  },
);
