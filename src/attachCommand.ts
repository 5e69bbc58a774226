import { realpath } from 'node:fs/promises';
import { resolve } from 'node:path';
import { userDataDir } from './base/userDirs';
import { pipeInto } from './pipe/attachedPipe';
import type { StdioClient } from './pipe/stdioClient';
import {
  isWindowId,
  listWindows,
  type UnreadableWindow,
  windowOf,
  type WindowRecord,
  windowsDir,
} from './pipe/windows';

/** `mcp-codex-worker --attach`: joins the worker of a window of the editor. */

export interface AttachRequest {
  /** A directory or the id of a window; null for the current directory. */
  readonly window: string | null;
  readonly log: (message: string) => void;
}

/** The window that is meant, or what was looked for in vain. */
export async function findWindow(wanted: string | null): Promise<WindowRecord | { readonly looked: string }> {
  const dataDir = userDataDir();
  const { alive, unreadable } = await listWindows(dataDir);
  const looked = (what: string) => ({ looked: [what, ...describe(alive, unreadable, dataDir)].join('\n') });
  if (wanted !== null && isWindowId(wanted)) {
    return alive.find(({ id }) => id === wanted) ?? looked(`No window of the editor has the id ${wanted}.`);
  }
  const directory = resolve(wanted ?? process.cwd());
  const found = await windowOf(directory, alive, process.env.CODEX_WORKER_WINDOW);
  return found ?? looked(`No window of the editor has ${await nameOf(directory)} open.`);
}

/** Serves the client through a window until the client goes away. */
export async function serveAttached(
  client: StdioClient,
  { id }: WindowRecord,
  log: AttachRequest['log'],
  stopped: Promise<unknown>,
): Promise<void> {
  const session = process.env.COPILOT_AGENT_SESSION_ID;
  const hello = { entrance: 'attach' as const, ...(session === undefined ? {} : { session }) };
  await pipeInto({ dataDir: userDataDir(), window: id, client, hello, stopped, log });
}

async function nameOf(directory: string): Promise<string> {
  const real = await realpath(directory).catch(() => directory);
  return real === directory ? `"${directory}"` : `"${directory}", which is "${real}",`;
}

function describe(
  alive: readonly WindowRecord[],
  unreadable: readonly UnreadableWindow[],
  dataDir: string,
): readonly string[] {
  const open = alive.map(({ id, folders, worker }) => {
    const trust = worker.trusted ? '' : ' (not trusted: no task may run there)';
    return `  ${id}  ${folders.length === 0 ? 'no folder' : folders.join(', ')}${trust}`;
  });
  return [
    open.length === 0 ? 'No window with Codex Worker is open.' : `Windows with Codex Worker:\n${open.join('\n')}`,
    ...unreadable.map(({ id, why }) => `  ${id}  ${unreadableWhy[why]}`),
    `They are looked for in ${windowsDir(dataDir)}. Open the folder in the editor, or name one of them with --window.`,
  ];
}

const unreadableWhy: Readonly<Record<UnreadableWindow['why'], string>> = {
  private: 'was not read: its file is of another user, or others can read it',
  version: 'is of another version of Codex Worker: update both',
  damaged: 'was not read: its file is damaged',
};
