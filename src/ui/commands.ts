import * as vscode from 'vscode';
import { type Disposable, DisposableStore } from '../core/disposable';
import { firstLine } from '../core/boundedText';
import { CallError, messageOf } from '../core/errors';
import { person } from '../core/caller';
import type { Log } from '../core/ports';
import type { TaskId } from '../core/taskId';
import type { TaskSnapshot } from '../core/taskSnapshot';
import { isTerminalStatus } from '../core/taskState';
import { describeFindings, type Worker } from '../worker';
import type { CallApprovals } from './callApprovals';
import { connectClient } from './connectClient';
import { CommandId, ViewId } from './ids';
import { examineAccess, supportAgentsWindow } from './mcpAccess';
import { type McpEndpoint, serverName } from './mcpEndpoint';
import type { TaskOutputs } from './outputs';
import type { PolicyEditing } from './policyEditing';
import { withoutLinks } from './plainText';
import { pickFolder, pickTask, pickTasks } from './pickers';
import { settings } from './settings';
import { askNewTask } from './newTaskInput';
import { Answering } from './answering';
import type { RequestReview } from './requestReview';
import { type TaskTarget, targetOf } from './taskTarget';
import { groupOf } from './taskView';

export interface CommandParts {
  readonly worker: Worker;
  readonly outputs: TaskOutputs;
  readonly endpoint: McpEndpoint;
  readonly review: RequestReview;
  readonly callApprovals: CallApprovals;
  readonly policyEditing: PolicyEditing;
  /** Resolves to the path that other clients are given. */
  readonly launcher: () => Promise<string>;
  readonly extensionId: string;
  readonly log: Log;
}

/** Registers every command. From the tree a command gets its node, from the palette nothing: then it asks. */
export function registerCommands(parts: CommandParts): Disposable {
  const commands = new Commands(parts);
  const answering = new Answering(parts.worker.tasks, parts.review);
  type OfTask = Exclude<CommandId, typeof CommandId.decideCall>;
  const handlers: Readonly<Record<OfTask, (target?: TaskTarget) => Promise<unknown>>> = {
    [CommandId.newTask]: () => commands.newTask(),
    [CommandId.cancelTask]: (target) => commands.cancelTask(target),
    [CommandId.cancelAll]: () => commands.cancelAll(),
    [CommandId.messageTask]: (target) => commands.messageTask(target),
    [CommandId.approve]: (target) => answering.approve(target),
    [CommandId.reject]: (target) => answering.reject(target),
    [CommandId.decide]: (target) => answering.choose(target),
    [CommandId.answer]: (target) => answering.answer(target),
    [CommandId.reviewChanges]: (target) => answering.reviewChanges(target),
    [CommandId.showRequest]: (target) => answering.show(target),
    [CommandId.openLog]: (target) => commands.openLog(target),
    [CommandId.copyTaskId]: (target) => commands.copyTaskId(target),
    [CommandId.removeTask]: (target) => commands.removeTask(target),
    [CommandId.removeFinished]: () => commands.removeFinished(),
    [CommandId.connectClient]: () => commands.connectClient(),
    [CommandId.restartCodex]: () => commands.restartCodex(),
    [CommandId.doctor]: () => commands.doctor(),
    [CommandId.openPolicy]: () => parts.policyEditing.open(),
    [CommandId.createPolicy]: () => parts.policyEditing.create(),
    [CommandId.validatePolicy]: () => parts.policyEditing.validate(),
    [CommandId.showDecisions]: () => commands.showDecisions(),
  };
  // The button of a multi-file diff editor gives an address that is not ours.
  const reviewed = (value: unknown): TaskTarget | undefined =>
    value instanceof vscode.Uri ? parts.review.active : undefined;
  const owned = new DisposableStore();
  owned.add(
    vscode.commands.registerCommand(CommandId.decideCall, (id?: unknown, choice?: unknown) =>
      told(parts.callApprovals.decide(id, choice), parts.log),
    ),
  );
  for (const [id, handler] of Object.entries(handlers)) {
    owned.add(
      vscode.commands.registerCommand(id, (value?: unknown) =>
        told(handler(targetOf(value) ?? reviewed(value)), parts.log),
      ),
    );
  }
  return owned;
}

