import * as vscode from 'vscode';
import { beginningOf } from '../base/wellFormed';
import { DisposableStore } from '../core/disposable';
import { visibleLine } from '../core/describeRequest';
import { type ApprovalChoice, approvalChoices, type ApprovalQuestion } from '../core/toolGate';
import type { Policies } from '../worker';
import { CommandId } from './ids';
import { type Notice, showNotice } from './notice';
import { plainText, withoutLinks } from './plainText';

export const choiceLabels: Readonly<Record<ApprovalChoice, string>> = {
  once: 'Allow once',
  session: 'Allow for this session',
  deny: 'Deny',
};

const shownCharacters = 160;
const statusBarMs = 8_000;

/** Asks the person about calls that a rule of the policy holds back: one notification at a time. */
export class CallApprovals implements vscode.Disposable {
  private readonly owned = new DisposableStore();
  private readonly policies: Policies;
  private notice: Notice | undefined;
  /** Questions that the person put off. */
  private readonly later = new Set<string>();

  constructor(policies: Policies) {
    this.policies = policies;
    this.owned.add(policies.gate.approvals.onDidChange(() => this.refresh()));
    this.refresh();
  }

  dispose(): void {
    this.notice?.close();
    this.owned.dispose();
  }

  /** Answers a question by its id, from a link; or asks which one and how. */
  async decide(id: unknown, choice: unknown): Promise<void> {
    const { approvals } = this.policies.gate;
    const known = approvalChoices.find((one) => one === choice);
    const question = approvals.open.find((one) => one.id === id) ?? (await pickQuestion(approvals.open));
    if (!question) return;
    const answer = known ?? (await pickChoice(question));
    if (!answer) return;
    if (approvals.answer(question.id, answer)) return;
    void vscode.window.showInformationMessage('That call does not wait any more.');
  }

  private refresh(): void {
    const { open } = this.policies.gate.approvals;
    for (const id of this.later) if (!open.some((one) => one.id === id)) this.later.delete(id);
    const wanted = open.filter(({ id }) => !this.later.has(id));
    const [shown] = wanted;
    if (this.notice && this.notice.key !== shown?.id) {
      this.notice.close();
      this.notice = undefined;
    }
    if (!shown) return;
    this.notice ??= showNotice(shown.id, () => this.putOff());
    this.notice.update(noticeText(shown, wanted.length - 1));
  }

  private putOff(): void {
    for (const { id } of this.policies.gate.approvals.open) this.later.add(id);
    this.refresh();
    vscode.window.setStatusBarMessage('$(bell-slash) Put off; the call still waits for you', statusBarMs);
  }
}

/** Text of the caller cannot make a link, and what does not fit is looked at before it is decided. */
export function noticeText(question: ApprovalQuestion, more: number): string {
  const about = aboutCall(question);
  const isWhole = about.length <= shownCharacters;
  const text = isWhole ? about : `${beginningOf(about, shownCharacters)}…`;
  const links = [
    ...(isWhole ? (['once', 'session'] as const) : []).map((choice) => link(choiceLabels[choice], question.id, choice)),
    link(choiceLabels.deny, question.id, 'deny'),
    link('Show details', question.id),
  ];
  const others = more === 0 ? '' : ` And ${more} more.`;
  const reason = withoutLinks(visibleLine(question.reason));
  return `${withoutLinks(text)} — ${reason}${others} ${links.join(' · ')}`;
}

/** Who wants to call what, in one line. */
function aboutCall({ client, caller, tool, args }: ApprovalQuestion): string {
  const who = visibleLine(client ?? caller);
  return `${who} wants to call ${tool} ${visibleLine(JSON.stringify(args))}`;
}

function link(label: string, ...args: readonly string[]): string {
  return `[${label}](command:${CommandId.decideCall}?${encodeURIComponent(JSON.stringify(args))})`;
}

async function pickQuestion(open: readonly ApprovalQuestion[]): Promise<ApprovalQuestion | undefined> {
  if (open.length === 0) {
    void vscode.window.showInformationMessage('No call waits for you.');
    return undefined;
  }
  if (open.length === 1) return open[0];
  const items = open.map((question) => ({
    label: plainText(aboutCall(question)),
    detail: plainText(visibleLine(question.reason)),
    question,
  }));
  return (await vscode.window.showQuickPick(items, { placeHolder: 'Which call?' }))?.question;
}

async function pickChoice(question: ApprovalQuestion): Promise<ApprovalChoice | undefined> {
  const details: Readonly<Record<ApprovalChoice, string>> = {
    once: 'This call, with these arguments.',
    session: `Every call of ${question.tool} by this caller that rule "${question.rule}" would hold back, until the window closes.`,
    deny: 'The caller is told that you denied it.',
  };
  const items = approvalChoices.map((choice) => ({
    label: choiceLabels[choice],
    detail: plainText(visibleLine(details[choice])),
    choice,
  }));
  const title = `${question.reason} Rule "${question.rule}"`;
  const options = { title: visibleLine(title), placeHolder: visibleLine(aboutCall(question)), ignoreFocusOut: true };
  return (await vscode.window.showQuickPick(items, options))?.choice;
}
