import { execa } from 'execa';
import type { Readable, Writable } from 'node:stream';
import { stopProcess } from './stopping';
import { killTree } from './killTree';

export interface ChildOptions {
  readonly file: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
}

export interface ExitInfo {
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** The reason why the program could not be started, such as `ENOENT`; null when it ran. */
  readonly startError: string | null;
}

/** A running child process with three pipes. Its owner must read both outputs, and stop it. */
export interface ChildProcess {
  readonly pid: number | undefined;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Resolves when the process is gone; never rejects. */
  readonly exited: Promise<ExitInfo>;
  /** End of input, then SIGTERM, then SIGKILL, each after a grace period; its whole tree goes with it. */
  stop(): Promise<void>;
  /** Kills the process and its tree at once. */
  kill(): Promise<void>;
}

/** Time for the last output of a process that is gone, in ms. */
const releaseAfterMs = 500;

/** Starts a program. A missing program does not throw: `exited` tells. */
export function startChild(options: ChildOptions): ChildProcess {
  const child = execa(options.file, [...options.args], {
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'pipe',
    buffer: false,
    reject: false,
    // Its tree is ended by us; execa's own clean-up covers our exit.
    cleanup: true,
    windowsHide: true,
    ...(options.env ? { env: options.env } : {}),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const { pid } = child;
  // A write after the process died is told by `exited`, not by an unhandled stream error.
  child.stdin.on('error', () => undefined);
  const exited = new Promise<ExitInfo>((resolve) => {
    // Not execa's own end, which waits until nobody holds the pipes any more.
    child.once('exit', (exitCode, signal) => resolve({ exitCode, signal, startError: null }));
    void child.then((result) => resolve({ exitCode: null, signal: null, startError: result.code ?? 'unknown' }));
  });
  void exited.then(() => setTimeout(() => release(child), releaseAfterMs).unref());
  const kill = async (): Promise<void> => {
    if (pid !== undefined) await killTree(pid);
    await exited;
  };
  return {
    pid,
    stdin: child.stdin,
    stdout: child.stdout,
    stderr: child.stderr,
    exited,
    kill,
    stop: () =>
      stopProcess({
        closeInput: () => child.stdin.end(),
        terminate: () => child.kill('SIGTERM'),
        killTree: kill,
        exited,
      }),
  };
}

/** Closes the pipes of a process that is gone, which something that it left may hold. */
function release(child: { readonly stdin: Writable; readonly stdout: Readable; readonly stderr: Readable }): void {
  for (const stream of [child.stdin, child.stdout, child.stderr]) stream.destroy();
}

export interface RunResult {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end and gives its output; a program that cannot run or takes too long has exit code null. */
export async function run(
  file: string,
  args: readonly string[],
  options: { timeoutMs: number; env?: Readonly<Record<string, string | undefined>>; cwd?: string },
): Promise<RunResult> {
  const result = await execa(file, [...args], {
    timeout: options.timeoutMs,
    forceKillAfterDelay: 500,
    maxBuffer: 1_000_000,
    stdin: 'ignore',
    reject: false,
    windowsHide: true,
    ...(options.env ? { env: options.env } : {}),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  return { exitCode: result.exitCode ?? null, stdout: result.stdout, stderr: result.stderr };
}
