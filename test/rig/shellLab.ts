import { execa } from 'execa';
import { existsSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findCodex, thisMachine } from '../../src/codex/findCodex';
import { launcherPath } from './codexRig';
import { plainTexts, tricks } from './shellTricks';

/** What one shell did with one text. */
export interface Ran {
  readonly shell: string;
  /** Each program that ran, with its directory, name and arguments. */
  readonly programs: readonly { readonly cwd: string; readonly argv: readonly string[] }[];
  /** What the shell said of programs that it looked for and did not find. */
  readonly missing: readonly string[];
  /** Whether a file was made, changed or removed. */
  readonly wrote: boolean;
  /** Why it could not be run to its end. */
  readonly trouble: string | null;
}

/** How each shell is called; the text comes last. */
const calls: Readonly<Record<string, readonly string[]>> = {
  bash: ['-lc'],
  dash: ['-c'],
  zsh: ['-lc'],
  busybox: ['sh', '-c'],
};

/** Where texts run. */
export const labDirectory = '/place/home';

/**
 * A place in which a text can do no harm: no network, nothing writable but a few files that are looked at, and for programs
 * only stubs that tell how they were called.
 */
export class ShellLab {
  readonly shells: readonly string[];
  /** By name. */
  readonly absent: readonly string[];
  private readonly dir: string;
  private readonly bwrap: string;
  private readonly paths: ReadonlyMap<string, string>;

  private constructor(dir: string, bwrap: string, paths: ReadonlyMap<string, string>) {
    this.dir = dir;
    this.bwrap = bwrap;
    this.paths = paths;
    this.shells = [...paths.keys()];
    this.absent = Object.keys(calls).filter((name) => !paths.has(name));
  }

  /** Null where programs cannot be confined: without bubblewrap, or without leave to make namespaces. */
  static async open(): Promise<ShellLab | null> {
    const bwrap = await findBwrap();
    const probe = ['--unshare-all', '--ro-bind', '/', '/', '/bin/true'];
    const { exitCode } = await execa(bwrap, probe, { reject: false });
    if (exitCode !== 0) return null;
    const paths = new Map<string, string>();
    for (const name of Object.keys(calls)) {
      const path = ['/usr/bin', '/bin', '/usr/local/bin'].map((dir) => join(dir, name)).find((one) => existsSync(one));
      if (path !== undefined) paths.set(name, realpathSync(path));
    }
    const dir = await mkdtemp(join(tmpdir(), 'codex-worker-shells-'));
    const lab = new ShellLab(dir, bwrap, paths);
    await mkdir(join(dir, 'lab'));
    await mkdir(join(dir, 'stubs'));
    const words = [...tricks, ...plainTexts].flatMap((text) => text.match(/[A-Za-z][\w.-]*/g) ?? []);
    await Promise.all([...new Set([...words, 'evil', 'touch'])].map((name) => lab.addStub(name)));
    return lab;
  }

  private async addStub(name: string): Promise<void> {
    const path = join(this.dir, 'stubs', name);
    const text = `#!/shells/${this.paths.has('dash') ? 'dash' : 'bash'}\nprintf '%s\\037' "$(pwd -P)" "$0" "$@" '\u001e' >>/lab/trace\n`;
    await writeFile(path, text);
    await chmod(path, 0o755);
  }

  /** What each shell did, by the text. Rejects when the sandbox or its driver fails. */
  async run(texts: readonly string[]): Promise<readonly (readonly Ran[])[]> {
    const shells = this.shells.map((name) => [name, `/shells/${name}`, ...(calls[name] ?? [])]);
    writeFileSync(join(this.dir, 'lab', 'in.json'), JSON.stringify({ texts, shells }));
    const libraries = ['/lib', '/lib64', '/usr/lib', '/usr/lib64'].filter((path) => existsSync(path));
    const args = [
      ...['--unshare-all', '--die-with-parent', '--new-session', '--clearenv'],
      ...libraries.flatMap((path) => ['--ro-bind', path, path]),
      ...[...this.paths].flatMap(([name, path]) => ['--ro-bind', path, `/shells/${name}`]),
      ...['--ro-bind', process.execPath, '/lab-bin/node'],
      ...['--ro-bind', join(import.meta.dirname, 'shellDriver.mjs'), '/lab-bin/driver.mjs'],
      ...['--ro-bind', join(this.dir, 'stubs'), '/stubs', '--bind', join(this.dir, 'lab'), '/lab'],
      ...['--tmpfs', '/place', '--dev', '/dev', '--proc', '/proc', '--remount-ro', '/'],
      ...['/lab-bin/node', '/lab-bin/driver.mjs'],
    ];
    await execa(this.bwrap, args, { timeout: 300_000, stdin: 'ignore' });
    const out = JSON.parse(readFileSync(join(this.dir, 'lab', 'out.json'), 'utf8')) as Raw[][];
    return out.map((row) => row.map(ranOf));
  }

  close(): Promise<void> {
    return rm(this.dir, { recursive: true, force: true });
  }
}

/** The bubblewrap that comes with Codex, else the system's. */
async function findBwrap(): Promise<string> {
  const { path } = await findCodex(thisMachine(launcherPath, null));
  const own = join(path, '../../codex-resources/bwrap');
  return existsSync(own) ? own : 'bwrap';
}

interface Raw {
  readonly shell: string;
  readonly trace: string;
  readonly stderr: string;
  readonly isChanged: boolean;
  readonly trouble: string | null;
}

function ranOf({ shell, trace, stderr, isChanged, trouble }: Raw): Ran {
  const programs = trace
    .split('\u001e\u001f')
    .filter((one) => one !== '')
    .map((one) => {
      const [cwd = '', path = '', ...args] = one.split('\u001f').slice(0, -1);
      return { cwd, argv: [path.replace('/stubs/', ''), ...args] };
    });
  const missing = stderr.split('\n').filter((line) => line.includes('not found'));
  return { shell, programs, missing, wrote: isChanged, trouble };
}
