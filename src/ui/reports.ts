import * as vscode from 'vscode';
import { DisposableStore } from '../core/disposable';

/** Texts that are about no task, each in a channel of its own. */
export class Reports implements vscode.Disposable {
  private readonly owned = new DisposableStore();
  private readonly channels = new Map<string, vscode.OutputChannel>();

  show(name: 'Doctor', text: string): void {
    const known = this.channels.get(name);
    const channel = known ?? this.owned.add(vscode.window.createOutputChannel(`Codex Worker: ${name}`));
    this.channels.set(name, channel);
    channel.replace(text);
    channel.show(true);
  }

  dispose(): void {
    this.owned.dispose();
  }
}
