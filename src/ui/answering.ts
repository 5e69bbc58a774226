import * as vscode from 'vscode';
import { visibleLine } from '../core/describeRequest';
import { findPending } from '../core/findPending';
import { person } from '../core/caller';
import { type Answer, isApproval, type PendingRequest } from '../core/pendingRequest';
import type { TaskManager } from '../core/taskManager';
import type { TaskSnapshot } from '../core/taskSnapshot';
import { askPerson } from './askPerson';
import { choicesOf } from './choices';
import type { AskedTask } from './notices';
import type { RequestReview } from './requestReview';
import { pickRequest } from './pickers';
import { isShownWithin, requestTitle } from './taskView';
import type { TaskTarget } from './taskTarget';

/** Characters that a row of the tree shows beside its actions at the usual width of the side bar, and one of a picker. */
const rowCharacters = 30;
const pickedCharacters = 80;

/** The person's answers to what tasks ask. */
export class Answering {
  private readonly tasks: TaskManager;
  private readonly review: RequestReview;

  constructor(tasks: TaskManager, review: RequestReview) {
    this.tasks = tasks;
    this.review = review;
  }

  /** Opens what the person has not seen whole; the next approval is one of what they see. */
  async approve(target: TaskTarget | undefined): Promise<void> {
    const asked = await this.find(target, 'What do you approve?', ({ question }) => isApproval(question));
    if (!asked) return;
    const characters = target === undefined ? pickedCharacters : target.isRow ? rowCharacters : Infinity;
    if (isShownWithin(characters, asked) || this.review.shows(asked)) {
      await this.respond(asked, { kind: 'decision', decision: 'accept' });
    } else {
      await this.review.open(asked);
    }
  }

  async reject(target: TaskTarget | undefined): Promise<void> {
    const asked = await this.find(target, 'What do you reject?', () => true);
    if (asked) await this.respond(asked, { kind: 'decision', decision: 'reject' });
  }

  /** Offers everything that Codex takes as an answer. */
  async choose(target: TaskTarget | undefined): Promise<void> {
    const asked = await this.find(target, 'What do you decide?', () => true);
    if (asked) await this.chooseFor(asked);
  }

  /** Asks for the answer itself; for an approval, for the choice. */
  async answer(target: TaskTarget | undefined): Promise<void> {
    const asked = await this.find(target, 'What do you answer?', () => true);
    if (!asked) return;
    if (isApproval(asked.request.question)) await this.chooseFor(asked);
    else await this.askFor(asked);
  }

  async reviewChanges(target: TaskTarget | undefined): Promise<void> {
    const asked = await this.find(target, 'What do you review?', ({ question }) => question.type === 'file_approval');
    if (asked) await this.review.open(asked);
  }

  /** Opens all of a request in an editor, with the answers in its title. */
  async show(target: TaskTarget | undefined): Promise<void> {
    const asked = await this.find(target, 'What do you want to see?', () => true);
    if (asked) await this.review.open(asked);
  }

  private async chooseFor(asked: AskedTask): Promise<void> {
    const placeHolder = requestTitle(asked.request, asked.task.cwd);
    const choices = choicesOf(asked.request.question, placeHolder);
    const options = { title: titleOf(asked), placeHolder, ignoreFocusOut: true };
    const choice = await this.whileOpen(asked, (token) => vscode.window.showQuickPick(choices, options, token));
    if (!choice) return;
    if (choice.answer === 'show') return this.review.open(asked);
    if (choice.answer === 'ask') return this.askFor(asked);
    if (choice.confirm !== undefined) {
      const detail = 'It stays when this task is gone. You can take it back in the configuration of Codex.';
      const yes = await vscode.window.showWarningMessage(choice.confirm, { modal: true, detail }, 'Always');
      if (yes !== 'Always') return;
    }
    await this.respond(asked, choice.answer);
  }

  private async askFor(asked: AskedTask): Promise<void> {
    const { question } = asked.request;
    const answer = await this.whileOpen(asked, (token) => askPerson(question, titleOf(asked), token));
    if (answer) await this.respond(asked, answer);
  }

  private async respond({ task, request }: AskedTask, answer: Answer): Promise<void> {
    await this.tasks.respond(task.id, request.id, answer, { by: 'person', caller: person });
  }

  /** Closes what asks the person as soon as the request is answered elsewhere, and then says by whom. */
  private async whileOpen<T>(
    { task, request }: AskedTask,
    ask: (token: vscode.CancellationToken) => Thenable<T | undefined>,
  ): Promise<T | undefined> {
    const source = new vscode.CancellationTokenSource();
    const subscription = this.tasks.feed.onDidChangeStatus((changed) => {
      if (changed.id === task.id && !isPending(changed, request)) source.cancel();
    });
    try {
      const result = await ask(source.token);
      if (source.token.isCancellationRequested) findPending(this.tasks.get(task.id), request.id);
      return result;
    } finally {
      subscription.dispose();
      source.dispose();
    }
  }

  /** The request that a target names, or its task's only one; else the person picks one. */
  private async find(
    target: TaskTarget | undefined,
    placeHolder: string,
    fits: (request: PendingRequest) => boolean,
  ): Promise<AskedTask | undefined> {
    if (target?.requestId !== undefined) {
      const task = this.tasks.get(target.taskId);
      return { task, request: findPending(task, target.requestId) };
    }
    const tasks = target ? [this.tasks.get(target.taskId)] : this.tasks.snapshots();
    return pickRequest(tasks, placeHolder, fits, target !== undefined);
  }
}

function isPending(task: TaskSnapshot, request: PendingRequest): boolean {
  return task.pending.some(({ id }) => id === request.id);
}

function titleOf({ task }: AskedTask): string {
  return visibleLine(task.title);
}
