import * as vscode from 'vscode';
import { userDataDir } from './base/userDirs';
import { CallError, messageOf } from './core/errors';
import type { Log } from './core/ports';
import { trustNotice } from './core/trustNotice';
import { registerCommands } from './ui/commands';
import { ContextKey, SettingId } from './ui/ids';
import { Attention } from './ui/attention';
import { CallApprovals } from './ui/callApprovals';
import { DecisionsView } from './ui/decisionsView';
import { McpEndpoint } from './ui/mcpEndpoint';
import { TaskOutputs } from './ui/outputs';
import { PolicyEditing } from './ui/policyEditing';
import { RequestReview } from './ui/requestReview';
import { codexPath, keepRunningMs, policyPath, settings } from './ui/settings';
import { StatusBar } from './ui/statusBar';
import { TaskTree } from './ui/taskTree';
import { Worker, writeLauncher } from './worker';

/** Set by `npm start` when the model behind Codex is the scripted one. */
const demo = process.env.CODEX_WORKER_DEMO === '1';
const demoNotice = 'Demo: the real Codex CLI, but a scripted model answers. Nothing leaves this machine.';
const besideNotice =
  'Another window works with the Codex tasks of this folder. This window keeps a list of its own, which the other one does not show.';
const toldKey = 'codexWorker.toldAboutTrust';

let stop: (() => Promise<void>) | undefined;

/** Registers everything and opens the socket. Codex itself starts with the first task. */
export async function activate(context: vscode.ExtensionContext): Promise<void> {
  const own = <T extends vscode.Disposable>(item: T): T => {
    context.subscriptions.push(item);
    return item;
  };
  const channel = own(vscode.window.createOutputChannel('Codex Worker', { log: true }));
  const log: Log = (level, message) => channel[level](message);
  // At once, so that an agent which asks early waits for the window and not in vain.
  const endpoint = new McpEndpoint(context, log);
  try {
    const stateDir = (context.storageUri ?? context.globalStorageUri).fsPath;
    const worker = await Worker.create({
      dataDir: userDataDir(),
      stateDir,
      settings,
      log,
      codexPath,
      policyPath,
      extensionDir: () => vscode.extensions.getExtension('openai.chatgpt')?.extensionPath ?? null,
      keeper: { program: context.asAbsolutePath('dist/keeper.js'), keepMs: keepRunningMs },
      onFirstWritableTask: (cwd) => tellAboutTrust(context, cwd),
    });
    if (worker.stateDir !== stateDir) void vscode.window.showInformationMessage(besideNotice);
    worker
      .restore()
      .catch((error: unknown) => log('error', `The tasks could not be brought back: ${messageOf(error)}`));
    stop = async () => {
      await endpoint.close();
      await worker.suspend();
    };
    await endpoint.open(worker).catch((error: unknown) => tellNobodyComesIn(log, error));
    const launcher = writeLauncher({
      storage: context.globalStorageUri.fsPath,
      node: process.execPath,
      program: context.asAbsolutePath('dist/stdio.js'),
      dataDir: userDataDir(),
    });
    launcher.catch((error: unknown) => log('error', `The launcher for other clients is missing: ${messageOf(error)}`));
    void vscode.commands.executeCommand('setContext', ContextKey.demo, demo);
    own(
      vscode.workspace.onDidChangeConfiguration((event) => {
        if (event.affectsConfiguration(SettingId.maxConcurrentTasks)) worker.tasks.reconsider();
      }),
    );
    const outputs = own(new TaskOutputs(worker.tasks));
    const tree = own(new TaskTree(worker.tasks, demo ? demoNotice : ''));
    const review = own(new RequestReview(worker.tasks));
    own(new Attention(worker.tasks, tree));
    own(new StatusBar(worker, endpoint, demo ? 'Codex (demo)' : 'Codex'));
    const callApprovals = own(new CallApprovals(worker.policies));
    own(new DecisionsView(worker.policies));
    const policyEditing = own(new PolicyEditing(worker.policies));
    own(
      registerCommands({
        ...{ worker, outputs, endpoint, review, callApprovals, policyEditing, log },
        launcher: () => launcher,
        extensionId: context.extension.id,
      }),
    );
  } catch (error) {
    void endpoint.close();
    log('error', error instanceof Error ? (error.stack ?? error.message) : messageOf(error));
    const text = error instanceof CallError ? `${error.message} ${error.hint}` : messageOf(error);
    void vscode.window.showErrorMessage(`Codex Worker could not start: ${text}`);
  }
}

/** The tasks of this window work all the same. */
function tellNobodyComesIn(log: Log, error: unknown): void {
  log('error', `No agent can come into this window: ${messageOf(error)}`);
  void vscode.window.showWarningMessage(`Codex Worker: No agent can come into this window. ${messageOf(error)}`);
}

/** Leaves the tasks to the next window, or its keeper; the editor waits a few seconds for it. */
export async function deactivate(): Promise<void> {
  await stop?.();
}

/** Once per person: what Codex does to its own configuration. */
function tellAboutTrust(context: vscode.ExtensionContext, cwd: string): void {
  if (context.globalState.get(toldKey) === true) return;
  void context.globalState.update(toldKey, true);
  void vscode.window.showInformationMessage(trustNotice(cwd));
}
