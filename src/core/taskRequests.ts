import { redact } from '../base/redaction';
import { Deadlines } from './deadlines';
import { describeAnswer, describeAnswerer, describeQuestion } from './describeRequest';
import type { Disposable } from './disposable';
import { hashOf } from './hash';
import {
  type Answer,
  type AnsweredRequest,
  type Answerer,
  declined,
  type PendingRequest,
  type RequestType,
} from './pendingRequest';
import type { AgentRequest } from './ports';
import { meantAnswer, shownQuestion } from './shownRequest';

const answersKept = 50;
/** How long somebody who answers waits to hear that the agent got the answer, in ms. Codex takes 1 ms (measured). */
const confirmLimitMs = 2_000;
const withdrawn = 'withdrawn';

/** The task that the requests are of. */
export interface RequestsHost {
  readonly cwd: string;
  readonly now: () => number;
  note(tag: string, text: string): void;
  /** Whether the task waits for the answer: it does in a turn, and not when it is being stopped. */
  onOpened(id: string, turnId: string): boolean;
  onClosed(id: string): void;
}

/** An answer on its way to the agent. */
interface SentAnswer {
  readonly id: string;
  readonly settle: (inTime: boolean) => void;
}

interface PutOptions {
  /** The rule that leaves the decision to the person alone. */
  readonly heldBy?: string | undefined;
  /** What it was in an earlier run. */
  readonly known?: PendingRequest | undefined;
}

/** The pending requests of one task, each with its time limit, and the last answers to earlier ones. */
export class TaskRequests implements Disposable {
  private readonly open = new Map<string, { readonly pending: PendingRequest; readonly source: AgentRequest }>();
  /** By the agent's key. */
  private readonly sent = new Map<string, SentAnswer>();
  private readonly limits = new Deadlines();
  private kept: readonly AnsweredRequest[] = [];
  private count = 0;
  /** What was pending in an earlier run. */
  private earlier: readonly PendingRequest[] = [];
  /** By the agent's key: asked in an earlier run or before it is known how the task stands. */
  private readonly unsure = new Map<string, AgentRequest>();
  private readonly host: RequestsHost;

  constructor(host: RequestsHost) {
    this.host = host;
  }

  get pending(): readonly PendingRequest[] {
    return [...this.open.values()].map(({ pending }) => pending);
  }

  /** Oldest first. */
  get answers(): readonly AnsweredRequest[] {
    return this.kept;
  }

  /** Takes over what is known from an earlier run. */
  restore(answers: readonly AnsweredRequest[], pending: readonly PendingRequest[]): void {
    this.kept = answers;
    this.earlier = pending;
    this.count = Math.max(0, ...[...answers, ...pending].map(({ id }) => Number(id.slice(1)) || 0));
  }

  /** Keeps a request of which it is not known yet whether the agent still waits for an answer. */
  keep(source: AgentRequest): void {
    this.unsure.set(source.key, source);
  }

  /** The agent waits for no answer to what is kept so. */
  forgetUnsure(): void {
    this.unsure.clear();
  }

  /** Has what the agent still waits for asked, under its earlier name where it has one; the rest is withdrawn. */
  release(ask: (source: AgentRequest, known: PendingRequest | undefined) => void): void {
    for (const source of [...this.unsure.values()]) {
      const known = this.earlier.find(({ question }) => hashOf(question) === hashOf(shownQuestion(source.question)));
      this.earlier = this.earlier.filter((one) => one !== known);
      ask(source, known);
    }
    this.drop();
  }

  /** The agent waits for no answer to anything of the earlier run any more. */
  drop(): void {
    const answeredAt = this.host.now();
    const ended = this.earlier.map(({ id, question }): AnsweredRequest => ({
      id,
      type: question.type,
      by: 'stop',
      outcome: withdrawn,
      answeredAt,
    }));
    this.kept = [...this.kept, ...ended].slice(-answersKept);
    this.earlier = [];
    this.unsure.clear();
  }

  /** Puts a question to whoever answers first; it is declined when nobody does in time. Returns its id. */
  put(source: AgentRequest, timeoutMs: number | null, { heldBy, known }: PutOptions = {}): string {
    const { id, question, askedAt, expiresAt } = known ?? this.newRequest(source, timeoutMs);
    const pending = { id, question, askedAt, expiresAt, ...(heldBy === undefined ? {} : { heldBy }) };
    this.ask(source, pending, known === undefined);
    return id;
  }

