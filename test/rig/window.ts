import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { hostname } from 'node:os';
import { startOf } from '../../src/base/processStart';
import { removeWindow, type WindowRecord, writeWindow } from '../../src/pipe/windows';
import type { WindowDoor, Worker } from '../../src/worker';
import { bundled } from './bundled';
import type { CodexRig } from './codexRig';
import { connect, type ElicitHandler } from './mcpRig';

/** What a window of the editor shows to other programs, over a worker of this process. */
export interface TestWindow {
  readonly door: WindowDoor;
  readonly record: WindowRecord;
  /** In order, as when the window is closed or reloaded. */
  close(): Promise<void>;
}

export const windowId = '00000000000000aa';

export async function openWindow(
  worker: Worker,
  rig: CodexRig,
  changes: Partial<WindowRecord> = {},
): Promise<TestWindow> {
  const door = await worker.openDoor();
  const record: WindowRecord = {
    version: 1,
    id: windowId,
    pid: process.pid,
    started: await startOf(process.pid),
    folders: [rig.workspace],
    address: door.address,
    token: door.token,
    worker: about(true),
    ...changes,
  };
  await writeWindow(rig.dataDir, record);
  return {
    door,
    record,
    close: async () => {
      await removeWindow(rig.dataDir, record);
      await door.close();
    },
  };
}

/** What a window says of its worker. */
export function about(trusted: boolean): WindowRecord['worker'] {
  return { version: 'test', trusted, host: hostname(), opened: 1 };
}

export interface PipeOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly args?: readonly string[];
  readonly elicit?: ElicitHandler;
  readonly name?: string;
}

export interface Piped {
  readonly client: Client;
  readonly pid: number;
}

/** A client of the program that the editor's definition names, started as a harness does: with a cleared environment. */
export function connectPipe(rig: Pick<CodexRig, 'dataDir'>, options: PipeOptions = {}): Promise<Piped> {
  const env = { CODEX_WORKER_WINDOW: windowId, CODEX_WORKER_DATA: rig.dataDir, ELECTRON_RUN_AS_NODE: '1' };
  return start('attach', { ...options, env: { ...env, ...options.env } });
}

/** A client of `mcp-codex-worker --attach` in a directory. */
export function connectAttached(
  rig: Pick<CodexRig, 'dataDir' | 'workspace'>,
  options: PipeOptions = {},
): Promise<Piped> {
  const { args = [], cwd = rig.workspace } = options;
  const env = { CODEX_WORKER_DATA: rig.dataDir, PATH: process.env.PATH ?? '' };
  return start('stdio', { ...options, args: ['--attach', ...args], cwd, env: { ...env, ...options.env } });
}

async function start(program: 'attach' | 'stdio', options: PipeOptions): Promise<Piped> {
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [bundled(program), ...(options.args ?? [])],
    env: { ...options.env },
    stderr: 'ignore',
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const client = await connect(transport, options.elicit, options.name);
  return { client, pid: transport.pid ?? 0 };
}
