import * as vscode from 'vscode';
import { CallError, type CallErrorCode, messageOf, stackOf } from '../core/errors';
import { CommandId, SettingId } from './ids';
import { withoutLinks } from './plainText';

/** What a person can do about something, at a click. */
export interface Remedy {
  readonly title: string;
  readonly run: () => unknown;
}

const command = (title: string, id: string, ...args: readonly unknown[]): Remedy => ({
  title,
  run: () => vscode.commands.executeCommand(id, ...args),
});
const setting = (title: string, id: string): Remedy => command(title, 'workbench.action.openSettings', id);
const showLog = (log: vscode.LogOutputChannel): Remedy => ({ title: 'Show Log', run: () => log.show() });
const doctor = command('Doctor', CommandId.doctor);
const openPolicy = command('Open Policy', CommandId.openPolicy);
const chooseCodex = setting('Choose Codex', SettingId.codexPath);

interface Advice {
  /** In place of the hint, which is for an agent; absent where that is for both. */
  readonly text?: string;
  readonly remedies?: readonly Remedy[];
}

/** The hint of an error says to an agent what to do; a person does other things, and reads this. */
const advice: Readonly<Record<CallErrorCode, Advice>> = {
  invalid_argument: {},
  not_found: { text: 'It may have been removed.' },
  not_available: {},
  policy_denied: { text: 'Your policy forbids it.', remedies: [openPolicy] },
  policy_unenforceable: { remedies: [openPolicy, doctor] },
  approval_required: { text: '' },
  approval_timeout: { text: '' },
  not_active: { text: 'It has no turn at work; send it a message to start one.' },
  no_pending_request: { text: 'Nothing waits for an answer any more.' },
  already_answered: { text: '' },
  queue_full: {},
  full_access_not_allowed: {
    text: 'It is switched off for agents.',
    remedies: [setting('Open Setting', SettingId.allowFullAccess)],
  },
  codex_not_found: { remedies: [chooseCodex, doctor] },
  codex_too_old: { remedies: [chooseCodex, doctor] },
  codex_not_logged_in: {
    text: 'Log in, then try again.',
    remedies: [{ title: 'Log In', run: logIn }, doctor],
  },
  codex_unavailable: { remedies: [doctor] },
  store_unavailable: { text: 'Its directory must be one that can be written and read.', remedies: [doctor] },
  workspace_not_trusted: {
    text: 'Codex runs commands in this folder, so you have to trust it first.',
    remedies: [command('Manage Workspace Trust', 'workbench.trust.manage')],
  },
  shutting_down: { text: 'Try again when the window is back.' },
  internal: { text: '', remedies: [doctor] },
};

/** What an error says to a person: what happened, and what to do. */
export function textForPerson(error: unknown): string {
  if (!(error instanceof CallError)) return messageOf(error);
  const text = advice[error.code].text ?? error.hint;
  return text === '' ? error.message : `${error.message} ${text}`;
}

/** Tells a person what was refused or went wrong, with a button for each thing to do about it. What is a bug is logged. */
export async function tellError(
  error: unknown,
  log: vscode.LogOutputChannel,
  more: readonly Remedy[] = [],
): Promise<void> {
  const isRefusal = error instanceof CallError;
  if (!isRefusal) log.error(stackOf(error));
  const remedies = [...more, ...(isRefusal ? (advice[error.code].remedies ?? []) : [doctor, showLog(log)])];
  // Somebody else was first: that is news, and no error.
  const show = isRefusal && error.code === 'already_answered' ? 'showInformationMessage' : 'showErrorMessage';
  // It may quote what a task or an agent said.
  const text = `Codex Worker: ${withoutLinks(textForPerson(error))}`;
  const chosen = await vscode.window[show](text, ...remedies.map(({ title }) => title));
  await remedies.find(({ title }) => title === chosen)?.run();
}

function logIn(): void {
  const terminal = vscode.window.createTerminal('Codex: log in');
  terminal.show();
  terminal.sendText('codex login');
}
