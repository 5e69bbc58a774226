import * as vscode from 'vscode';
import { firstLine } from '../core/boundedText';
import { messageOf } from '../core/errors';
import { person } from '../core/caller';
import type { TaskId } from '../core/taskId';
import type { TaskSnapshot } from '../core/taskSnapshot';
import { isTerminalStatus } from '../core/taskState';
import { describeFindings, type Worker } from '../worker';
import type { Attention } from './attention';
import type { CallApprovals } from './callApprovals';
import { connectClient } from './connectClient';
import type { Handlers } from './commandFront';
import { CommandId, ViewId } from './ids';
import { examineAccess, supportAgentsWindow } from './mcpAccess';
import { type McpEndpoint, serverName } from './mcpEndpoint';
import type { TaskOutputs } from './outputs';
import type { Reports } from './reports';
import type { PolicyEditing } from './policyEditing';
import { pickFolder, pickTask, pickTasks } from './pickers';
import { settings } from './settings';
import { askNewTask } from './newTaskInput';
import { Answering } from './answering';
import type { RequestReview } from './requestReview';
import { type TaskTarget, targetOf } from './taskTarget';
import { tellError } from './tellError';
import { groupOf } from './taskView';

export interface CommandParts {
  readonly worker: Worker;
  readonly outputs: TaskOutputs;
  readonly reports: Reports;
  readonly endpoint: McpEndpoint;
  readonly review: RequestReview;
  readonly callApprovals: CallApprovals;
  readonly attention: Attention;
  readonly policyEditing: PolicyEditing;
  /** Resolves to the path that other clients are given. */
  readonly launcher: () => Promise<string>;
  readonly extensionId: string;
  readonly log: vscode.LogOutputChannel;
}

/** What each command does. From the tree a command gets its node, from the palette nothing: then it asks. */
export function commandHandlers(parts: CommandParts): Handlers {
  const commands = new Commands(parts);
  const answering = new Answering(parts.worker.tasks, parts.review);
  // The button of a multi-file diff editor gives an address that is not ours.
  const about = (work: (target?: TaskTarget) => Promise<unknown>) => (value?: unknown) =>
    work(targetOf(value) ?? (value instanceof vscode.Uri ? parts.review.active : undefined));
  return {
    [CommandId.newTask]: () => commands.newTask(),
    [CommandId.cancelTask]: about((target) => commands.cancelTask(target)),
    [CommandId.cancelAll]: () => commands.cancelAll(),
    [CommandId.messageTask]: about((target) => commands.messageTask(target)),
    [CommandId.approve]: about((target) => answering.approve(target)),
    [CommandId.reject]: about((target) => answering.reject(target)),
    [CommandId.decide]: about((target) => answering.choose(target)),
    [CommandId.answer]: about((target) => answering.answer(target)),
    [CommandId.reviewChanges]: about((target) => answering.reviewChanges(target)),
    [CommandId.showRequest]: about((target) => answering.show(target)),
    [CommandId.openLog]: about((target) => commands.openLog(target)),
    [CommandId.copyTaskId]: about((target) => commands.copyTaskId(target)),
    [CommandId.removeTask]: about((target) => commands.removeTask(target)),
    [CommandId.removeFinished]: () => commands.removeFinished(),
    [CommandId.connectClient]: () => commands.connectClient(),
    [CommandId.restartCodex]: () => commands.restartCodex(),
    [CommandId.doctor]: () => commands.doctor(),
    [CommandId.decideCall]: (id, choice) => parts.callApprovals.decide(id, choice),
    [CommandId.openPolicy]: () => parts.policyEditing.open(),
    [CommandId.createPolicy]: () => parts.policyEditing.create(),
    [CommandId.validatePolicy]: () => parts.policyEditing.validate(),
    [CommandId.useNewPolicy]: () => parts.policyEditing.useNew(),
    [CommandId.putOff]: () => parts.attention.putOff(),
    [CommandId.showDecisions]: () => commands.showDecisions(),
  };
}

class Commands {
  private readonly parts: CommandParts;
  private offered = false;
  private draft = '';

  constructor(parts: CommandParts) {
    this.parts = parts;
  }

  /** What was typed for a task that was refused is there again the next time. */
  async newTask(): Promise<void> {
    const cwd = await pickFolder(settings.roots());
    const wanted = await askNewTask(this.draft);
    if (!wanted) return;
    this.draft = wanted.prompt;
    const starting = this.tasks.spawn({ ...wanted, ...(cwd === undefined ? {} : { cwd }) }, person);
    // Told below, whatever comes first.
    starting.catch(() => undefined);
    await vscode.commands.executeCommand(`${ViewId.tasks}.focus`);
    try {
      await vscode.window.withProgress({ location: { viewId: ViewId.tasks } }, () => starting);
      this.draft = '';
    } catch (error) {
      await tellError(error, this.parts.log, [{ title: 'Edit the Task', run: () => this.newTask() }]);
    }
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
    this.parts.reports.show('Doctor', describeFindings(findings));
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
