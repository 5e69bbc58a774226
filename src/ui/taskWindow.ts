import * as vscode from 'vscode';
import { userDataDir } from '../base/userDirs';
import { DisposableStore } from '../core/disposable';
import { tellListenerBugs } from '../core/emitter';
import { messageOf, stackOf } from '../core/errors';
import type { Log } from '../core/ports';
import { trustNotice } from '../core/trustNotice';
import { describeFindings, Worker, type WorkerOptions, writeLauncher } from '../worker';
import { Attention } from './attention';
import { CallApprovals } from './callApprovals';
import { CommandFront, type Handlers } from './commandFront';
import { commandHandlers } from './commands';
import { DecisionsView } from './decisionsView';
import { ViewId } from './ids';
import { examineAccess } from './mcpAccess';
import { McpEndpoint, serverName } from './mcpEndpoint';
import { TaskOutputs } from './outputs';
import { PolicyEditing } from './policyEditing';
import { Reports } from './reports';
import { RequestReview } from './requestReview';
import { codexPath, keepRunningMs, policyPath, settings } from './settings';
import { StatusBar } from './statusBar';
import { TaskTree } from './taskTree';

const besideNotice =
  'Another window works with the Codex tasks of this folder. This window keeps a list of its own, which the other one does not show.';
const demoNotice = 'Demo: the real Codex CLI, but a scripted model answers. Nothing leaves this machine.';
const toldKey = 'codexWorker.toldAboutTrust';

export interface TaskWindowOptions {
  readonly context: vscode.ExtensionContext;
  readonly channel: vscode.LogOutputChannel;
  /** The model behind Codex is the scripted one. */
  readonly demo: boolean;
}

/**
 * This window's part in everything, in two phases: commands and the definition of our MCP server are there at once, whatever
 * is wrong; the tasks and what shows them are attached behind, and can be tried again where that fails.
 */
export class TaskWindow implements vscode.Disposable {
  private readonly owned = new DisposableStore();
  private readonly options: TaskWindowOptions;
  private readonly log: Log;
  private readonly endpoint: McpEndpoint;
  private readonly reports = this.owned.add(new Reports());
  private readonly front: CommandFront;
  private worker: Worker | null = null;
  /** What shows the tasks, or says in their place that there are none. */
  private shown = new DisposableStore();
  private starting: Promise<void> | null = null;

  constructor(options: TaskWindowOptions) {
    const { channel, context } = options;
    this.options = options;
    this.log = (level, message) => channel[level](message);
    tellListenerBugs((error) => this.log('error', stackOf(error)));
    // At once, so that an agent which asks early waits for the window and not in vain.
    this.endpoint = new McpEndpoint(context, this.log);
    this.front = this.owned.add(
      new CommandFront({ log: channel, start: () => this.start(), examine: (failure) => this.examine(failure) }),
    );
    const reconsider = (): void => void this.reconsider();
    this.owned.add(vscode.workspace.onDidChangeConfiguration(reconsider));
    this.owned.add(vscode.workspace.onDidChangeWorkspaceFolders(reconsider));
    this.owned.add(vscode.workspace.onDidGrantWorkspaceTrust(reconsider));
  }

  /** Attaches the tasks. Never rejects: what fails is told, with a button to try again. */
  start(): Promise<void> {
    this.starting ??= this.startNow().finally(() => (this.starting = null));
    return this.starting;
  }

  /** Leaves the tasks to the next window, or its keeper. */
  async stop(): Promise<void> {
    await this.endpoint.close();
    await this.worker?.suspend();
  }

  dispose(): void {
    this.shown.dispose();
    this.owned.dispose();
  }

  private async startNow(): Promise<void> {
    this.front.starts();
    this.shown.dispose();
    this.shown = new DisposableStore();
    try {
      this.worker = await Worker.create(this.workerOptions());
      this.front.attach(await this.attach(this.worker, this.shown));
    } catch (error) {
      this.log('error', stackOf(error));
      this.shown.dispose();
      this.shown = new DisposableStore();
      for (const view of Object.values(ViewId)) this.shown.add(showNothing(view));
      await this.endpoint.leave();
      await this.worker?.suspend().catch((reason: unknown) => this.log('error', messageOf(reason)));
      this.worker = null;
      this.front.fail(error);
    }
  }

