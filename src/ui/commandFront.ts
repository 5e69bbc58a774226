import * as vscode from 'vscode';
import { DisposableStore } from '../core/disposable';
import { HumanError } from '../core/errors';
import { CommandId, ContextKey } from './ids';
import { type Remedy, tellError, textForPerson } from './tellError';

/** What each command does; it gets what the editor gives. */
export type Handlers = Readonly<
  Record<Exclude<CommandId, 'codexWorker.start'>, (...args: readonly unknown[]) => unknown>
>;

export interface FrontOptions {
  readonly log: vscode.LogOutputChannel;
  /** Begins again after a failure. */
  readonly start: () => Promise<void>;
  /** The doctor while there are no tasks; `failure` says why. */
  readonly examine: (failure: string) => Promise<void>;
}

/** How long a command waits for the tasks to be there, in ms; a start takes some hundred. */
const startLimitMs = 15_000;

type State =
  | { readonly kind: 'starting' }
  | { readonly kind: 'attached'; readonly handlers: Handlers }
  | { readonly kind: 'failed'; readonly error: unknown };

/**
 * Every command, from the first moment on and whatever is wrong: one that comes while the window starts waits for it, and one
 * that comes after a failed start says why, with what can be done. The doctor always works.
 */
export class CommandFront implements vscode.Disposable {
  private readonly owned = new DisposableStore();
  private state: State = { kind: 'starting' };
  private readonly changed = this.owned.add(new vscode.EventEmitter<void>());
  private readonly options: FrontOptions;

  constructor(options: FrontOptions) {
    this.options = options;
    for (const id of Object.values(CommandId)) {
      this.owned.add(vscode.commands.registerCommand(id, (...args: readonly unknown[]) => this.run(id, args)));
    }
  }

  dispose(): void {
    this.owned.dispose();
  }

  starts(): void {
    this.become({ kind: 'starting' });
  }

  attach(handlers: Handlers): void {
    this.become({ kind: 'attached', handlers });
  }

  /** The tasks cannot be had; told at once, and again by each command. */
  fail(error: unknown): void {
    this.become({ kind: 'failed', error });
    void tellError(error, this.options.log, [this.again]);
  }

  private readonly again: Remedy = { title: 'Try Again', run: () => this.options.start() };

  private become(state: State): void {
    this.state = state;
    void vscode.commands.executeCommand('setContext', ContextKey.failed, state.kind === 'failed');
    this.changed.fire();
  }

  private async run(id: CommandId, args: readonly unknown[]): Promise<void> {
    const { log } = this.options;
    try {
      if (id === CommandId.start) {
        if (this.state.kind === 'failed') await this.options.start();
        return;
      }
      const state = await this.settled();
      if (state.kind === 'attached') await state.handlers[id](...args);
      else if (id === CommandId.doctor) await this.options.examine(state.kind === 'failed' ? textForPerson(state.error) : 'It has not started yet.');
      else if (state.kind === 'failed') await tellError(state.error, log, [this.again]);
      else throw new HumanError('Codex Worker has not started yet. Its log says what it waits for.');
    } catch (error) {
      await tellError(error, log);
    }
  } // prettier-ignore

  /** The state after the start, or the one that it is in when that takes too long. */
  private settled(): Promise<State> {
    if (this.state.kind !== 'starting') return Promise.resolve(this.state);
    return new Promise((resolve) => {
      const finish = (): void => {
        clearTimeout(timer);
        listener.dispose();
        resolve(this.state);
      };
      const timer = setTimeout(finish, startLimitMs);
      const listener = this.changed.event(finish);
    });
  }
}
