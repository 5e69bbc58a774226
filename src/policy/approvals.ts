import { Deadlines } from '../core/deadlines';
import { type Disposable, DisposableStore } from '../core/disposable';
import { Emitter } from '../core/emitter';
import type { ApprovalChoice, ApprovalQuestion } from '../core/toolGate';

/** How an approval ended. */
export type Outcome = ApprovalChoice | 'timeout' | 'withdrawn';

export interface Approval {
  readonly question: ApprovalQuestion;
  /** Binds it to the caller, the exact arguments and the rules. */
  readonly key: string;
  readonly ended: Promise<Outcome>;
  /** Null while it is open. */
  readonly outcome: Outcome | null;
}

class OpenApproval implements Approval {
  outcome: Outcome | null = null;
  /** Calls that wait for it now. */
  waiting = 0;
  readonly ended: Promise<Outcome>;
  private resolve: (outcome: Outcome) => void = () => undefined;
  readonly question: ApprovalQuestion;
  readonly key: string;

  constructor(question: ApprovalQuestion, key: string) {
    this.question = question;
    this.key = key;
    this.ended = new Promise((resolve) => (this.resolve = resolve));
  }

  end(outcome: Outcome): void {
    this.outcome = outcome;
    this.resolve(outcome);
  }
}

/** Open questions and answers that no call has picked up. */
const limit = 100;

/**
 * The approvals that a person is asked for. Each counts once, for the call that it was asked for; one that nobody picks up is
 * kept until its time is over.
 */
export class Approvals implements Disposable {
  private readonly approvals = new Map<string, OpenApproval>();
  private readonly owned = new DisposableStore();
  private readonly deadlines = this.owned.add(new Deadlines());
  private readonly emitter = this.owned.add(new Emitter<undefined>());
  private counted = 0;
  private readonly now: () => number;
  /** Questions came or were answered. */
  readonly onDidChange = this.emitter.event;

  constructor(now: () => number) {
    this.now = now;
  }

  /** The questions that wait for a person, oldest first. */
  get open(): readonly ApprovalQuestion[] {
    return [...this.approvals.values()].filter(({ outcome }) => outcome === null).map(({ question }) => question);
  }

  get full(): boolean {
    return this.approvals.size >= limit;
  }

  find(key: string): Approval | undefined {
    return this.approvals.get(key);
  }

  ask(key: string, about: Omit<ApprovalQuestion, 'id' | 'expiresAt'>, timeoutMs: number): Approval {
    const id = `a${++this.counted}`;
    const approval = new OpenApproval({ ...about, id, expiresAt: this.now() + timeoutMs }, key);
    this.approvals.set(key, approval);
    this.deadlines.set(key, timeoutMs, () => this.expire(approval));
    this.emitter.fire(undefined);
    return approval;
  }

  /** False when the question is not open any more. */
  answer(id: string, choice: ApprovalChoice): boolean {
    const approval = [...this.approvals.values()].find(({ question }) => question.id === id);
    if (approval?.outcome !== null) return false;
    approval.end(choice);
    this.emitter.fire(undefined);
    return true;
  }

  /** Takes an approval that has ended, for one call; false when another call was first. */
  take(approval: Approval): boolean {
    if (approval.outcome === null || this.approvals.get(approval.key) !== approval) return false;
    this.approvals.delete(approval.key);
    this.deadlines.clear(approval.key);
    return true;
  }

  /** Waits until it ends, the signal aborts or the time is over; the question of an aborted call is withdrawn. */
  async wait(approval: Approval, limitMs: number | null, signal: AbortSignal): Promise<void> {
    const open = this.approvals.get(approval.key);
    if (open !== approval || open.outcome !== null) return;
    open.waiting++;
    let stop: () => void = () => undefined;
    const stopped = new Promise<void>((resolve) => (stop = resolve));
    const late = limitMs === null ? undefined : setTimeout(stop, limitMs);
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    await Promise.race([open.ended, stopped]);
    clearTimeout(late);
    signal.removeEventListener('abort', stop);
    open.waiting--;
    if (signal.aborted && open.waiting === 0) this.withdraw(open);
  }

  dispose(): void {
    for (const approval of this.approvals.values()) if (approval.outcome === null) approval.end('withdrawn');
    this.approvals.clear();
    this.owned.dispose();
  }

  private withdraw(approval: OpenApproval): void {
    if (approval.outcome !== null) return;
    approval.end('withdrawn');
    this.take(approval);
    this.emitter.fire(undefined);
  }

  /** An open question becomes a refusal that its call can still pick up; an answer that nobody picked up is forgotten. */
  private expire(approval: OpenApproval): void {
    if (approval.outcome !== null) {
      this.take(approval);
      return;
    }
    approval.end('timeout');
    this.emitter.fire(undefined);
    this.deadlines.set(approval.key, keepRefusalMs, () => this.take(approval));
  }
}

/** How long the refusal at a timeout waits for its call, in ms. */
const keepRefusalMs = 60_000;
