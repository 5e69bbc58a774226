import { access, constants, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { findCodex, thisMachine } from './codex/findCodex';
import { probeSandbox } from './codex/sandboxProbe';
import { probeDoor, type ServerDefinition } from './doorProbe';
import { CallError, messageOf } from './core/errors';
import { run } from './process/childProcess';
import { keeperDirs, readAnyRecord, readRecord, recordPath } from './process/keeperFiles';
import { ProcessRegistry } from './process/processRegistry';
import { takeStoreLock } from './store/storeLock';
import { TaskFiles } from './store/taskFiles';

export interface DoctorOptions {
  readonly stateDir: string;
  /** Whether this program works with the store itself. */
  readonly ownsStore: boolean;
  readonly codexPath: string | null;
  readonly extensionDir: string | null;
  /** How MCP is served: what a client is given, or in words where there is nothing to go through. */
  readonly endpoint: ServerDefinition | string;
  /** What else was found, by whoever asks. */
  readonly more?: readonly Finding[];
  /** In words. */
  readonly policy: string;
  /** Repairs what can be repaired. */
  readonly repair: boolean;
}

/** What was found about one part. */
export interface Finding {
  readonly part: string;
  readonly state: 'ok' | 'warning' | 'error';
  readonly text: string;
  /** What to do about it, or what was done. */
  readonly advice?: string;
  /** Whether a repair would help. */
  readonly repairable?: boolean;
  /** A change of the person's settings that would help. */
  readonly offers?: 'agentsWindow';
}

/** Looks at everything that a task needs. Never rejects: what cannot be looked at is a finding. */
export async function examine(options: DoctorOptions): Promise<readonly Finding[]> {
  const codex = await examined('Codex', () => findBinary(options));
  const parts = [
    codex.finding,
    ...(codex.path === undefined ? [] : await examineCodex(codex.path)),
    await guarded('Store', () => examineStore(options)),
    await guarded('Processes', () => examineProcesses(options)),
    { part: 'Policy', state: 'ok', text: options.policy } as const,
    await examineEndpoint(options.endpoint),
    ...(options.more ?? []),
  ];
  return parts;
}

async function examineEndpoint(endpoint: ServerDefinition | string): Promise<Finding> {
  return typeof endpoint === 'string' ? { part: 'MCP', state: 'ok', text: endpoint } : probeDoor(endpoint);
}

/** A line a finding, for people. */
export function describeFindings(findings: readonly Finding[]): string {
  const marks = { ok: '✓', warning: '!', error: '✗' } as const;
  return findings
    .map(({ part, state, text, advice }) => {
      const more = advice === undefined ? '' : `\n             ${advice}`;
      return `${marks[state]} ${part.padEnd(10)} ${text}${more}\n`;
    })
    .join('');
}

interface FoundCodex {
  readonly finding: Finding;
  readonly path?: string;
}

async function findBinary({ codexPath, extensionDir }: DoctorOptions): Promise<FoundCodex> {
  const { path, version, source } = await findCodex(thisMachine(codexPath, extensionDir));
  return { path, finding: { part: 'Codex', state: 'ok', text: `${version} at ${path} (${source})` } };
}

async function examined(part: string, work: () => Promise<FoundCodex>): Promise<FoundCodex> {
  try {
    return await work();
  } catch (error) {
    return { finding: troubleOf(part, error) };
  }
}

async function guarded(part: string, work: () => Promise<Finding>): Promise<Finding> {
  return work().catch((error: unknown) => troubleOf(part, error));
}

function troubleOf(part: string, error: unknown): Finding {
  const advice = error instanceof CallError ? { advice: error.hint } : {};
  return { part, state: 'error', text: messageOf(error), ...advice };
}

async function examineCodex(path: string): Promise<Finding[]> {
  const { exitCode, stdout, stderr } = await run(path, ['login', 'status'], { timeoutMs: 10_000 });
  const said = `${stdout}\n${stderr}`.trim().split('\n').at(-1) ?? '';
  const login: Finding =
    exitCode === 0
      ? { part: 'Login', state: 'ok', text: said }
      : {
          part: 'Login',
          state: 'warning',
          text: said === '' ? 'Codex is not logged in.' : said,
          advice:
            'Run "codex login" in a terminal, unless your Codex configuration names a provider that needs no login.',
        };
  const sandbox = await guarded('Sandbox', async () => {
    await probeSandbox(path, 'workspace-write', process.cwd(), {});
    return { part: 'Sandbox', state: 'ok', text: 'workspace-write starts' };
  });
  return [login, sandbox];
}

async function examineStore({ stateDir, repair }: DoctorOptions): Promise<Finding> {
  const part = 'Store';
  const there = await access(stateDir, constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  );
  if (!there) return { part, state: 'warning', text: `${stateDir} is not there yet, or cannot be written.` };
  const files = await TaskFiles.open(stateDir, () => undefined);
  const { tasks, damaged } = await files.load(false);
  const megabytes = ((await sizeOf(join(stateDir, 'tasks'))) / 1024 / 1024).toFixed(1);
  const text = `${tasks.length} tasks, ${megabytes} MB in ${stateDir}`;
  if (damaged.length === 0) return { part, state: 'ok', text };
  const lines = damaged.map(({ dir, reason }) => `${dir}: ${reason}`);
  const advice = `${lines.join('\n             ')}\n             ${repair ? 'They are left as they are: a later version may read them.' : 'Remove such a directory if you do not need it.'}`;
  return { part, state: 'warning', text: `${text}; ${damaged.length} cannot be read`, advice };
}

async function sizeOf(dir: string): Promise<number> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true }).catch(() => []);
  const sizes = entries
    .filter((entry) => entry.isFile())
    .map((entry) => stat(join(entry.parentPath, entry.name)).then(({ size }) => size));
  return (await Promise.allSettled(sizes)).reduce((sum, one) => sum + (one.status === 'fulfilled' ? one.value : 0), 0);
}

