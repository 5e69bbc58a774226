import { Deadlines } from './deadlines';
import type { Disposable } from './disposable';
import type { TaskError } from './errors';
import type { AgentRequest, WorkerSettings } from './ports';
import type { RecoveryQuestion } from './pendingRequest';
import { limitQuestion, recoveryRequest, silenceError, silenceQuestion } from './recovery';
import { SilenceWatch } from './silenceWatch';

/** The task that is recovered. */
export interface RecoveryHost {
  readonly settings: Pick<WorkerSettings, 'requestTimeoutMs' | 'idleTimeoutMs' | 'recovery'>;
  isWorking(): boolean;
  /** Whether a turn may be started now without anybody saying so. */
  mayGoOn(): boolean;
  put(request: AgentRequest, timeoutMs: number | null): string;
  withdraw(requestId: string): void;
  resolved(key: string): void;
  readonly now: () => number;
  isPending(requestId: string): boolean;
  /** Ends what the turn left running, and says why. */
  clearAway(reason: string): Promise<void>;
  /** Starts the turn that continues the interrupted one; `error` is why the task fails if that cannot be. */
  goOn(error: TaskError): Promise<void>;
  fail(error: TaskError): Promise<void>;
  cancel(): Promise<void>;
}

/** Asks whether a task goes on whose agent stopped or keeps silent. */
export class TaskRecovery implements Disposable {
  private readonly silence: SilenceWatch;
  private silenceRequest: string | null = null;
  private readonly resumption = new Deadlines();
  private asked = 0;
  private readonly host: RecoveryHost;

  constructor(host: RecoveryHost) {
    this.host = host;
    const limitMs = (): number | null => host.settings.idleTimeoutMs();
    this.silence = new SilenceWatch(limitMs, (ms) => this.onSilent(ms));
  }

  /** The agent stopped in the middle of a turn. Nothing is sent again by itself unless the person chose that. */
  async recover(error: TaskError, question: string): Promise<void> {
    const { settings } = this.host;
    if (settings.recovery() === 'fail' || !this.host.isWorking()) return this.host.fail(error);
    await this.host.clearAway('Codex stopped in the middle of the turn');
    if (!this.host.isWorking()) return;
    if (settings.recovery() === 'continue' && this.host.mayGoOn()) await this.host.goOn(error);
    else
      this.ask(
        { type: 'recovery', message: question },
        settings.requestTimeoutMs(),
        error,
        () => void this.host.goOn(error),
      );
  }

  /**
   * The account's plan is used up: the task goes on by itself at a time, in ms since the epoch, or before it when somebody
   * says so. Where no turn may start by then, it waits for somebody.
   */
  async pause(error: TaskError, goesOnAt: number): Promise<void> {
    await this.host.clearAway('The usage limit of the plan is reached');
    if (!this.host.isWorking()) return;
    const now = this.host.now();
    const id = this.ask(limitQuestion(goesOnAt, now), null, error, () => void this.host.goOn(error));
    this.resumption.set(id, Math.max(0, goesOnAt - now), () => {
      if (!this.host.isPending(id) || !this.host.mayGoOn()) return;
      this.host.withdraw(id);
      void this.host.goOn(error);
    });
  }

  /** The agent did something, which answers the question whether it is alive. */
  signOfLife(): void {
    this.silence.sign();
    if (this.silenceRequest !== null) this.host.withdraw(this.silenceRequest);
    this.silenceRequest = null;
  }

  dispose(): void {
    this.silence.dispose();
    this.resumption.dispose();
  }

  private onSilent(limitMs: number): void {
    if (!this.host.isWorking()) return;
    const timeoutMs = Math.min(limitMs, this.host.settings.requestTimeoutMs() ?? limitMs);
    const onAccept = (): void => this.signOfLife();
    const question = { type: 'recovery', message: silenceQuestion(limitMs) } as const;
    this.silenceRequest = this.ask(question, timeoutMs, silenceError(limitMs), onAccept);
  }

  /** A question of the worker's own: accepting goes on, rejecting fails the task, cancelling ends it. */
  private ask(question: RecoveryQuestion, timeoutMs: number | null, error: TaskError, onAccept: () => void): string {
    const resolved = (key: string): void => this.host.resolved(key);
    const request = recoveryRequest(`own ${++this.asked}`, question, resolved, (decision) => {
      if (decision === 'accept') onAccept();
      else void (decision === 'cancel' ? this.host.cancel() : this.host.fail(error));
    });
    return this.host.put(request, timeoutMs);
  }
}
