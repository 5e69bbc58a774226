import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeCodexHome } from '../../src/demo/codexHome';
import { type ScriptedModel, startScriptedModel } from '../../src/demo/scriptedModel';
import { findCodex, thisMachine } from '../../src/codex/findCodex';
import type { WorkerSettings } from '../../src/core/ports';
import { Worker } from '../../src/worker';
import { bundled } from './bundled';
import { cacheDir } from './installEditor';

export const launcherPath = join(import.meta.dirname, '../../node_modules/.bin/codex');

/** The real Codex CLI with a scripted model, in a directory of its own. */
export interface CodexRig {
  readonly dir: string;
  readonly workspace: string;
  readonly stateDir: string;
  readonly codexHome: string;
  /** Stands for the user's data directory. */
  readonly dataDir: string;
  readonly codexPath: string;
  readonly model: ScriptedModel;
  readonly env: Readonly<Record<string, string>>;
  /** A policy without rules: the limits of the built-in one are not what most tests are about. */
  readonly policyPath: string;
  dispose(): Promise<void>;
}

/** A data directory where no task may write: with doors in a temporary directory none is started. */
export function newDataDir(): Promise<string> {
  return newDirIn('data');
}

/** In a temporary directory Codex makes no links to itself, without which its sandbox does not start where the system has bwrap. */
export function newCodexHome(): Promise<string> {
  return newDirIn('codex-homes');
}

async function newDirIn(name: string): Promise<string> {
  const parent = cacheDir(name);
  await mkdir(parent, { recursive: true });
  return realpath(await mkdtemp(join(parent, 'test-')));
}

export async function startCodexRig(options: { more?: string; modelUrl?: string } = {}): Promise<CodexRig> {
  const dir = await realpath(await mkdtemp(join(tmpdir(), 'codex-worker-test-')));
  const [workspace, stateDir] = ['workspace', 'state'].map((name) => join(dir, name)) as [string, string];
  await mkdir(workspace);
  const dataDir = await newDataDir();
  const codexHome = await newCodexHome();
  const policyPath = join(dir, 'policy.yaml');
  await writeFile(policyPath, '');
  const model = await startScriptedModel();
  await writeCodexHome(codexHome, { modelUrl: options.modelUrl ?? model.url, more: options.more ?? '' });
  const { path: codexPath } = await findCodex(thisMachine(launcherPath, null));
  return {
    dir,
    workspace,
    stateDir,
    codexHome,
    dataDir,
    codexPath,
    model,
    env: { CODEX_HOME: codexHome, CODEX_WORKER_DATA: dataDir },
    policyPath,
    dispose: async () => {
      await model.close();
      for (const one of [dir, dataDir, codexHome]) await rm(one, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

export function testSettings(root: string, changes: Partial<WorkerSettings> = {}): WorkerSettings {
  return {
    roots: () => [root],
    trusted: () => true,
    sandbox: () => 'danger-full-access',
    approvalPolicy: () => 'never',
    allowFullAccess: () => true,
    allowUnknownModels: () => false,
    agentMayApprove: () => 'always',
    requestTimeoutMs: () => null,
    idleTimeoutMs: () => null,
    maxConcurrentTasks: () => 100,
    nestedTasks: () => 0,
    recovery: () => 'fail',
    usageLimit: () => 'fail',
    elicitation: () => false,
    personPresent: () => true,
    keepAliveMs: () => 3_600_000,
    ...changes,
  };
}

export interface WorkerRigOptions {
  readonly settings?: Partial<WorkerSettings>;
  readonly threadConfig?: Readonly<Record<string, unknown>>;
  readonly dynamicTools?: readonly unknown[];
  readonly lingerMs?: number;
  /** A policy file; null for the built-in policy. */
  readonly policyPath?: string | null;
  /** Milliseconds that work goes on without its worker; a keeper owns Codex then. */
  readonly keepMs?: () => number | null;
  /** Nobody owns a gate in front of the sandbox, so that Codex itself asks. */
  readonly gateless?: boolean;
}

/** A worker on a rig. Its log is kept for failing tests to show. */
export async function startWorker(
  rig: CodexRig,
  options: WorkerRigOptions = {},
): Promise<Worker & { lines: string[] }> {
  const lines: string[] = [];
  const worker = await Worker.create({
    dataDir: rig.dataDir,
    stateDir: rig.stateDir,
    settings: testSettings(rig.workspace, options.settings),
    log: (level, message) => lines.push(`${level} ${message}`),
    codexPath: () => rig.codexPath,
    lockWaitMs: 100,
    policyPath: () => (options.policyPath === undefined ? rig.policyPath : options.policyPath),
    env: rig.env,
    ...(options.threadConfig ? { threadConfig: options.threadConfig } : {}),
    ...(options.dynamicTools ? { dynamicTools: options.dynamicTools } : {}),
    ...(options.lingerMs === undefined ? {} : { lingerMs: options.lingerMs }),
    ...(options.gateless === true
      ? {}
      : { keeper: { program: bundled('keeper'), keepMs: options.keepMs ?? (() => 0) } }),
  });
  return Object.assign(worker, { lines });
}
