#!/usr/bin/env node
import { randomUUID } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { findWindow, serveAttached } from './attachCommand';
import { userDataDir } from './base/userDirs';
import { tellListenerBugs } from './core/emitter';
import { CallError, HumanError, messageOf, stackOf } from './core/errors';
import { hashOf } from './core/hash';
import type { LogLevel } from './core/ports';
import { trustNotice } from './core/trustNotice';
import { describeFindings, examine } from './doctor';
import {
  assertPolicy,
  checkAudit,
  policyState,
  scaffoldPolicy,
  showAudit,
  testPolicy,
  validatePolicy,
} from './policyCommands';
import { parseCommandLine, type ProgramOptions, settingsOf } from './programOptions';
import { ProgramRoots } from './programRoots';
import { StdioClient } from './pipe/stdioClient';
import { version } from './version';
import {
  accountKey,
  findSharedWorker,
  findWorkerOf,
  type Outer,
  outerServer,
  refuseStdio,
  serveThrough,
  type SharedCaller,
  Worker,
  type WorkerOptions,
} from './worker';

const successorMs = 60_000;

/** The exit code: 1 when something is wrong. */
async function doctor({ stateDir, codexPath, policy, repair }: ProgramOptions): Promise<number> {
  const findings = await examine({
    stateDir,
    codexPath,
    repair,
    ownsStore: false,
    extensionDir: null,
    endpoint: 'over standard input and output of this program',
    policy: policy === null ? 'built in' : await policyState(policy),
  });
  process.stdout.write(describeFindings(findings));
  return findings.some(({ state }) => state === 'error') ? 1 : 0;
}

/** The exit code: 1 when something is wrong. */
async function runCommand(options: ProgramOptions): Promise<number> {
  const [area, verb, file = ''] = options.command;
  switch (`${area ?? ''} ${verb ?? ''}`.trim()) {
    case 'doctor':
      return doctor(options);
    case 'policy validate':
      return validatePolicy(file);
    case 'policy scaffold':
      return scaffoldPolicy();
    case 'policy test':
      return testPolicy(file, options.call, options.roots?.[0] ?? process.cwd());
    case 'audit show':
      return showAudit(options.stateDir);
    default:
      return checkAudit(options.stateDir);
  }
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
  if (options.command.length > 0) {
    process.exitCode = await runCommand(options);
    return;
  }
  const stopped = stopSignal();
  tellListenerBugs((error) => log('error', stackOf(error)));
  const outer = await outerServer();
  if (outer) return serveInside(outer, stopped);
  if (options.attach !== 'no') {
    const window = await findWindow(options.window);
    if (!('looked' in window)) {
      // What was in flight is refused when the window goes: clients wait with limits of their own.
      const client = new StdioClient(process.stdin, process.stdout, { repeats: () => false });
      return serveAttached(client, window, (message) => log('info', message), stopped);
    }
    process.stderr.write(`${window.looked}\n`);
    if (options.attach === 'only') {
      process.exitCode = noWindow;
      return;
    }
  }
  await assertRoots(options.roots ?? []);
  if (options.policy !== null) await assertPolicy(options.policy);
  const client = new StdioClient(process.stdin, process.stdout, { repeats: (tool) => tool === 'wait-task' });
  await serve(client, options, stopped);
}

/** A window that is reloaded takes so long to be there again, in ms. */
const reloadMs = 20_000;

/** Each thread of a task starts a program like this: it works through the worker of that task, and owns nothing. */
async function serveInside({ stateDir, task }: Outer, stopped: Promise<unknown>): Promise<void> {
  const client = new StdioClient(process.stdin, process.stdout, { repeats: (tool) => tool === 'wait-task' });
  const who = { caller: `inside ${randomUUID()}`, session: undefined, inside: { task } };
  for (let deadline = 0; ;) {
    const worker = stateDir === '' ? null : await findWorkerOf(stateDir);
    const end = worker ? await serveThrough(worker, client, who, stopped) : 'unreachable';
    if (end === 'clientGone') return;
    if (end === 'workerGone') deadline = performance.now() + reloadMs;
    if (performance.now() >= deadline) break;
    await delay(lookEveryMs);
  }
  await refuseStdio(client, { version, error: nested, log }, stopped);
}

/** The exit code of `--attach` without a window. */
const noWindow = 3;

