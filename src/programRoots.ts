import { realpath, stat } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

const rootLimit = 50;

/**
 * Where the tasks of a program may work that was started without `--root`: in its current directory, and where nobody can
 * have meant that, in the roots that its client names. Desktop clients start their servers in `/` or in the home directory.
 */
export class ProgramRoots {
  private readonly own: readonly string[];
  private named: readonly string[] = [];

  private constructor(own: readonly string[]) {
    this.own = own;
  }

  static async of(cwd: string): Promise<ProgramRoots> {
    return new ProgramRoots((await mayBeRoot(cwd)) ? [cwd] : []);
  }

  get current(): readonly string[] {
    return this.own.length > 0 ? this.own : this.named;
  }

  /** Whether the client has to be asked. */
  get areMissing(): boolean {
    return this.own.length === 0;
  }

  /** Takes what a client named; what is no directory of files, or as wide as what was refused, is left out. */
  async take(uris: readonly string[]): Promise<void> {
    const paths = uris.slice(0, rootLimit).flatMap(pathOf);
    const allowed = await Promise.all(paths.map(mayBeRoot));
    this.named = paths.filter((_, index) => allowed[index]);
  }
}

/** False for `/`, the home directory, a parent of it, and the temporary directory itself: a task could write anywhere. */
export async function mayBeRoot(path: string): Promise<boolean> {
  const real = await realpath(path).catch(() => null);
  if (real === null || !(await stat(real)).isDirectory()) return false;
  const [home, temporary] = await Promise.all([homedir(), tmpdir()].map((one) => realpath(one).catch(() => one)));
  return real !== temporary && !withParents(home ?? '').includes(real);
}

function withParents(path: string): readonly string[] {
  const parent = dirname(path);
  return parent === path ? [path] : [path, ...withParents(parent)];
}

function pathOf(uri: string): readonly string[] {
  try {
    return [fileURLToPath(uri)];
  } catch {
    return [];
  }
}