  private async attach(worker: Worker, shown: DisposableStore): Promise<Handlers> {
    const { endpoint, log, reports } = this;
    const { context, demo, channel } = this.options;
    if (worker.beside > 0) void vscode.window.showInformationMessage(besideNotice);
    worker
      .restore()
      .catch((error: unknown) => log('error', `The tasks could not be brought back: ${messageOf(error)}`));
    await endpoint.open(worker).catch((error: unknown) => this.tellNobodyComesIn(error));
    const launcher = writeLauncher({
      storage: context.globalStorageUri.fsPath,
      node: process.execPath,
      program: context.asAbsolutePath('dist/stdio.js'),
      dataDir: userDataDir(),
    });
    launcher.catch((error: unknown) => log('error', `The launcher for other clients is missing: ${messageOf(error)}`));
    const outputs = shown.add(new TaskOutputs(worker.tasks));
    const tree = shown.add(new TaskTree(worker.tasks, demo ? demoNotice : ''));
    const review = shown.add(new RequestReview(worker.tasks));
    const attention = shown.add(new Attention(worker.tasks, tree));
    shown.add(new StatusBar(worker, endpoint, demo ? 'Codex (demo)' : 'Codex'));
    const callApprovals = shown.add(new CallApprovals(worker.policies));
    shown.add(new DecisionsView(worker.policies));
    const policyEditing = shown.add(new PolicyEditing(worker.policies));
    return commandHandlers({
      ...{ worker, outputs, reports, endpoint, review, callApprovals, attention, policyEditing, log: channel },
      launcher: () => launcher,
      extensionId: context.extension.id,
    });
  }

  private workerOptions(): WorkerOptions {
    const { context } = this.options;
    return {
      dataDir: userDataDir(),
      stateDir: (context.storageUri ?? context.globalStorageUri).fsPath,
      settings,
      log: this.log,
      codexPath,
      policyPath,
      extensionDir: () => vscode.extensions.getExtension('openai.chatgpt')?.extensionPath ?? null,
      keeper: { program: context.asAbsolutePath('dist/keeper.js'), keepMs: keepRunningMs },
      onFirstWritableTask: (cwd) => this.tellAboutTrust(cwd),
    };
  }

  private async examine(failure: string): Promise<void> {
    const findings = await Worker.examineWithout(this.workerOptions(), {
      repair: false,
      endpoint: 'no agent can come in before the window has started',
      policy: 'not read before the window has started',
      more: [{ part: 'Start', state: 'error', text: failure }, ...examineAccess(serverName, this.options.context.extension.id)],
    });
    this.reports.show('Doctor', describeFindings(findings));
  } // prettier-ignore

  private async reconsider(): Promise<void> {
    await this.worker?.reconsider().catch((error: unknown) => this.log('error', messageOf(error)));
  }

  /** The tasks of this window work all the same. */
  private tellNobodyComesIn(error: unknown): void {
    this.log('error', `No agent can come into this window: ${messageOf(error)}`);
    void vscode.window.showWarningMessage(`Codex Worker: No agent can come into this window. ${messageOf(error)}`);
  }

  /** Once per person: what Codex does to its own configuration. */
  private tellAboutTrust(cwd: string): void {
    const { globalState } = this.options.context;
    if (globalState.get(toldKey) === true) return;
    void globalState.update(toldKey, true);
    void vscode.window.showInformationMessage(trustNotice(cwd));
  }
}

/** An empty view, whose welcome says what is wrong. */
function showNothing(view: string): vscode.Disposable {
  return vscode.window.registerTreeDataProvider<never>(view, { getChildren: () => [], getTreeItem: (node) => node });
}