const nested = new CallError('not_available', 'This program was started by Codex inside a task of Codex Worker.', {
  hint: 'Do the work yourself: its worker cannot be reached from here.',
});

/** A program that has the store may just start, or be on its way out, in ms. */
const otherStartsMs = 2_000;
const takeOverMs = 5_000;
const servedMs = 1_000;
const lookEveryMs = 50;

/**
 * Serves the client: with a worker of this program, or through that of another one on the same store which wants the same, or
 * beside one that wants something else. When the other one goes away, its tasks are taken over.
 */
async function serve(client: StdioClient, options: ProgramOptions, stopped: Promise<unknown>): Promise<void> {
  const session = process.env.COPILOT_AGENT_SESSION_ID;
  const roots = options.roots === null ? await ProgramRoots.of(process.cwd()) : null;
  const rootsOf = (): readonly string[] => roots?.current ?? options.roots ?? [];
  const choices = await choicesOf(options, rootsOf());
  const worker = { ...workerOptions(options), settings: settingsOf(options, rootsOf) };
  const takeRoots = roots?.areMissing ? (uris: readonly string[]) => roots.take(uris) : undefined;
  // Who worked through another program keeps its name, under which its tasks are known.
  let caller = 'stdio';
  for (let deadline = performance.now() + otherStartsMs; ;) {
    const sole = await Worker.createSole(worker);
    if (sole) {
      await sole.share(choices).catch((error: unknown) => {
        log('warn', `Other programs cannot work through this one: ${messageOf(error)}`);
      });
      return serveWith(sole, client, { caller, session }, stopped, takeRoots);
    }
    const other = await findSharedWorker(options.stateDir, choices);
    const own = caller === 'stdio' ? `stdio ${randomUUID()}` : caller;
    const began = performance.now();
    const end = other ? await serveThrough(other, client, { caller: own, session }, stopped) : 'unreachable';
    if (end === 'clientGone') return;
    if (end === 'workerGone') {
      // Also for a client that is gone by now: what it began has to end.
      log('warn', 'The program that this one worked through has gone.');
      caller = own;
      // One that takes nobody is not waited for again and again.
      if (performance.now() - began > servedMs) deadline = performance.now() + takeOverMs;
    }
    if (performance.now() >= deadline) break;
    await delay(lookEveryMs);
  }
  const beside = await Worker.create({ ...worker, lockWaitMs: 0 });
  return serveWith(beside, client, { caller, session }, stopped, takeRoots);
}

async function serveWith(
  worker: Worker,
  client: StdioClient,
  who: SharedCaller,
  stopped: Promise<unknown>,
  takeRoots?: (uris: readonly string[]) => Promise<void>,
): Promise<void> {
  worker.restore().catch((error: unknown) => log('error', `The tasks could not be brought back: ${messageOf(error)}`));
  await worker.serveStdio(client, who, stopped, takeRoots);
  await worker.leave(who.caller);
}

/** Resolves when the process is told to end. */
function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    // Not `once`: execa's clean-up ends the process at a signal that has no other listener left.
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => resolve());
  });
}

/** Of everything that makes a worker what it is: programs that differ in it do not work through each other. */
async function choicesOf(options: ProgramOptions, roots: readonly string[]): Promise<string> {
  // Roots that a client names are its own.
  const where = roots.length > 0 ? roots : randomUUID();
  const { codexPath, allowFullAccess, policy, requestTimeoutMs, maxConcurrentTasks } = options;
  const { idleTimeoutMs, recovery, usageLimit, elicitation } = options;
  const limits = { requestTimeoutMs, maxConcurrentTasks, idleTimeoutMs, recovery, usageLimit, elicitation };
  return hashOf({ version, roots: where, codexPath, allowFullAccess, policy, limits, account: await accountKey({}) });
}

function workerOptions(options: ProgramOptions): Omit<WorkerOptions, 'settings'> {
  return {
    dataDir: userDataDir(),
    stateDir: options.stateDir,
    log,
    codexPath: () => options.codexPath,
    policyPath: () => options.policy,
    // After a crash of this program a successor on the same store has a minute to take over.
    keeper: { program: join(__dirname, 'keeper.js'), keepMs: () => successorMs },
    onFirstWritableTask: (cwd) => log('info', trustNotice(cwd)),
  };
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
