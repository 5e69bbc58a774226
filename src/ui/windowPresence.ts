import { hostname } from 'node:os';
import * as vscode from 'vscode';
import { startOf } from '../base/processStart';
import { DisposableStore } from '../core/disposable';
import { messageOf } from '../core/errors';
import type { Log } from '../core/ports';
import { version } from '../version';
import { listWindows, removeWindow, type WindowRecord, writeWindow } from '../pipe/windows';
import type { WindowDoor } from '../worker';
import { settings } from './settings';

export interface PresenceOptions {
  readonly dataDir: string;
  readonly id: string;
  readonly door: Pick<WindowDoor, 'address' | 'token'>;
  readonly log: Log;
}

/** Keeps the file up to date by which other programs find this window. */
export class WindowPresence implements vscode.Disposable {
  private readonly owned = new DisposableStore();
  private latest: WindowRecord | null = null;
  private writing: Promise<unknown> = Promise.resolve();
  private withdrawn = false;
  private readonly opened = Date.now();
  private readonly options: PresenceOptions;

  constructor(options: PresenceOptions) {
    this.options = options;
    this.owned.add(vscode.workspace.onDidChangeWorkspaceFolders(() => void this.announce()));
    this.owned.add(vscode.workspace.onDidGrantWorkspaceTrust(() => void this.announce()));
  }

  /** Writes the file as the window is now, and removes those of windows that were killed. Never rejects. */
  announce(): Promise<unknown> {
    this.writing = this.writing
      .then(() => this.write())
      .catch((error: unknown) => {
        this.options.log('error', `Other programs cannot find this window: ${messageOf(error)}`);
      });
    return this.writing;
  }

  async withdraw(): Promise<void> {
    this.withdrawn = true;
    this.owned.dispose();
    await this.writing;
    if (this.latest) await removeWindow(this.options.dataDir, this.latest).catch(() => undefined);
  }

  dispose(): void {
    this.owned.dispose();
  }

  private async write(): Promise<void> {
    if (this.withdrawn) return;
    const { dataDir, id, door } = this.options;
    this.latest = {
      version: 1,
      id,
      pid: process.pid,
      started: await startOf(process.pid),
      folders: [...settings.roots()],
      address: door.address,
      token: door.token,
      worker: { version, trusted: settings.trusted(), host: hostname(), opened: this.opened },
    };
    await writeWindow(dataDir, this.latest);
    await listWindows(dataDir);
  }
}
