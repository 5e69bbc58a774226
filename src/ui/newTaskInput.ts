import * as vscode from 'vscode';
import type { SpawnRequest } from '../core/spawnRequest';
import { type ApprovalProfile, profiles } from './profiles';
import { settings } from './settings';

/** Asks what a new task shall do, beginning with a draft, and when it asks; undefined when the person thought better of it. */
export async function askNewTask(
  draft: string,
): Promise<Pick<SpawnRequest, 'prompt' | 'approvalPolicy' | 'sandbox'> | undefined> {
  let profile = profiles.find((one) => !one.dangerous && one.approvalPolicy === settings.approvalPolicy());
  let prompt = draft;
  for (;;) {
    const typed = await typePrompt(prompt, profile);
    if (typed.kind === 'dismissed') return undefined;
    prompt = typed.text;
    if (typed.kind === 'done') break;
    profile = (await pickProfile()) ?? profile;
  }
  if (profile?.dangerous && !(await confirmDanger())) return undefined;
  return { prompt, approvalPolicy: profile?.approvalPolicy, sandbox: profile?.sandbox };
}

type Typed = { readonly kind: 'done' | 'profile'; readonly text: string } | { readonly kind: 'dismissed' };

function typePrompt(value: string, profile: ApprovalProfile | undefined): Promise<Typed> {
  const input = vscode.window.createInputBox();
  input.title = 'New Codex Task';
  input.prompt = `What shall Codex do in the background? Approval: ${profile?.label.toLowerCase() ?? 'ask'}.`;
  input.placeholder = 'Fix the failing tests in src/auth and say what was wrong';
  input.ignoreFocusOut = true;
  input.value = value;
  input.buttons = [{ iconPath: new vscode.ThemeIcon('shield'), tooltip: 'When shall it ask you?' }];
  return new Promise((resolve) => {
    const finish = (typed: Typed): void => {
      resolve(typed);
      input.dispose();
    };
    input.onDidTriggerButton(() => finish({ kind: 'profile', text: input.value }));
    input.onDidHide(() => finish({ kind: 'dismissed' }));
    input.onDidAccept(() => {
      if (input.value.trim() !== '') finish({ kind: 'done', text: input.value });
      else input.validationMessage = 'Say what Codex shall do, or press Escape.';
    });
    input.show();
  });
}

function pickProfile(): Thenable<ApprovalProfile | undefined> {
  return vscode.window.showQuickPick([...profiles], { title: 'When shall this task ask you?', ignoreFocusOut: true });
}

async function confirmDanger(): Promise<boolean> {
  const detail = 'Its commands run without any sandbox and without asking. Nothing protects this machine from them.';
  const yes = 'Run with full access';
  return (await vscode.window.showWarningMessage('Full access for this task?', { modal: true, detail }, yes)) === yes;
}
