import { redact } from '../base/redaction';
import { firstLine } from './boundedText';
import { describeQuestion } from './describeRequest';
import { CallError, type TaskError, taskErrorOf } from './errors';
import { type Answer, type Answerer, declined, type PendingRequest } from './pendingRequest';
import type { AgentRequest, AgentThread, StoredTask, ThreadSink, TurnInput, Unsaid, WorkerSettings } from './ports';
import {
  continuation,
  continueQuestion,
  interrupted,
  isCrash,
  isUsedUp,
  reopenQuestion,
  restoredState,
  resumptionOf,
} from './recovery';
import { TaskPast } from './taskPast';
import { UnsaidMessages } from './unsaid';
import { timeOf } from './usageLimits';
import { TaskDetails } from './taskDetails';
import { type EndingHost, TaskEnding } from './taskEnding';
import { acceptOnce, GatedRequests } from './gatedRequests';
import type { InnerGate } from './innerGate';
import { type RecoveryHost, TaskRecovery } from './taskRecovery';
import { type RequestsHost, TaskRequests } from './taskRequests';
import type { TaskEvent } from './taskEvent';
import type { TaskId } from './taskId';
import type { TaskSnapshot, TaskType } from './taskSnapshot';
import {
  isTerminal,
  isTerminalStatus,
  reduce,
  type StateEvent,
  statusOf,
  type StopReason,
  type TaskState,
} from './taskState';
import { type LogEntry, Transcript } from './transcript';

/** What a task is made of and never changes. */
export interface TaskSpec extends Pick<
  TaskSnapshot,
  'id' | 'title' | 'labels' | 'cwd' | 'sandbox' | 'approvalPolicy' | 'dependsOn' | 'spawnedBy'
> {
  readonly type: TaskType;
  readonly firstTurn: TurnInput;
  readonly keepAliveMs: number;
}

export const deliveryModes = ['auto', 'steer', 'queue'] as const;
export type DeliveryMode = (typeof deliveryModes)[number];
export type Delivery = 'steered' | 'queued' | 'new_turn';

type TaskSettings = Pick<WorkerSettings, 'requestTimeoutMs' | 'idleTimeoutMs' | 'recovery' | 'usageLimit'>;

/** What a task needs from its owner, and tells it. */
export interface TaskParts {
  readonly observer: TaskObserver;
  readonly now: () => number;
  readonly settings: TaskSettings;
  readonly beginning: TaskBeginning;
  readonly gate: InnerGate;
  /** Whether the task may start a turn by itself: trust and settings change while it runs. */
  readonly mayRun: () => boolean;
  /** When the account's plan can be used again, in ms since the epoch; null when that is not known. */
  readonly planReset: () => number | null;
}

/** How a task comes to its thread and its first turn. */
export interface TaskBeginning {
  open(sink: ThreadSink): Promise<AgentThread>;
  /** The first turn as it can be started now; throws when it must not be. */
  prepare(): Promise<TurnInput>;
}

export interface TaskObserver {
  onChange(task: Task, statusChanged: boolean): void;
  onLog(task: Task, entry: LogEntry): void;
  onRaw(task: Task, json: string, position: number | null): void;
  onUnsaid(task: Task, unsaid: Unsaid): void;
  onAnswered(task: Task): void;
  /** Resolves when everything that was told is kept, or cannot be. */
  settled(): Promise<unknown>;
}

function stopNote(reason: StopReason): [tag: string, text: string] {
  return reason.kind === 'cancelled'
    ? ['cancelled', 'the task is stopped']
    : ['failed', `${reason.error.code}: ${reason.error.message}`];
}

function declinedText({ rule, reason }: { readonly rule: string; readonly reason: string }): string {
  return `The policy of this machine declined that (rule "${rule}"): ${reason} Do not try it in another way; go on without it.`;
}

const openTries = 3;
/** A plan whose reset is not known is tried again after this time, in ms. */
const limitAgainMs = 900_000;

/**
 * One background job: its state, its thread, and what it did. Everything that changes the state goes through `move`,
 * and what ends the task goes through `end`, which waits for the evidence that nothing of it is alive.
 */
