import * as vscode from 'vscode';
import { ContextKey } from './ui/ids';
import { TaskWindow } from './ui/taskWindow';

/** Set by `npm start` when the model behind Codex is the scripted one. */
const demo = process.env.CODEX_WORKER_DEMO === '1';

let stop: (() => Promise<void>) | undefined;

/** Registers everything, and attaches the tasks. Codex itself starts with the first task. */
export async function activate(context: vscode.ExtensionContext): Promise<void> {
  const channel = vscode.window.createOutputChannel('Codex Worker', { log: true });
  const window = new TaskWindow({ context, channel, demo });
  context.subscriptions.push(channel, window);
  stop = () => window.stop();
  void vscode.commands.executeCommand('setContext', ContextKey.demo, demo);
  await window.start();
}

/** Leaves the tasks to the next window, or its keeper; the editor waits a few seconds for it. */
export async function deactivate(): Promise<void> {
  await stop?.();
}
