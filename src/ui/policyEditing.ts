import { mkdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import * as vscode from 'vscode';
import { userPolicyPath } from '../base/userDirs';
import { DisposableStore } from '../core/disposable';
import {
  advicesForPolicy,
  builtInText,
  type Mistake,
  type Policies,
  readPolicy,
  scaffoldText,
  workspaceFile,
} from '../worker';
import { SettingId } from './ids';
import { withoutLinks } from './plainText';
import { policyPath, settings } from './settings';

/** Mistakes of policy files in the Problems panel while they are typed, and the commands that open and make them. */
export class PolicyEditing implements vscode.Disposable {
  private readonly owned = new DisposableStore();
  private readonly mistakes = this.owned.add(vscode.languages.createDiagnosticCollection('Codex Worker policy'));
  private readonly policies: Policies;
  /** Folders of which the person is being told that an older policy holds. */
  private readonly told = new Set<string>();

  constructor(policies: Policies) {
    this.policies = policies;
    this.owned.add(vscode.workspace.onDidOpenTextDocument((document) => this.look(document)));
    this.owned.add(vscode.workspace.onDidChangeTextDocument(({ document }) => this.look(document)));
    this.owned.add(vscode.workspace.onDidCloseTextDocument(({ uri }) => this.mistakes.delete(uri)));
    for (const document of vscode.workspace.textDocuments) this.look(document);
    this.owned.add(policies.held.onDidHold((root) => void this.tellHeld(root)));
    for (const root of policies.held.told) void this.tellHeld(root);
  }

  dispose(): void {
    this.owned.dispose();
  }

  /** Opens the user's file, or shows what holds without one. */
  async open(): Promise<void> {
    const path = policyPath();
    const document =
      path === null
        ? await vscode.workspace.openTextDocument({ language: 'yaml', content: builtInText })
        : await vscode.workspace.openTextDocument(path);
    await vscode.window.showTextDocument(document);
    if (path !== null) return;
    const create = 'Create Policy';
    const text = 'This is the built-in policy; a change of it has no effect. Create a file to have your own.';
    if ((await vscode.window.showInformationMessage(text, create)) === create) await this.create();
  }

  /** Makes a commented file, for the user or for this workspace, and opens it. An existing one is opened as it is. */
  async create(): Promise<void> {
    const [root] = settings.roots();
    const own = {
      label: 'My policy',
      detail: 'Holds in every window of this machine.',
      path: policyPath() ?? userPolicyPath(),
    };
    const shared = {
      label: 'Policy of this workspace',
      detail: 'Can only tighten yours.',
      path: join(root ?? '', workspaceFile),
    };
    const options = { placeHolder: 'For whom?' };
    const picked = root === undefined ? own : await vscode.window.showQuickPick([own, shared], options);
    if (!picked) return;
    await mkdir(dirname(picked.path), { recursive: true });
    await writeFile(picked.path, scaffoldText, { flag: 'wx', mode: 0o600 }).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    });
    if (picked === own && policyPath() === null) {
      await vscode.workspace
        .getConfiguration()
        .update(SettingId.policyPath, picked.path, vscode.ConfigurationTarget.Global);
    }
    await vscode.window.showTextDocument(await vscode.workspace.openTextDocument(picked.path));
  }

  /** Says what is wrong with the policies that are in force. */
  validate(): Promise<void> {
    const { troubles } = this.policies;
    if (troubles.length === 0)
      void vscode.window.showInformationMessage(`The policy is good: ${this.policies.describe()}.`);
    else void vscode.window.showErrorMessage(`What was good before stays in force. ${troubles.join('; ')}`);
    return Promise.resolve();
  }

  /** Lets go of what policies said before. */
  useNew(): Promise<void> {
    const { held } = this.policies;
    const isAny = held.roots.length > 0;
    held.release();
    const text = isAny
      ? 'The policy of this workspace holds as its file says now.'
      : 'No policy waits: what the file says holds already.';
    void vscode.window.showInformationMessage(text);
    return Promise.resolve();
  }

  /** One notification a folder, however often its policy is changed meanwhile. */
  private async tellHeld(root: string): Promise<void> {
    if (this.told.has(root)) return;
    this.told.add(root);
    const isAskedAgain = await this.offerNew(root).finally(() => this.told.delete(root));
    if (isAskedAgain && this.policies.held.roots.includes(root)) await this.tellHeld(root);
  }

  /** Whether the new policy was only looked at. */
  private async offerNew(root: string): Promise<boolean> {
    const [use, show] = ['Use the New Policy', 'Show the New Policy'];
    const text = `The policy of ${basename(root)} was changed while tasks are at work there. What it said before holds beside it until they have ended.`;
    const chosen = await vscode.window.showWarningMessage(withoutLinks(text), use, show);
    if (chosen === use) await this.useNew();
    if (chosen !== show) return false;
    const opened = await Promise.resolve(vscode.workspace.openTextDocument(join(root, workspaceFile))).catch(
      () => null,
    );
    if (opened) await vscode.window.showTextDocument(opened);
    else void vscode.window.showInformationMessage('The file is gone, so there is no new policy.');
    return true;
  }

  private look(document: vscode.TextDocument): void {
    const { fsPath } = document.uri;
    if (fsPath !== policyPath() && !fsPath.endsWith(workspaceFile)) return;
    const text = document.getText();
    const { Error: error, Warning: warning } = vscode.DiagnosticSeverity;
    const mistakes = (readPolicy(text).mistakes ?? []).map((one) => diagnosticOf(one, error));
    const advices = advicesForPolicy(text).map((one) => diagnosticOf(one, warning));
    this.mistakes.set(document.uri, [...mistakes, ...advices]);
  }
}

function diagnosticOf(found: Mistake, severity: vscode.DiagnosticSeverity): vscode.Diagnostic {
  const { line, column, endLine, endColumn, path, message } = found;
  const range = new vscode.Range(line - 1, column - 1, endLine - 1, endColumn - 1);
  return new vscode.Diagnostic(range, path === '' ? message : `${path}: ${message}`, severity);
}
