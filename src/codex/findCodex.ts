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

/**
 * Finds Codex's own program and checks its version; one that does not run, or is too old, is passed over for a good one that
 * comes after it. Throws `codex_not_found` or `codex_too_old`, which is about the first that was found.
 */
export async function findCodex(place: SearchPlace): Promise<CodexBinary> {
  let first: CallError | undefined;
  for await (const found of candidates(place)) {
    const result = found instanceof CallError ? found : await examined(found);
    if (!(result instanceof CallError)) return result;
    first ??= result;
  }
  throw first ?? new CallError('codex_not_found', 'The Codex CLI is not installed.', { hint: howToInstall });
}

async function examined(found: Candidate): Promise<CodexBinary | CallError> {
  const { stdout, stderr, exitCode } = await run(found.path, ['--version'], { timeoutMs: 10_000 });
  const version = /(?<!\d)\d+\.\d+\.\d+\S*/.exec(stdout)?.[0];
  if (exitCode !== 0 || version === undefined) {
    if (stderr.includes('Missing optional dependency')) return incomplete(found.path);
    const message = `"${found.path}" is not a Codex CLI that runs here: ${tellingLine(stderr)}`;
    return new CallError('codex_not_found', message, { hint: howToInstall });
  }
  if (!isOlder(version, minimumVersion)) return { ...found, version };
  return new CallError('codex_too_old', `Codex ${version} at "${found.path}" is too old.`, {
    hint: `Update it to ${minimumVersion} or later: npm install -g @openai/codex.`,
  });
}

const howToInstall =
  'Install it with "npm install -g @openai/codex", or set "codexWorker.codexPath" (--codex-path for the program) to its file.';

type Candidate = Pick<CodexBinary, 'path' | 'source'>;

/** npm leaves optional packages out when it is told so, or when they could not be fetched. */
function incomplete(file: string): CallError {
  const { platform, arch } = process;
  return new CallError(
    'codex_not_found',
    `"${file}" starts Codex's npm package, whose program for this machine is missing.`,
    {
      hint: `npm left out the package "@openai/codex-${platform}-${arch}": run "npm install -g @openai/codex --include=optional".`,
    },
  );
}

/** Programs in the order in which they count; an error stands for a launcher whose program is missing. */
async function* candidates(place: SearchPlace): AsyncGenerator<Candidate | CallError> {
  if (place.configured !== null) {
    const path = await runnable(place, place.configured);
    if (path !== null) yield { path, source: 'the setting codexWorker.codexPath or --codex-path' };
    else if (await place.isExecutable(place.configured)) yield incomplete(place.configured);
    else {
      const message = `There is no program at "${place.configured}".`;
      yield new CallError('codex_not_found', message, { hint: howToInstall });
    }
    return;
  }
  const path = paths(place);
  const names = place.platform === 'win32' ? ['codex.exe', 'codex.cmd'] : ['codex'];
  for (const dir of place.searchPath.split(path.delimiter).filter((part) => part !== '')) {
    for (const file of names.map((name) => path.join(dir, name))) {
      const program = await runnable(place, file);
      if (program !== null) yield { path: program, source: 'PATH' };
      else if (await place.isExecutable(file)) yield incomplete(file);
    }
  }
  for (const program of extensionCandidates(place)) {
    if (await place.isExecutable(program)) yield { path: program, source: 'the OpenAI extension' };
  }
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

/** The line of an error's output that says most: Node puts its version last. */
function tellingLine(text: string): string {
  const lines = text.trim().split('\n');
  const line = lines.find((one) => /error/i.test(one)) ?? lines.at(-1) ?? '';
  return line === '' ? 'it did not say why.' : line.trim().slice(0, 300);
}