/** Shows a refusal with its hint; anything else is a bug, which is logged too. */
async function told(work: Promise<unknown>, log: Log): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof CallError))
      log('error', error instanceof Error ? (error.stack ?? error.message) : messageOf(error));
    const text = error instanceof CallError ? `${error.message} ${error.hint}` : messageOf(error);
    // Somebody else was first: that is news, and no error.
    const show =
      error instanceof CallError && error.code === 'already_answered' ? 'showInformationMessage' : 'showErrorMessage';
    // It may quote what a task or an agent said.
    void vscode.window[show](`Codex Worker: ${withoutLinks(text)}`);
  }
}

class Commands {
  private readonly parts: CommandParts;
  private offered = false;

  constructor(parts: CommandParts) {
    this.parts = parts;
  }

  async newTask(): Promise<void> {
    const cwd = await pickFolder(settings.roots());
    const wanted = await askNewTask();
    if (!wanted) return;
    const starting = this.tasks.spawn({ ...wanted, ...(cwd === undefined ? {} : { cwd }) }, person);
    await vscode.commands.executeCommand(`${ViewId.tasks}.focus`);
    await vscode.window.withProgress({ location: { viewId: ViewId.tasks } }, () => starting);
  }

  async cancelTask(target: TaskTarget | undefined): Promise<void> {
    const named = target?.taskId;
    const ids = named === undefined ? await this.pickRunning('Which tasks shall be cancelled?') : [named];
    await this.cancel(ids);
  }

  async cancelAll(): Promise<void> {
    const ids = this.running().map((task) => task.id);
    if (ids.length === 0) {
      void vscode.window.showInformationMessage('No Codex task is running.');
      return;
    }
    const choice = `Cancel ${ids.length === 1 ? 'it' : `all ${ids.length}`}`;
    const question = ids.length === 1 ? 'Cancel the running Codex task?' : `Cancel ${ids.length} running Codex tasks?`;
    if ((await vscode.window.showWarningMessage(question, { modal: true }, choice)) === choice) await this.cancel(ids);
  }

  async messageTask(target: TaskTarget | undefined): Promise<void> {
    const task = await this.choose(target, 'Which task is the message for?');
    if (!task) return;
    const ended = isTerminalStatus(task.status);
    const text = await vscode.window.showInputBox({
      title: `Message to ${task.id}`,
      prompt: ended ? 'Starts its next turn on the same thread.' : 'Is added to what it does now.',
      ignoreFocusOut: true,
    });
    if (text === undefined || text.trim() === '') return;
    await this.tasks.message(task.id, { text, mode: 'auto' }, person);
  }

  async openLog(target: TaskTarget | undefined): Promise<void> {
    const task = await this.choose(target, 'Which log?');
    if (task) await this.parts.outputs.show(task.id);
  }

  async copyTaskId(target: TaskTarget | undefined): Promise<void> {
    const task = await this.choose(target, 'Which task?');
    if (task) await vscode.env.clipboard.writeText(task.id);
  }

  async removeTask(target: TaskTarget | undefined): Promise<void> {
    const ended = this.ended();
    const id = target?.taskId ?? (await pickTask(ended, 'Which task shall be removed?'))?.id;
    if (id === undefined) return;
    const title = ended.find((task) => task.id === id)?.title ?? id;
    await this.removeAsked(`Remove the task "${firstLine(title, 80)}"?`, 'Remove It', () => [id]);
  }

  async removeFinished(): Promise<void> {
    const { length } = this.ended();
    if (length === 0) {
      void vscode.window.showInformationMessage('There is no finished Codex task.');
      return;
    }
    const question = length === 1 ? 'Remove the finished task?' : `Remove ${length} finished tasks?`;
    const ids = new Set(this.ended().map((task) => task.id));
    // Not what works again meanwhile, nor what ended meanwhile.
    const left = (): TaskId[] => this.ended().flatMap((task) => (ids.has(task.id) ? task.id : []));
    await this.removeAsked(question, length === 1 ? 'Remove It' : `Remove All ${length}`, left);
  }

