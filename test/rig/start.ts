import { execa } from 'execa';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { parseArgs } from 'node:util';
import { findCodex, thisMachine } from '../../src/codex/findCodex';
import { messageOf } from '../../src/core/errors';
import { type Demo, startDemo } from './demo';
import { startEditor } from './editor';

/** `npm start`: builds the extension and opens it in a real VS Code, with the demo when Codex cannot be used. */

const root = join(import.meta.dirname, '../..');
const say = (text: string): void => void process.stdout.write(`${text}\n`);

const { values: flags } = parseArgs({
  options: {
    demo: { type: 'boolean' },
    open: { type: 'boolean' },
    folder: { type: 'string' },
    server: { type: 'boolean' },
  },
});

interface Scene {
  readonly workspace: string;
  readonly env: Readonly<Record<string, string>>;
  readonly settings: Readonly<Record<string, unknown>>;
  stop(): Promise<void>;
}

/** Why the person's own Codex cannot be used; null when it can. */
async function codexTrouble(): Promise<string | null> {
  try {
    const { path } = await findCodex(thisMachine(null, null));
    const { exitCode } = await execa(path, ['login', 'status'], { reject: false, timeout: 10_000, stdin: 'ignore' });
    return exitCode === 0 ? null : 'Codex is not logged in ("codex login" does it).';
  } catch (error) {
    return messageOf(error);
  }
}

async function wantsDemo(): Promise<boolean> {
  if (flags.demo) return true;
  const trouble = await codexTrouble();
  if (trouble === null) return false;
  say(trouble);
  if (!process.stdin.isTTY) {
    say('Opening the demo instead: the real Codex CLI with a scripted model, without an account.');
    return true;
  }
  const lines = createInterface({ input: process.stdin, output: process.stdout });
  const answer = await lines.question('Open the demo instead (the real Codex CLI with a scripted model)? [Y/n] ');
  lines.close();
  return !/^n/i.test(answer.trim());
}

function demoScene(demo: Demo): Scene {
  return {
    workspace: flags.folder === undefined ? demo.workspace : resolve(flags.folder),
    env: demo.env,
    // Without its model nothing of the demo can go on for long.
    settings: { 'codexWorker.codexPath': demo.codexPath, 'codexWorker.keepRunning': 1 },
    stop: () => demo.stop(),
  };
}

async function openDesktop(scene: Scene, isDemo: boolean): Promise<void> {
  const args = [`--extensionDevelopmentPath=${root}`, '--new-window', '--wait', scene.workspace];
  // The demo runs beside the person's own editor: an instance that runs already would not get its environment.
  const data = isDemo ? await mkdtemp(join(tmpdir(), 'codex-worker-profile-')) : null;
  if (data !== null) {
    await mkdir(join(data, 'User'), { recursive: true });
    await writeFile(join(data, 'User', 'settings.json'), JSON.stringify(scene.settings));
    args.push(`--user-data-dir=${data}`);
  }
  say('Opening VS Code …');
  await execa('code', args, { env: scene.env, stdio: 'inherit', reject: false });
  if (data !== null) await rm(data, { recursive: true, force: true });
}

async function openServer(scene: Scene): Promise<void> {
  const editor = await startEditor({
    ...scene,
    token: randomUUID(),
    log: (line) => (line.startsWith('Install') ? say(line) : undefined),
  });
  say(`\n  VS Code with Codex Worker: ${editor.folderUrl}\n\n  Ctrl-C stops it.`);
  if (flags.open) {
    const opener = { darwin: 'open', win32: 'explorer' }[process.platform as string] ?? 'xdg-open';
    await execa(opener, [editor.folderUrl], { reject: false });
  }
  await new Promise<void>((done) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => done());
  });
  await editor.stop();
}

await execa(process.execPath, [join(root, 'esbuild.mjs')], { cwd: root, stdio: 'inherit' });
const isDemo = await wantsDemo();
const scene = isDemo
  ? demoScene(await startDemo())
  : { workspace: resolve(flags.folder ?? root), env: {}, settings: {}, stop: () => Promise.resolve() };
if (isDemo)
  say('DEMO: a scripted model answers. Try "Codex Worker: New Task" with "Fix the failing test" or "Count slowly".');
const desktop = !flags.server && (await execa('code', ['--version'], { reject: false })).exitCode === 0;
try {
  await (desktop ? openDesktop(scene, isDemo) : openServer(scene));
} finally {
  await scene.stop();
}