async function examineProcesses(options: DoctorOptions): Promise<Finding> {
  const { stateDir, ownsStore, repair } = options;
  const part = 'Processes';
  const registry = new ProcessRegistry(stateDir);
  const dirs = keeperDirs(stateDir);
  const alive = await registry.alive();
  const keepers = (await Promise.all(dirs.map(readRecord))).flatMap((record) => record ?? []);
  const running = `${alive.length} of tasks${alive.length > 0 ? `: ${alive.map(({ pid, command }) => `${pid} ${command.slice(0, 60)}`).join(', ')}` : ''}`;
  if (keepers.length > 0) {
    const named = keepers.map(
      ({ keeper, server }) => `keeper ${pidOf(keeper)}, codex app-server ${pidOf(server ?? '?')}`,
    );
    return { part, state: 'ok', text: `${named.join('; ')}, ${running}` };
  }
  const stale = (await Promise.all(dirs.map(readAnyRecord))).some((record) => record !== null);
  if (!stale && (alive.length === 0 || ownsStore)) return { part, state: 'ok', text: `no keeper, ${running}` };
  if (!repair) {
    const advice = 'What an earlier run left ends with the next start, or now with a repair.';
    return { part, state: 'warning', text: `left by a run that was killed: ${running}`, advice, repairable: true };
  }
  const lock = ownsStore ? null : await takeStoreLock(stateDir);
  if (!ownsStore && !lock) return { part, state: 'ok', text: `of a program that works in the store: ${running}` };
  if (!ownsStore) await registry.reap();
  for (const dir of dirs) await rm(recordPath(dir), { force: true });
  await lock?.release();
  return { part, state: 'ok', text: `no keeper, no process of a task`, advice: `Repaired: ended ${running}.` };
}

function pidOf(key: string): string {
  return key.split(':', 1)[0] ?? key;
}