  /** Answers at once, without asking anybody. */
  decide(source: AgentRequest, answer: Answer, by: Answerer, known?: PendingRequest): void {
    const { id, question } = known ?? this.newRequest(source, null);
    if (!known) this.host.note('asks', `${id} ${describeQuestion(question, this.host.cwd)}`);
    this.record(id, question.type, by, describeAnswer(question, answer));
    void this.send(id, source, answer);
  }

  private newRequest(source: AgentRequest, timeoutMs: number | null): PendingRequest {
    const askedAt = this.host.now();
    const question = shownQuestion(source.question);
    return { id: `r${++this.count}`, question, askedAt, expiresAt: timeoutMs === null ? null : askedAt + timeoutMs };
  }

  private ask(source: AgentRequest, pending: PendingRequest, isNew: boolean): void {
    const { id, expiresAt } = pending;
    this.open.set(id, { pending, source });
    if (isNew) this.host.note('asks', `${id} ${describeQuestion(pending.question, this.host.cwd)}`);
    const timeoutMs = expiresAt === null ? null : Math.max(0, expiresAt - this.host.now());
    const waits = this.host.onOpened(id, source.turnId);
    // An unanswered request would hang the agent.
    if (!waits) void this.answer(id, declined, 'stop');
    else if (timeoutMs !== null) this.limits.set(id, timeoutMs, () => void this.answer(id, declined, 'timeout'));
  }

  /** Answers a pending request; resolves to whether the agent still waited for it. */
  async answer(id: string, answer: Answer, by: Answerer): Promise<boolean> {
    const request = this.open.get(id);
    if (!request) return false;
    this.close(id, by, describeAnswer(request.pending.question, answer));
    const sent = this.send(id, request.source, answer);
    // It ends the turn: what else the turn asks would be answered too late, and be told as answered (seen with 0.169.0).
    if (answer.kind === 'decision' && answer.decision === 'cancel') this.declineAll();
    return sent;
  }

  private declineAll(): void {
    for (const id of [...this.open.keys()]) void this.answer(id, declined, 'stop');
  }

  /** The agent is done with the request that it knows by this key: it has the answer, or waits for none any more. */
  resolved(key: string): void {
    this.sent.get(key)?.settle(true);
    this.unsure.delete(key);
    for (const [id, { source }] of this.open) if (source.key === key) this.withdraw(id, 'codex');
  }

  /** Ends a pending request without an answer. */
  withdraw(id: string, by: Answerer): void {
    this.close(id, by, withdrawn);
  }

  withdrawAll(by: Answerer): void {
    for (const id of [...this.open.keys()]) this.withdraw(id, by);
  }

  /** The agent waits for no answer any more, so what is on its way comes too late. */
  abandonAnswers(): void {
    for (const { id, settle } of [...this.sent.values()]) {
      settle(false);
      this.host.note('warning', `the answer to ${id} reached Codex too late`);
    }
  }

  dispose(): void {
    this.limits.dispose();
  }

  private close(id: string, by: Answerer, outcome: string): void {
    const request = this.open.get(id);
    if (!request) return;
    this.open.delete(id);
    this.limits.clear(id);
    this.record(id, request.pending.question.type, by, outcome);
    this.host.onClosed(id);
  }

  private record(id: string, type: RequestType, by: Answerer, said: string): void {
    const outcome = redact(said);
    this.kept = [...this.kept, { id, type, by, outcome, answeredAt: this.host.now() }].slice(-answersKept);
    this.host.note('answer', `${id} ${describeAnswerer(by)}: ${outcome}`);
  }

  private send(id: string, source: AgentRequest, answer: Answer): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = (inTime: boolean): void => {
        clearTimeout(timer);
        this.sent.delete(source.key);
        resolve(inTime);
      };
      // An answer that is not confirmed stays known, so that the end of the turn still finds it.
      const timer = setTimeout(() => resolve(true), confirmLimitMs).unref();
      this.sent.set(source.key, { id, settle });
      source.answer(meantAnswer(source.question, answer));
    });
  }
}