export class Task implements ThreadSink {
  private state: TaskState = { kind: 'submitted' };
  private readonly details = new TaskDetails();
  private readonly transcript = new Transcript();
  private readonly requests: TaskRequests;
  private readonly recovery: TaskRecovery;
  private readonly ending: TaskEnding;
  private readonly gated: GatedRequests;
  private readonly unsaid: UnsaidMessages;
  private latest: TaskSnapshot | null = null;
  private thread: AgentThread | null = null;
  private turns = 0;
  private model: string | null;
  private reasoning: string | null;
  private startedAt: number | null = null;
  private endedAt: number | null = null;
  private updatedAt: number;
  private createdAt: number;

  readonly spec: TaskSpec;
  private readonly parts: TaskParts;
  private heldBy: string | null = null;
  private suspended = false;
  private leftOpen = false;
  private unansweredCall: string | null = null;
  private forgotten = false;
  /** Set while the past of an earlier run is heard. */
  private past: TaskPast | null = null;
  /** When it was to go on by itself, in an earlier run. */
  private goesOnAt: number | null = null;
  /** It is not known yet how the task stands. */
  private restoring = false;

  constructor(spec: TaskSpec, parts: TaskParts) {
    this.spec = spec;
    this.parts = parts;
    this.requests = new TaskRequests(this.requestsHost());
    this.ending = new TaskEnding(this.endingHost());
    this.gated = new GatedRequests(parts.gate, spec);
    this.recovery = new TaskRecovery(this.recoveryHost());
    this.unsaid = new UnsaidMessages((unsaid) => parts.observer.onUnsaid(this, unsaid));
    this.createdAt = this.updatedAt = parts.now();
    this.model = spec.firstTurn.model;
    this.reasoning = spec.firstTurn.reasoning;
  }

  get id(): TaskId {
    return this.spec.id;
  }

  get terminal(): boolean {
    return isTerminal(this.state);
  }

  /** Says what a task that has not started waits for; null when it starts. */
  hold(reason: string | null): void {
    if (this.heldBy === reason) return;
    this.heldBy = reason;
    this.changed(false);
  }

  /** A call made it, whose repetition has to find it again until its caller has the answer. */
  spawnedIn(call: string | null): void {
    this.unansweredCall = call;
    this.latest = null;
  }

  /** The caller that spawned it has the answer. */
  answered(): void {
    if (this.unansweredCall === null || this.suspended) return;
    this.unansweredCall = null;
    this.latest = null;
    this.parts.observer.onAnswered(this);
  }

  /** Opens the thread and starts the first turn. Never rejects: trouble ends the task as failed. */
  async start(): Promise<void> {
    this.hold(null);
    try {
      const firstTurn = await this.parts.beginning.prepare();
      // It may have been stopped, or forgotten, meanwhile.
      if (this.hasStarted()) return;
      this.thread = await this.openThread();
      if (this.forgotten) this.thread.dispose();
      this.model = this.spec.firstTurn.model ?? this.thread.model;
      this.reasoning = this.spec.firstTurn.reasoning ?? this.thread.reasoning;
      if (this.hasStarted()) await this.thread.settle();
      else await this.startTurn(firstTurn);
    } catch (error) {
      await this.fail(taskErrorOf(error));
    }
  }

  /** Whether its first turn was requested, or it was stopped before. */
  private hasStarted(): boolean {
    return this.state.kind !== 'submitted';
  }

