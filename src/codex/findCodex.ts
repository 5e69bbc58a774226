import { access, constants, realpath, stat } from 'node:fs/promises';
import { posix, win32 } from 'node:path';
import { CallError } from '../core/errors';
import { run } from '../process/childProcess';

/** The oldest Codex that this was tested with; older ones lack the calls that a true cancel needs. */
export const minimumVersion = '0.169.0';

export interface CodexBinary {
  readonly path: string;
  readonly version: string;
  /** Where it was found, for people. */
  readonly source: string;
}

/** Where to look, and on which kind of machine; tests pass another one. */
export interface SearchPlace {
  readonly platform: NodeJS.Platform;
  readonly arch: string;
  /** The person's own choice; when it is set nothing else is tried. */
  readonly configured: string | null;
  /** The value of PATH. */
  readonly searchPath: string;
  /** Directory of the installed OpenAI extension, if there is one. */
  readonly extensionDir: string | null;
  /** Whether a file may be run. */
  isExecutable(path: string): Promise<boolean>;
  realpath(path: string): Promise<string>;
}

export function thisMachine(configured: string | null, extensionDir: string | null): SearchPlace {
  const { platform, arch, env } = process;
  const searchPath = env.PATH ?? env.Path ?? '';
  return { platform, arch, configured, searchPath, extensionDir, isExecutable, realpath };
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}

/** Finds Codex's own program and checks its version. Throws `codex_not_found` or `codex_too_old`. */
export async function findCodex(place: SearchPlace): Promise<CodexBinary> {
  const found = await locate(place);
  const { stdout, stderr, exitCode } = await run(found.path, ['--version'], { timeoutMs: 10_000 });
  const version = /(?<!\d)\d+\.\d+\.\d+\S*/.exec(stdout)?.[0];
  if (exitCode !== 0 || version === undefined) {
    throw new CallError('codex_not_found', `"${found.path}" is not a Codex CLI that runs here: ${firstWords(stderr)}`, {
      hint: howToInstall,
    });
  }
  if (isOlder(version, minimumVersion)) {
    throw new CallError('codex_too_old', `Codex ${version} at "${found.path}" is too old.`, {
      hint: `Update it to ${minimumVersion} or later: npm install -g @openai/codex.`,
    });
  }
  return { ...found, version };
}

const howToInstall =
  'Install it with "npm install -g @openai/codex", or set "codexWorker.codexPath" (--codex-path for the program) to its file.';

async function locate(place: SearchPlace): Promise<{ path: string; source: string }> {
  if (place.configured !== null) {
    const path = await runnable(place, place.configured);
    if (path !== null) return { path, source: 'the setting codexWorker.codexPath or --codex-path' };
    const exists = await place.isExecutable(place.configured);
    const message = exists
      ? `"${place.configured}" starts Codex's npm package, whose program for this machine is missing.`
      : `There is no program at "${place.configured}".`;
    throw new CallError('codex_not_found', message, { hint: howToInstall });
  }
  const path = paths(place);
  const names = place.platform === 'win32' ? ['codex.exe', 'codex.cmd'] : ['codex'];
  for (const dir of place.searchPath.split(path.delimiter).filter((part) => part !== '')) {
    for (const name of names) {
      const program = await runnable(place, path.join(dir, name));
      if (program !== null) return { path: program, source: 'PATH' };
    }
  }
  for (const program of extensionCandidates(place)) {
    if (await place.isExecutable(program)) return { path: program, source: 'the OpenAI extension' };
  }
  throw new CallError('codex_not_found', 'The Codex CLI is not installed.', { hint: howToInstall });
}

/**
 * The program to start for a file that a person or PATH names. npm's launcher is replaced by the native program behind
 * it: killing the launcher would leave that one alive, and Node starts no `.cmd` without a shell.
 */
async function runnable(place: SearchPlace, file: string): Promise<string | null> {
  const path = paths(place);
  if (!(await place.isExecutable(file))) return null;
  const real = await place.realpath(file).catch(() => file);
  if (/[\\/]codex\.js$/.test(real)) return nativeOf(place, path.dirname(path.dirname(real)));
  if (/\.cmd$/i.test(file)) return nativeOf(place, path.join(path.dirname(file), 'node_modules', '@openai', 'codex'));
  return file;
}

/** The native program of an installed npm package `@openai/codex`, or null. */
async function nativeOf(place: SearchPlace, packageDir: string): Promise<string | null> {
  const path = paths(place);
  const platformPackage = `codex-${place.platform}-${place.arch}`;
  const homes = [
    path.join(packageDir, 'node_modules', '@openai', platformPackage),
    path.join(path.dirname(packageDir), platformPackage),
    packageDir,
  ];
  for (const home of homes) {
    const program = path.join(home, 'vendor', targetTriple(place), 'bin', programName(place));
    if (await place.isExecutable(program)) return program;
  }
  return null;
}

function extensionCandidates(place: SearchPlace): string[] {
  const { extensionDir } = place;
  if (extensionDir === null) return [];
  const path = paths(place);
  const system = { darwin: 'macos', win32: 'windows' }[place.platform as string] ?? place.platform;
  const cpu = place.arch === 'arm64' ? 'aarch64' : 'x86_64';
  return [`${system}-${cpu}`, targetTriple(place)].map((dir) =>
    path.join(extensionDir, 'bin', dir, programName(place)),
  );
}

function targetTriple({ platform, arch }: SearchPlace): string {
  const cpu = arch === 'arm64' ? 'aarch64' : 'x86_64';
  if (platform === 'darwin') return `${cpu}-apple-darwin`;
  return platform === 'win32' ? `${cpu}-pc-windows-msvc` : `${cpu}-unknown-linux-musl`;
}

function programName({ platform }: SearchPlace): string {
  return platform === 'win32' ? 'codex.exe' : 'codex';
}

function paths({ platform }: SearchPlace): typeof posix {
  return platform === 'win32' ? win32 : posix;
}

/** Compares the numbers of two versions; a suffix such as `-alpha.1` does not count. */
export function isOlder(version: string, minimum: string): boolean {
  const [a, b] = [version, minimum].map((text) => (text.split('-', 1)[0] ?? '').split('.').map(Number));
  for (let index = 0; index < 3; index++) {
    const difference = (a?.[index] ?? 0) - (b?.[index] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}

function firstWords(text: string): string {
  const last = text.trim().split('\n').at(-1) ?? '';
  return last === '' ? 'it did not say why.' : last.slice(0, 300);
}