  /** Asks, because nothing brings them back. */
  private async removeAsked(question: string, choice: string, ids: () => readonly TaskId[]): Promise<void> {
    const detail =
      'Its log, its events and its result are deleted from the disk. The files that it changed stay as they are.';
    if ((await vscode.window.showWarningMessage(question, { modal: true, detail }, choice)) !== choice) return;
    for (const id of ids()) this.tasks.remove(id);
  }

  private ended(): TaskSnapshot[] {
    return this.tasks
      .snapshots()
      .filter((task) => isTerminalStatus(task.status))
      .toReversed();
  }

  async connectClient(): Promise<void> {
    const { worker, endpoint, launcher } = this.parts;
    const { clients, plain } = await worker.clients(await launcher(), settings.roots()[0] ?? null);
    await connectClient({ clients, plain, direct: await endpoint.direct() });
  }

  async restartCodex(): Promise<void> {
    const running = this.running().length;
    if (running > 0) {
      const choice = 'Restart';
      const detail = `${running} running ${running === 1 ? 'task stops' : 'tasks stop'} in the middle of a turn and can continue in a new one.`;
      const answer = await vscode.window.showWarningMessage('Restart Codex?', { modal: true, detail }, choice);
      if (answer !== choice) return;
    }
    await this.parts.worker.restartCodex();
    void vscode.window.showInformationMessage('Codex is stopped; it starts with the next task.');
  }

  /** Says how everything is that a task needs, and offers to repair what can be. */
  async doctor(repair = false): Promise<void> {
    const { worker, extensionId } = this.parts;
    const looking = worker.examine({
      repair,
      endpoint: await this.parts.endpoint.definition().catch((error: unknown) => messageOf(error)),
      policy: worker.policies.describe(),
      more: examineAccess(serverName, extensionId),
    });
    const findings = await vscode.window.withProgress({ location: { viewId: ViewId.tasks } }, () => looking);
    this.parts.outputs.showReport('Doctor', describeFindings(findings));
    if (findings.some(({ offers }) => offers === 'agentsWindow')) void this.offerAgentsWindow();
    if (!findings.some(({ repairable }) => repairable)) return;
    const answer = await vscode.window.showWarningMessage('Codex Worker found something to repair.', 'Repair');
    if (answer === 'Repair') await this.doctor(true);
  }

  /** Once is enough for somebody who does not use that window. */
  private async offerAgentsWindow(): Promise<void> {
    if (this.offered) return;
    this.offered = true;
    const choice = 'Let It Load';
    const text = 'The Agents window does not load Codex Worker. If you use that window, let it.';
    if ((await vscode.window.showInformationMessage(text, choice)) !== choice) return;
    await supportAgentsWindow(this.parts.extensionId);
  }

  async showDecisions(): Promise<void> {
    await vscode.commands.executeCommand(`${ViewId.decisions}.focus`);
  }

  private get tasks() {
    return this.parts.worker.tasks;
  }

  private running(): TaskSnapshot[] {
    return this.tasks.snapshots().filter((task) => groupOf(task) !== 'finished');
  }

  private async cancel(ids: readonly TaskId[]): Promise<void> {
    if (ids.length === 0) return;
    await vscode.window.withProgress({ location: { viewId: ViewId.tasks } }, () => this.tasks.cancel(ids, person));
  }

  private async pickRunning(question: string): Promise<TaskId[]> {
    return (await pickTasks(this.running(), question)).map((task) => task.id);
  }

  private async choose(target: TaskTarget | undefined, question: string): Promise<TaskSnapshot | undefined> {
    const id = target?.taskId;
    return id === undefined ? pickTask(this.tasks.snapshots().toReversed(), question) : this.tasks.get(id);
  }
}