  /** An agent that dies before the thread has done anything costs nothing: it is opened again. */
  private async openThread(): Promise<AgentThread> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.parts.beginning.open(this);
      } catch (error) {
        const again = isCrash(error) && attempt < openTries && !this.hasStarted();
        if (!again) throw error;
        this.note('warning', 'Codex stopped while the thread was made; it is made again.');
      }
    }
  }

  /**
   * Says something to the task: steers its active turn, or starts its next one, or queues it until its turn is over.
   * Throws `not_active` for a steer without a turn.
   */
  async deliver(input: TurnInput, mode: DeliveryMode): Promise<Delivery> {
    if (mode !== 'queue' && (await this.steer(input.text))) return 'steered';
    if (mode === 'steer') {
      throw new CallError('not_active', `Task ${this.id} has no active turn to steer.`, {
        hint: 'Use mode auto or queue to start its next turn.',
      });
    }
    await this.ending.underWay;
    if (!this.terminal) {
      this.enqueue(input);
      return 'queued';
    }
    this.followUp(input);
    return 'new_turn';
  }

  /**
   * Takes over a task of an earlier run, as far as its files tell. `adopt` gives its thread, and lets us hear the past of
   * one that was at work; what nobody heard comes next, and `caughtUp` last.
   */
  async restore(
    { snapshot: task, unsaid, lostMessages }: StoredTask,
    adopt: (sink: ThreadSink) => Promise<AgentThread> | null,
  ): Promise<void> {
    const past = isTerminalStatus(task.status) ? null : new TaskPast();
    this.past = past;
    this.thread = await adopt(this);
    this.past = null;
    this.turns = Math.max(task.turns, past?.turns ?? 0);
    this.createdAt = task.createdAt;
    this.unansweredCall = task.unansweredCall;
    this.startedAt = task.startedAt;
    this.endedAt = task.endedAt;
    this.model = task.model;
    this.reasoning = task.reasoning;
    this.ending.restore(task.leftovers);
    if (!past?.heard) this.details.restore(task);
    this.requests.restore(task.answers, task.pending);
    this.goesOnAt = resumptionOf(task.pending);
    // What was said in a turn that began is in the past; the files of one flush are not written at once.
    const hasBegun = past?.turnId !== null || past.turns > task.turns;
    const next = hasBegun ? null : unsaid.next;
    this.unsaid.restore({ ...unsaid, next });
    this.updatedAt = task.updatedAt;
    this.state = restoredState(task, past, next !== null);
    this.restoring = !this.terminal;
    this.latest = null;
    if (lostMessages > 0)
      this.note(
        'warning',
        `${lostMessages} messages were not said yet and held a secret, which is not kept: say them again`,
      );
  }

  /** Everything that was said about a restored task is known: it goes on where it is, or somebody decides how. */
  async caughtUp(): Promise<void> {
    if (!this.restoring || this.suspended) return;
    this.restoring = false;
    const isAlive = this.thread?.active === true;
    if (isAlive && !this.terminal) this.requests.release((source, known) => this.ask(source, known));
    else this.requests.drop();
    this.changed(true);
    switch (this.state.kind) {
      case 'working':
      case 'input_required':
        this.recovery.signOfLife();
        if (!isAlive) await this.recovery.recover(interrupted, reopenQuestion);
        return;
      case 'settling':
        this.afterTurn();
        return;
      case 'stopping':
        return this.ending.run(() => this.thread?.stop());
      case 'submitted':
      case 'completed':
      case 'failed':
      case 'cancelled':
    }
  }

  /** The worker goes away, and the task shall be taken over later: nothing changes any more. */
  freeze(outlives: boolean): void {
    if (this.suspended) return;
    this.suspended = true;
    this.leftOpen = outlives;
    this.requests.dispose();
    this.recovery.dispose();
  }

  /** Ends what runs of a frozen task, because its agent ends with us. */
  async interrupt(): Promise<void> {
    if (!this.terminal) await this.ending.tryOnce(() => this.thread?.stop());
  }

  /** Starts the turn that never began, or one that continues the interrupted one. */
  private async goOn(error: TaskError): Promise<void> {
    if (this.turns > 0) return this.startTurn(this.unsaid.unbegun ?? continuation(this.spec.firstTurn, error));
    try {
      const firstTurn = await this.parts.beginning.prepare();
      // A thread without a turn is not kept by Codex (seen with 0.169.0).
      this.thread?.dispose();
      this.thread = await this.openThread();
      await this.startTurn(firstTurn);
    } catch {
      await this.fail(error);
    }
  }

  private dropQueue(): void {
    for (const { text } of this.unsaid.drop())
      this.note('warning', `a queued message was dropped: ${firstLine(text, 200)}`);
  }

  private get activeTurn(): boolean {
    return (this.state.kind === 'working' && this.state.turnId !== null) || this.state.kind === 'input_required';
  }

  /** False when there is no active turn, or it ended before the text reached it. */
  private async steer(text: string): Promise<boolean> {
    if (!this.activeTurn || !this.thread) return false;
    return this.thread.steer(text);
  }

  private enqueue(input: TurnInput): void {
    this.unsaid.enqueue(input, this.id);
    this.changed(false);
  }

  private followUp(input: TurnInput): void {
    if (!this.thread) {
      throw new CallError('not_active', `Task ${this.id} never got a thread, so it cannot go on.`, {
        hint: 'Spawn a new task.',
      });
    }
    void this.startTurn(input);
  }

  /** Ends the task for `reason`. Resolves when no process of it is alive; a terminal task stays as it is. */
  async stop(reason: StopReason): Promise<void> {
    // A task that is settling has its own end under way: the stop joins it, and leaves its outcome alone. Any other is
    // stopped at once, before somebody answers what it asks.
    if (this.ending.underWay) await this.ending.underWay;
    this.dropQueue();
    if (this.terminal) return;
    this.note(...stopNote(reason));
    this.move({ type: 'stopRequested', reason });
    this.requests.withdrawAll('stop');
    await this.ending.run(() => this.thread?.stop());
  }

  fail(error: TaskError): Promise<void> {
    return this.stop({ kind: 'failed', error: { ...error, message: redact(error.message) } });
  }

  /** Answers a pending request of this task; resolves to whether Codex still waited for it. */
  answer(requestId: string, answer: Answer, by: Answerer): Promise<boolean> {
    return this.requests.answer(requestId, answer, by);
  }

  onEvent(event: TaskEvent): void {
    if (this.suspended || this.forgotten) return;
    if (this.past) {
      this.past.hear(event);
      // What another turn asked is over.
      if (event.type === 'turnStarted' || event.type === 'turnCompleted') this.requests.forgetUnsure();
      this.details.apply(event);
      this.transcript.entry(event);
      return;
    }
    this.latest = null;
    this.recovery.signOfLife();
    this.details.apply(event);
    this.log(this.transcript.entry(event));
    switch (event.type) {
      case 'turnStarted':
        this.turnStarted(event.turnId);
        break;
      case 'turnCompleted':
        this.turnCompleted(event);
        break;
      case 'workResumed':
        this.worksAgain({ type: 'turnRequested' });
        break;
      case 'model':
        this.model = event.model;
        this.changed(false);
        break;
      default:
        this.changed(false);
    }
  }

  onRequest(source: AgentRequest): void {
    if (this.suspended) {
      // A program that outlives us asks the next one again.
      if (!this.leftOpen) source.answer(declined);
      return;
    }
    if (this.past || this.restoring) {
      this.requests.keep(source);
      return;
    }
    this.recovery.signOfLife();
    this.ask(source);
  }

  /** What the rules decide is answered at once; everything else waits for somebody. */
  private ask(source: AgentRequest, known?: PendingRequest): void {
    const verdict = this.gated.judge(source.question);
    const guarded = this.gated.guarded(source);
    switch (verdict.kind) {
      case 'accept':
        this.requests.decide(source, acceptOnce, 'policy', known);
        break;
      case 'session':
        this.requests.decide(source, acceptOnce, 'person', known);
        break;
      case 'decline':
        this.requests.decide(source, declined, 'policy', known);
        this.note('policy', `rule "${verdict.rule}": ${verdict.reason}`);
        // Codex tells the model only that it was declined.
        void this.thread?.steer(declinedText(verdict)).catch(() => false);
        break;
      case 'person':
      case 'silent':
        this.requests.put(guarded, this.parts.settings.requestTimeoutMs(), {
          heldBy: verdict.kind === 'person' ? verdict.rule : undefined,
          known,
        });
    }
  }

  onRequestResolved(key: string): void {
    if (!this.suspended) this.requests.resolved(key);
  }

  onRaw(json: string, position: number | null): void {
    if (!this.suspended && !this.forgotten) this.parts.observer.onRaw(this, json, position);
  }

  onLost(error: TaskError): void {
    // A task that is being restored looks for itself whether its thread is there.
    if (this.suspended || this.restoring) return;
    this.requests.abandonAnswers();
    this.requests.withdrawAll('codex');
    void this.recovery.recover(error, continueQuestion);
  }

  /** Gives the thread back: the task is forgotten. */
  dispose(): void {
    this.forgotten = true;
    this.requests.dispose();
    this.recovery.dispose();
    this.thread?.dispose();
  }

  /** Adds a line of ours to the task's log. */
  note(tag: string, text: string): void {
    this.log(this.transcript.notice(tag, redact(text)));
  }

  /** The same object until something changes. */
  snapshot(): TaskSnapshot {
    this.latest ??= this.takeSnapshot();
    return this.latest;
  }

  private takeSnapshot(): TaskSnapshot {
    const { spec, details } = this;
    return {
      id: spec.id,
      status: statusOf(this.state),
      stopping: this.state.kind === 'stopping' || this.state.kind === 'settling',
      stopReason: this.state.kind === 'stopping' ? this.state.reason : null,
      title: spec.title,
      labels: spec.labels,
      type: spec.type,
      cwd: spec.cwd,
      sandbox: spec.sandbox,
      approvalPolicy: spec.approvalPolicy,
      dependsOn: spec.dependsOn,
      model: this.model,
      reasoning: this.reasoning,
      spawnedBy: spec.spawnedBy,
      unansweredCall: this.unansweredCall,
      threadId: this.thread?.id ?? null,
      gated: this.thread?.gated ?? false,
      turns: this.turns,
      createdAt: this.createdAt,
      startedAt: this.startedAt,
      endedAt: this.endedAt,
      updatedAt: this.updatedAt,
      activity: this.activity(),
      heldBy: this.state.kind === 'submitted' ? this.heldBy : null,
      usage: details.usage,
      plan: details.plan,
      items: details.workItems,
      changedFiles: details.changedFiles,
      outputTail: details.outputTail,
      finalMessage: details.finalMessage,
      lastCommand: details.lastCommand,
      diff: details.diff,
      pending: this.requests.pending,
      answered: this.requests.answers.at(-1) ?? null,
      answers: this.requests.answers,
      queuedMessages: this.unsaid.queued,
      error: this.state.kind === 'failed' ? this.state.error : null,
      leftovers: this.ending.leftovers,
    };
  }

  private activity(): string {
    switch (this.state.kind) {
      case 'submitted':
        return this.heldBy ?? 'starting';
      case 'working':
        return this.details.activity || 'starting';
      case 'input_required': {
        const [first] = this.requests.pending;
        const goesOnAt = resumptionOf(this.requests.pending);
        if (goesOnAt !== null) return `paused, goes on ${timeOf(goesOnAt, this.parts.now())}`;
        return first ? firstLine(`asks to ${describeQuestion(first.question, this.spec.cwd)}`, 80) : 'needs an answer';
      }
      case 'settling':
        return 'finishing';
      case 'stopping': {
        const [left] = this.ending.leftovers;
        return left ? `stopping: process ${left.pid} is still alive` : 'stopping';
      }
      case 'completed':
      case 'failed':
      case 'cancelled':
        return '';
    }
  }

  private async startTurn(input: TurnInput): Promise<void> {
    const { thread } = this;
    if (!thread) throw new Error(`Task ${this.id} starts a turn without a thread.`);
    this.model = input.model ?? this.model;
    this.reasoning = input.reasoning ?? this.reasoning;
    this.unsaid.begins(input);
    this.move({ type: 'turnRequested' });
    this.recovery.signOfLife();
    try {
      // Whoever comes after us must know that it may have begun: it is never begun twice.
      await this.parts.observer.settled();
      if (!this.isWorking() || this.suspended) return;
      await thread.startTurn(input);
    } catch (error) {
      // A stop that came in between has the last word; a crash is told by the thread, too.
      if (this.isWorking() && !isCrash(error)) await this.fail(taskErrorOf(error));
    }
  }

  private isWorking(): boolean {
    return this.state.kind === 'working';
  }

  private turnStarted(turnId: string): void {
    this.turns++;
    this.unsaid.begun();
    this.startedAt ??= this.parts.now();
    this.worksAgain({ type: 'turnStarted', turnId });
  }

  /** A turn starts. Nothing but a message makes a cancelled task work again: one that Codex starts is stopped too. */
  private worksAgain(event: StateEvent): void {
    const wasCancelled = this.state.kind === 'cancelled';
    this.move(event);
    if (wasCancelled) void this.stop({ kind: 'cancelled' });
  }

  private turnCompleted(event: TaskEvent & { type: 'turnCompleted' }): void {
    this.requests.abandonAnswers();
    this.requests.withdrawAll('stop');
    this.requests.drop();
    if (event.outcome === 'interrupted') this.dropQueue();
    this.move(event);
    // More may have been said that nobody heard: how it goes on is decided when all is known.
    if (!this.restoring) this.afterTurn();
  }

  private afterTurn(): void {
    if (this.state.kind !== 'settling') return;
    const { ending } = this.state;
    if (ending.kind === 'failed' && isUsedUp(ending.error) && this.parts.settings.usageLimit() === 'wait') {
      this.waitForPlan(ending.error);
      return;
    }
    const next = this.unsaid.take();
    if (next) void this.startTurn(next);
    else void this.ending.run(() => this.thread?.settle());
  }

  private waitForPlan(error: TaskError): void {
    const goesOnAt = this.parts.planReset() ?? this.goesOnAt ?? this.parts.now() + limitAgainMs;
    this.goesOnAt = null;
    this.move({ type: 'turnRequested' });
    void this.recovery.pause(error, goesOnAt);
  }

  private endingHost(): EndingHost {
    return {
      turns: () => this.turns,
      isSettling: () => this.state.kind === 'settling',
      note: (tag, text) => this.note(tag, text),
      onLeftoversChanged: () => (this.latest = null),
      onEnded: () => {
        // A turn that Codex started meanwhile keeps its requests.
        if (this.state.kind === 'settling' || this.state.kind === 'stopping') this.requests.withdrawAll('stop');
        this.move({ type: 'ended' });
      },
    };
  }

  private requestsHost(): RequestsHost {
    return {
      cwd: this.spec.cwd,
      now: this.parts.now,
      note: (tag, text) => this.note(tag, text),
      onOpened: (requestId, turnId) => {
        this.move({ type: 'requestOpened', requestId, turnId });
        return this.state.kind === 'input_required';
      },
      onClosed: (requestId) => {
        // The state knows only of requests that it waits for; the snapshot tells all of them.
        if (!this.move({ type: 'requestClosed', requestId })) this.changed(true);
      },
    };
  }

  private recoveryHost(): RecoveryHost {
    return {
      settings: this.parts.settings,
      isWorking: () => this.isWorking(),
      mayGoOn: () => this.parts.mayRun(),
      put: (request, timeoutMs) => this.requests.put(request, timeoutMs),
      withdraw: (requestId) => this.requests.withdraw(requestId, 'codex'),
      resolved: (key) => this.requests.resolved(key),
      now: this.parts.now,
      isPending: (id) => this.requests.pending.some((one) => one.id === id),
      clearAway: async (reason) => {
        this.note('warning', reason);
        this.details.closeOpenItems();
        await this.ending.tryOnce(() => this.thread?.settle());
      },
      goOn: (error) => this.goOn(error),
      fail: (error) => this.fail(error),
      cancel: () => this.stop({ kind: 'cancelled' }),
    };
  }

  /** Whether the state changed. */
  private move(event: StateEvent): boolean {
    const before = this.state;
    this.state = reduce(before, event);
    if (this.state === before) return false;
    this.endedAt = this.terminal ? this.parts.now() : null;
    this.changed(true);
    return true;
  }

  private changed(statusChanged: boolean): void {
    this.latest = null;
    if (this.suspended) return;
    this.updatedAt = this.parts.now();
    this.parts.observer.onChange(this, statusChanged);
  }

  private log(entry: LogEntry): void {
    if (!this.suspended) this.parts.observer.onLog(this, entry);
  }
}
