import { lstat, rmdir } from 'node:fs/promises';
import { join } from 'node:path';

/** What Codex's sandbox makes read-only in the directory of a task; it makes those that are missing (0.169.0, on Linux). */
const names = ['.agents', '.aws', '.codex', '.git'];

interface Used {
  readonly threads: Set<string>;
  /** Those that were missing when the first of the threads began. */
  readonly missing: Promise<readonly string[]>;
}

/**
 * Codex's sandbox makes empty directories to mount on, and a command that is killed leaves them. The last thread that works in
 * a directory takes away what was not there when the first one began, as far as it is empty.
 */
export class MountPoints {
  private readonly used = new Map<string, Used>();

  /** A thread is about to work in a directory. */
  async begin(cwd: string, threadId: string): Promise<void> {
    const used = this.used.get(cwd) ?? { threads: new Set(), missing: missingIn(cwd) };
    this.used.set(cwd, used);
    used.threads.add(threadId);
    await used.missing;
  }

  /** Nothing of the thread is at work any more. */
  async end(cwd: string, threadId: string): Promise<void> {
    const used = this.used.get(cwd);
    if (!used?.threads.delete(threadId) || used.threads.size > 0) return;
    this.used.delete(cwd);
    // What is not empty is somebody's.
    await Promise.all((await used.missing).map((name) => rmdir(join(cwd, name)).catch(() => undefined)));
  }
}

async function missingIn(cwd: string): Promise<readonly string[]> {
  const looked = await Promise.all(
    names.map((name) =>
      lstat(join(cwd, name)).then(
        () => [],
        (error: unknown) => ((error as NodeJS.ErrnoException).code === 'ENOENT' ? [name] : []),
      ),
    ),
  );
  return looked.flat();
}
