import { setTimeout as delay } from 'node:timers/promises';
import { beginningOf } from '../base/wellFormed';
import { redact } from '../base/redaction';
import { isWithin } from '../base/within';
import { BoundedMap } from './boundedMap';
import { firstLine } from './boundedText';
import { Deadlines } from './deadlines';
import { type Disposable, DisposableStore } from './disposable';
import { Emitter, type Event } from './emitter';
import { CallError, invalidArgument, TaskFailedError, type TaskError } from './errors';
import { checkAnswer } from './checkAnswer';
import { findPending, tooLate } from './findPending';
import { hashOf } from './hash';
import { type InnerGate, noInnerGate } from './innerGate';
import { type CallerId, clientOf, person } from './caller';
import { callerInside, Nesting, outerTaskOf } from './nesting';
import { News } from './news';
import { allowsSomething, type Answer, type Answerer, type PendingRequest } from './pendingRequest';
import type {
  Agent,
  DamagedTask,
  DiskPaths,
  Journal,
  JournalFile,
  JournalPart,
  Log,
  Sandbox,
  StoredRequest,
  ThreadSpec,
  TurnInput,
  WorkerSettings,
} from './ports';
import {
  assertFullAccess,
  chooseModel,
  chooseSandbox,
  spawnDefaults,
  resolveCwd,
  type SpawnRequest,
  withContextFiles,
} from './spawnRequest';
import { Restoration } from './restoration';
import { Retention } from './retention';
import { Scheduler } from './scheduler';
import { type SpawnCall, SpawnCalls } from './spawnCalls';
import { type Delivery, type DeliveryMode, Task, type TaskBeginning, type TaskSpec } from './task';
import { TaskFeed } from './taskFeed';
import { newTaskId, type TaskId } from './taskId';
import { isPaused, type TaskSnapshot } from './taskSnapshot';
import { instructionsFor } from './taskTypes';
import { resetOf, type UsageWindow } from './usageLimits';
import { meantBy, shuttingDown, type WaitAbout, waitForNews, type WaitQuery, type WaitResult } from './waiting';

export interface TaskManagerOptions {
  readonly agent: Agent;
  readonly journal: Journal;
  readonly settings: WorkerSettings;
  readonly log: Log;
  /** The rules for what happens inside tasks. */
  readonly gate?: InnerGate;
  /** The person did what agents do with a tool; `args` are those that the tool would have. */
  readonly onPerson?: (tool: string, args: Readonly<Record<string, unknown>>) => void;
  readonly now?: () => number;
  /** How long a cancel waits for its evidence, in ms; default 4,800. */
  readonly stopLimitMs?: number;
  /** Called before the first task that may write: Codex marks its project as trusted (seen with 0.169.0). */
  readonly onFirstWritableTask?: ((cwd: string) => void) | undefined;
}

export interface Message {
  readonly text: string;
  readonly model?: string | undefined;
  readonly reasoning?: string | undefined;
  readonly mode: DeliveryMode;
}

export interface CancelResult {
  readonly cancelled: readonly TaskId[];
  readonly alreadyTerminal: readonly TaskId[];
  readonly notFound: readonly TaskId[];
}

export interface Respondent {
  readonly by: Answerer & ('person' | 'agent');
  readonly caller: CallerId;
}

/** All of a cancel, in ms: what an agent waits for has its evidence or its refusal within 5 s. */
const defaultStopLimitMs = 4_800;
/** A shutdown takes 3 s in all, this part of it 0.4 s where Codex is well (measured). */
const shutDownLimitMs = 1_200;
/** Codex's own limit for the input of a turn, in characters (seen: -32602 `input_too_large` above it). */
const turnInputLimit = 1_048_576;
/** Of a prompt's beginning, in which the title is; more than a line shows, so that no secret is cut short. */
const titleLimit = 4_000;
const restoreStopMs = 1_000;
const acknowledgeEveryMs = 250;

/** Owns all tasks: makes, finds, messages, stops and forgets them, and tells what happens to them. */
export class TaskManager implements Disposable {
  private readonly tasks = new Map<TaskId, Task>();
  private readonly damagedTasks = new Map<TaskId, DamagedTask>();
  private readonly news = new News();
  private readonly owned = new DisposableStore();
  private readonly keyed = new BoundedMap<string, { hash: string; task: Promise<TaskSnapshot> }>(1_000);
  private readonly calls: SpawnCalls;
  private readonly limits = this.owned.add(new Deadlines());
  private readonly retention: Retention;
  private readonly scheduler: Scheduler;
  private readonly nesting: Nesting;
  private restoring: Promise<void> | null = null;
  private hasRestored = false;
  private acknowledged = '';
  private closed = false;
  private announced = false;

  private readonly listEmitter = this.owned.add(new Emitter<undefined>());
  private readonly shutDownEmitter = this.owned.add(new Emitter<undefined>());

  /** Tasks came or went. */
  readonly onDidChangeList = this.listEmitter.event;
  readonly onDidShutDown = this.shutDownEmitter.event;

  /** What happens to the tasks; see there. */
  readonly feed: TaskFeed;
  /** Milliseconds since the epoch. */
  readonly now: () => number;

  private readonly options: TaskManagerOptions;

  constructor(options: TaskManagerOptions) {
    this.options = options;
    this.now = options.now ?? Date.now;
    this.calls = new SpawnCalls(this.now);
    this.feed = this.owned.add(new TaskFeed(options.journal, this.now));
    this.retention = this.owned.add(
      new Retention({
        journal: options.journal,
        log: options.log,
        tasks: () => [...this.tasks.values()],
        remove: (id) => void this.remove(id),
      }),
    );
    this.nesting = new Nesting(
      (id) => this.tryGet(id),
      () => options.settings.nestedTasks(),
    );
    this.scheduler = new Scheduler({
      limit: () => options.settings.maxConcurrentTasks(),
      active: () => [...this.tasks.values()].filter((task) => this.takesPlace(task)).length,
      statusOf: (id) => this.tryGet(id)?.status,
    });
    this.owned.add(this.feed.onDidChangeStatus((task) => this.onStatus(task)));
    this.owned.add(options.journal.onTrouble(({ id, message }) => this.tasks.get(id)?.note('warning', message)));
    const acknowledging = setInterval(() => void this.acknowledge(), acknowledgeEveryMs).unref();
    this.owned.add({ dispose: () => clearInterval(acknowledging) });
  }

  /**
   * A task that waits for somebody gives its place back: it may wait for hours. Once answered it goes on at once, above the
   * limit if need be, for Codex is in the middle of its turn. A paused one keeps its place: the next would be paused too.
   */
  private takesPlace(task: Task): boolean {
    if (task.terminal || this.scheduler.has(task.id)) return false;
    const snapshot = task.snapshot();
    // Whatever waits for it has the place.
    if (this.nesting.sharesPlace(snapshot)) return false;
    return snapshot.status !== 'input_required' || isPaused(snapshot);
  }

  private onStatus(task: TaskSnapshot): void {
    if (task.endedAt !== null) this.scheduler.remove(task.id);
    this.keepOrExpire(task);
    if (!this.closed) this.scheduler.look();
  }

  /**
   * Checks the request, makes its task and starts it; resolves before the task has done anything. The same idempotency
   * key with the same request gives the same task, and so does a call that repeats one whose answer got lost.
   */
  spawn(request: SpawnRequest, caller: CallerId, call?: SpawnCall): Promise<TaskSnapshot> {
    if (request.idempotencyKey !== undefined) return this.spawnKeyed(request, caller);
    return call ? this.spawnCalled(request, caller, call) : this.create(request, caller);
  }

  private async spawnCalled(request: SpawnRequest, caller: CallerId, call: SpawnCall): Promise<TaskSnapshot> {
    if (this.restoring) await this.restored();
    const hash = hashOf([caller, request]);
    const repeated = await this.calls.repeated(hash, call);
    const known = repeated === undefined ? undefined : this.tasks.get(repeated);
    const task = known ? Promise.resolve(known.snapshot()) : this.create(request, caller, hash);
    this.calls.note(hash, call, task, () => void task.then(({ id }) => this.tasks.get(id)?.answered()));
    return task;
  }

  private spawnKeyed(request: SpawnRequest, caller: CallerId): Promise<TaskSnapshot> {
    const key = `${caller}\n${request.idempotencyKey}`;
    const hash = hashOf(request);
    const known = this.keyed.get(key);
    if (known) return this.repeated(known, hash);
    const task = this.create(request, caller);
    this.keyed.set(key, { hash, task });
    // A refused request did nothing, so its key may be used again.
    task.catch(() => this.keyed.delete(key));
    return task;
  }

  private async repeated(known: { hash: string; task: Promise<TaskSnapshot> }, hash: string): Promise<TaskSnapshot> {
    if (known.hash !== hash) {
      throw invalidArgument(
        'idempotency_key: it was used before for a task with other arguments.',
        'Use a new key for a new task.',
      );
    }
    const { id } = await known.task;
    const task = this.tryGet(id);
    if (task) return task;
    throw new CallError('not_found', `idempotency_key: its task ${id} has ended and is not kept any more.`, {
      hint: 'Nothing was started. Use a new key to run it again.',
    });
  }

  /** `call` is the hash of a call whose repetition has to find the task. */
  private async create(request: SpawnRequest, caller: CallerId, call: string | null = null): Promise<TaskSnapshot> {
    const { agent, settings } = this.options;
    if (this.restoring) await this.restored();
    this.noteCaller(caller, 'spawn-task', request);
    this.nesting.assertMayWork(caller);
    const wanted = {
      sandbox: chooseSandbox(request, settings),
      approvalPolicy: request.approvalPolicy ?? settings.approvalPolicy(),
    };
    const { sandbox, approvalPolicy } = this.nesting.within(caller, wanted, request);
    this.assertMayRun(sandbox, caller);
    const cwd = await resolveCwd(request.cwd, settings.roots());
    // Read again when the task starts; what is wrong now is told now.
    assertFits(await withContextFiles(request.prompt, request.contextFiles, settings.roots()));
    for (const id of request.dependsOn ?? []) this.assertDependency(id);
    this.scheduler.assertRoom();
    await agent.ready({ sandbox, cwd, approvalPolicy });
    const choice = await this.chooseModel(request, null);
    this.assertMayRun(sandbox, caller);

    const type = request.taskType ?? 'coder';
    const id = newTaskId((taken) => this.tasks.has(taken) || this.options.journal.has(taken));
    const stored: StoredRequest = {
      prompt: request.prompt,
      contextFiles: request.contextFiles,
      developerInstructions: request.developerInstructions,
      timeoutMs: request.timeoutMs,
      keepAliveMs: request.keepAliveMs ?? settings.keepAliveMs(),
      outputSchema: request.outputSchema ?? null,
      ...choice,
    };
    const about = {
      id,
      title: firstLine(redact(beginningOf(request.prompt, titleLimit)), 80),
      labels: request.labels ?? [],
      type,
      cwd,
      sandbox,
      approvalPolicy,
      dependsOn: [...new Set(request.dependsOn ?? [])],
      spawnedBy: caller,
    };
    const task = this.make(specOf(about, stored), stored);
    this.add(task);
    task.spawnedIn(call);
    this.options.journal.saveRequest(id, stored);
    this.options.journal.saveMeta(task.snapshot());
    this.listEmitter.fire(undefined);
    if (sandbox !== 'read-only') this.announceWriting(cwd);
    this.schedule(task, stored.timeoutMs);
    // Whoever is given an id finds the task again, whatever is killed next.
    await this.options.journal.flush();
    return task.snapshot();
  }

  /** Starts a task when its turn has come. */
  private schedule(task: Task, timeoutMs: number | undefined): void {
    const { id, dependsOn } = task.spec;
    this.scheduler.add({
      id,
      dependsOn,
      sharesPlace: () => this.nesting.sharesPlace(task.spec),
      hold: (reason) => task.hold(reason),
      fail: (error) => void task.fail(error),
      start: () => {
        this.limitTime(task, timeoutMs);
        void task.start();
      },
    });
  }

  private beginningOf(spec: TaskSpec, request: StoredRequest): TaskBeginning {
    const { agent, settings } = this.options;
    return {
      open: (sink) => agent.open(threadSpecOf(spec, request), sink),
      prepare: async () => {
        if (request.isRedacted === true) throw new TaskFailedError(secretLost);
        // Much may have changed while it was queued.
        this.assertMayRun(spec.sandbox, spec.spawnedBy);
        const text = await withContextFiles(request.prompt, request.contextFiles, settings.roots());
        await agent.ready(spec);
        return { ...spec.firstTurn, text };
      },
    };
  }

  /** Brings back the tasks of earlier runs, as far as they are to be kept, and what runs of them. Calls wait for it. */
  restore(): Promise<void> {
    this.restoring ??= this.restoreNow().finally(() => {
      this.restoring = null;
      this.hasRestored = true;
    });
    return this.restoring;
  }

  /** Resolves when the tasks of earlier runs are there, as far as they can be. */
  async restored(): Promise<void> {
    if (this.restoring) await this.restoring.catch(() => undefined);
  }

  private async restoreNow(): Promise<void> {
    const { agent, journal, log } = this.options;
    await new Restoration({
      agent,
      journal,
      log,
      now: this.now,
      isClosed: () => this.closed,
      has: (id) => this.tasks.has(id),
      make: (snapshot, request) => {
        const task = this.make(specOf(snapshot, request), request);
        return { task, thread: threadSpecOf(task.spec, request) };
      },
      add: (task) => {
        const { unansweredCall } = task.snapshot();
        this.add(task);
        if (unansweredCall !== null) this.calls.restore(unansweredCall, task.snapshot());
      },
      addDamaged: (task) => this.damagedTasks.set(task.id, task),
      keepEnded: (task, leftMs) => {
        this.news.markOld(task.snapshot());
        this.retention.ended(task, leftMs);
      },
      schedule: (task, { timeoutMs }) => this.schedule(task, timeoutMs),
      isAtWork: (task, { timeoutMs }, passedMs) => this.limitTime(task, timeoutMs, passedMs),
    }).run();
    if (!this.closed) this.listEmitter.fire(undefined);
  }

  private limitTime(task: Task, timeoutMs: number | undefined, passedMs = 0): void {
    if (timeoutMs === undefined) return;
    this.limits.set(
      task.id,
      Math.max(0, timeoutMs - passedMs),
      () => void task.stop({ kind: 'failed', error: timedOut(timeoutMs) }),
    );
  }

  private noteCaller(caller: CallerId | undefined, tool: string, args: object): void {
    if (caller === person) this.options.onPerson?.(tool, { ...args });
  }

  private assertDependency(id: TaskId): void {
    if (this.tasks.has(id)) return;
    throw invalidArgument(`depends_on: there is no task "${id}".`, 'Name tasks that were spawned before this one.');
  }

  /** Whether a task is at work below a directory that was spawned at that time or before; null until tasks are restored. */
  isAtWork(dir: string, until: number): boolean | null {
    if (!this.hasRestored) return null;
    return this.snapshots().some(
      ({ cwd, createdAt, endedAt }) => endedAt === null && createdAt <= until && isWithin(dir, cwd),
    );
  }

  /** See `spawnDefaults`. */
  defaultsFor(type: unknown): Readonly<Record<string, unknown>> {
    return spawnDefaults(type, this.options.settings);
  }

  /** Says something to a task; see `Task.deliver`. */
  async message(id: TaskId, message: Message, caller: CallerId): Promise<{ task: TaskSnapshot; delivered: Delivery }> {
    if (this.restoring) await this.restored();
    this.noteCaller(caller, 'message-task', { task_id: id, ...message });
    this.nesting.assertMayWork(caller);
    this.nesting.assertReaches(caller, [id]);
    this.assertMayRun(this.find(id).spec.sandbox, caller);
    this.news.name(caller, id);
    assertFits(message.text);
    const choosesModel = message.model !== undefined || message.reasoning !== undefined;
    if (choosesModel && message.mode === 'steer') {
      throw invalidArgument(
        'model: an active turn keeps its model.',
        'Use mode queue to choose one for the next turn.',
      );
    }
    await this.options.agent.ready(this.find(id).spec);
    const choice = await this.chooseModel(message, this.find(id).snapshot().model);
    // Much may have changed since the call came.
    const task = this.find(id);
    this.assertMayRun(task.spec.sandbox, caller);
    const { planMode } = task.spec.firstTurn;
    const input: TurnInput = { text: message.text, ...choice, planMode, outputSchema: null };
    const mode = choosesModel && message.mode === 'auto' ? 'queue' : message.mode;
    const delivered = await task.deliver(input, mode);
    return { task: task.snapshot(), delivered };
  }

  /**
   * Stops running tasks side by side; resolves when no process of them is alive, within 5 seconds. Throws when one cannot
   * be ended: its task goes on ending.
   */
  async cancel(ids: readonly TaskId[], caller?: CallerId): Promise<CancelResult> {
    if (this.restoring) await this.restored();
    this.noteCaller(caller, 'cancel-task', { task_id: ids });
    if (caller !== undefined) this.nesting.assertReaches(caller, ids);
    const unique = this.withInner(ids);
    if (caller !== undefined) for (const id of unique) if (this.tasks.has(id)) this.news.name(caller, id);
    const running = unique.flatMap((id) => this.tasks.get(id) ?? []).filter((task) => !task.terminal);
    assertAllDead(await this.stopAll(running, this.options.stopLimitMs ?? defaultStopLimitMs));
    // A task that was at its end when the cancel came has the outcome of that end.
    const cancelled = running.filter((task) => task.snapshot().status === 'cancelled').map((task) => task.id);
    return {
      cancelled,
      // What is left of a damaged one was ended at the start.
      alreadyTerminal: unique.filter((id) => this.isThere(id) && !cancelled.includes(id)),
      notFound: unique.filter((id) => !this.isThere(id)),
    };
  }

  /** With a task all that it started ends, and what that started. */
  private withInner(ids: readonly TaskId[]): readonly TaskId[] {
    const isInside = (id: TaskId): boolean => this.nesting.outerOf(id).some((outer) => ids.includes(outer));
    return [
      ...new Set([
        ...ids,
        ...[...this.tasks.values()].filter((task) => !task.terminal && isInside(task.id)).map(({ id }) => id),
      ]),
    ];
  }

  /** Cancels everything of one client that has not ended; see `cancel`. */
  async cancelAllOf(client: string): Promise<void> {
    const own = this.snapshots().filter(({ spawnedBy, endedAt }) => clientOf(spawnedBy) === client && endedAt === null);
    await this.cancel(own.map(({ id }) => id));
  }

  /**
   * Answers a pending request, the only one when `requestId` is absent; resolves when Codex has the answer. The first
   * answer wins. A refused answer leaves the request open.
   */
  async respond(id: TaskId, requestId: string | undefined, answer: Answer, who: Respondent): Promise<PendingRequest> {
    if (this.restoring) await this.restored();
    this.nesting.assertReaches(who.caller, [id]);
    const task = this.find(id);
    const snapshot = task.snapshot();
    const request = findPending(snapshot, requestId);
    if (requestId === undefined && who.by === 'agent' && this.news.untold(who.caller, snapshot).length > 0) {
      throw invalidArgument(
        `request_id: request ${request.id} of task ${id} is newer than what you were told.`,
        'Call wait-task to see what it asks, or name the request.',
      );
    }
    checkAnswer(request.question, answer);
    this.noteCaller(who.caller, 'respond-task', { task_id: id, request_id: request.id, answer });
    // Going on starts a turn, like a message.
    if (request.question.type === 'recovery' && accepts(answer)) this.assertMayRun(task.spec.sandbox, who.caller);
    if (who.by === 'agent') this.assertAgentMay(answer, id, request, who.caller);
    this.news.name(who.caller, id);
    this.news.answeredBy(who.caller, id, request.id);
    if (!(await task.answer(request.id, answer, who.by))) throw tooLate(request, task.snapshot());
    return request;
  }

  async wait(query: WaitQuery): Promise<WaitResult> {
    if (typeof query.about !== 'string') this.nesting.assertReaches(query.caller, query.about);
    return waitForNews(this, this.news, query);
  }

  /** Who calls from inside the task of a thread; null when no task has it. */
  callerIn(threadId: string): CallerId | null {
    const task = this.snapshots().find((one) => one.threadId === threadId);
    return task ? callerInside(task) : null;
  }

  /** Who calls from inside a task; null when there is no such task. */
  callerInside(id: TaskId): CallerId | null {
    const task = this.tryGet(id);
    return task ? callerInside(task) : null;
  }

  /** Whether a caller may see a task: one inside a task sees what it started. */
  isInReach(id: TaskId, caller: CallerId): boolean {
    return this.nesting.reaches(caller, id);
  }

  /** Throws `policy_denied` where a caller may not. */
  assertInReach(id: TaskId, caller: CallerId): void {
    this.nesting.assertReaches(caller, [id]);
  }

  /** Whether a task may start tasks. */
  mayNest(id: TaskId): boolean {
    return this.nesting.mayNest(id);
  }

  /** The tasks that a wait of the caller is about now. */
  about(about: 'own' | 'all', caller: CallerId): readonly TaskSnapshot[] {
    return meantBy(this, this.news, { about, caller });
  }

  /** Whether a wait of the caller is about the task. */
  isAbout(about: WaitAbout, caller: CallerId, task: TaskSnapshot): boolean {
    if (typeof about !== 'string') return about.includes(task.id);
    return about === 'all' || this.news.isOwn(caller, task);
  }

  /** The pending requests of a task that a caller was not told of, oldest first. */
  untold(caller: CallerId, id: TaskId): readonly PendingRequest[] {
    const task = this.tryGet(id);
    return task ? this.news.untold(caller, task) : [];
  }

  /** How many tasks may be at work at once has changed. */
  reconsider(): void {
    if (!this.closed) this.scheduler.look();
  }

  /** How much of the account's plan is used. */
  get planLimits(): readonly UsageWindow[] {
    return this.options.agent.limits;
  }

  get onDidChangePlanLimits(): Event<undefined> {
    return this.options.agent.onDidChangeLimits;
  }

  /** Whether there is an editor in which a person can answer. */
  get personPresent(): boolean {
    return this.options.settings.personPresent();
  }

  /** Whether an agent may accept what a request asks. */
  agentMayAccept(request: PendingRequest): boolean {
    if (!allowsSomething(request.question)) return true;
    return request.heldBy === undefined && this.options.settings.agentMayApprove() === 'always';
  }

  /** Throws `not_found`, and `store_unavailable` for a damaged task. */
  get(id: TaskId): TaskSnapshot {
    return this.find(id).snapshot();
  }

  /** Undefined when there is no such task. */
  tryGet(id: TaskId): TaskSnapshot | undefined {
    return this.tasks.get(id)?.snapshot();
  }

  /** All tasks, oldest first. */
  snapshots(): readonly TaskSnapshot[] {
    return [...this.tasks.values()].map((task) => task.snapshot());
  }

  /** Tasks of earlier runs that are kept and cannot be read. */
  get damaged(): readonly DamagedTask[] {
    return [...this.damagedTasks.values()];
  }

  private isThere(id: TaskId): boolean {
    return this.tasks.has(id) || this.damagedTasks.has(id);
  }

  paths(id: TaskId): DiskPaths {
    return this.options.journal.paths(id);
  }

  /** Reads a part of a task's journal; see `Journal.read`. */
  readJournal(id: TaskId, file: JournalFile, offset: number, limit: number): Promise<JournalPart> {
    return this.options.journal.read(this.find(id).id, file, offset, limit);
  }

  /** Forgets a finished task or a damaged one, and deletes its files. Returns whether there was one. */
  remove(id: TaskId): boolean {
    if (this.damagedTasks.delete(id)) {
      this.options.journal.remove(id);
      this.listEmitter.fire(undefined);
      return true;
    }
    const task = this.tasks.get(id);
    if (!task?.terminal) return false;
    task.dispose();
    this.tasks.delete(id);
    this.limits.clear(id);
    this.retention.clear(id);
    this.news.forget(id);
    this.options.journal.remove(id);
    this.listEmitter.fire(undefined);
    this.scheduler.look();
    return true;
  }

  /**
   * Refuses new work, ends every wait, stops every task and writes what is left. Resolves to whether every task is at its
   * end; what is left of the others ends with the agent's program.
   */
  async shutDown(): Promise<boolean> {
    await this.close();
    const late = await this.stopAll([...this.tasks.values()], shutDownLimitMs);
    const { agent, journal } = this.options;
    const { heard } = agent;
    if (await journal.flush()) agent.acknowledge(heard);
    return late.length === 0;
  }

  /** The same, but leaves the tasks to be brought back: what works goes on, or is interrupted where it cannot. */
  async suspend(): Promise<void> {
    await this.close();
    const { agent, journal } = this.options;
    const { outlives, heard } = agent;
    for (const task of this.tasks.values()) task.freeze(outlives);
    if (!outlives) await Promise.all([...this.tasks.values()].map((task) => task.interrupt()));
    if (await journal.flush()) agent.acknowledge(heard);
    if (outlives) await agent.detach();
  }

  private async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.shutDownEmitter.fire(undefined);
    // What is being brought back comes to a place where it can be left.
    await Promise.race([this.restored(), delay(restoreStopMs, undefined, { ref: false })]);
  }

  /** Tells the agent's program what need not be said again to a later run. */
  private async acknowledge(): Promise<void> {
    const { agent, journal } = this.options;
    const { heard } = agent;
    if (heard === this.acknowledged || this.closed) return;
    if (!(await journal.flush())) return;
    this.acknowledged = heard;
    agent.acknowledge(heard);
  }

  dispose(): void {
    this.closed = true;
    this.owned.dispose();
  }

  private make(spec: TaskSpec, request: StoredRequest): Task {
    const { settings } = this.options;
    const mayRun = (): boolean => this.mayRun(spec);
    const beginning = this.beginningOf(spec, request);
    const gate = this.options.gate ?? noInnerGate;
    const planReset = (): number | null => resetOf(this.planLimits, this.now());
    return new Task(spec, { observer: this.feed, now: this.now, settings, mayRun, beginning, gate, planReset });
  }

  private add(task: Task): void {
    this.tasks.set(task.id, task);
    this.retention.keepWithinNumber();
  }

  /** A finished task is kept for its time; one that works again is kept until it ends. */
  private keepOrExpire({ id }: TaskSnapshot): void {
    const task = this.tasks.get(id);
    if (!task) return;
    if (!task.terminal) {
      this.retention.clear(id);
      return;
    }
    this.limits.clear(id);
    this.retention.ended(task);
  }

  private announceWriting(cwd: string): void {
    if (!this.announced) this.options.onFirstWritableTask?.(cwd);
    this.announced = true;
  }

  /** Stops tasks side by side; gives those that are not at their end in time. */
  private async stopAll(tasks: readonly Task[], limitMs: number): Promise<readonly Task[]> {
    const late = new AbortController();
    const limit = delay(limitMs, undefined, { signal: late.signal }).catch(() => undefined);
    const left = new Set(tasks);
    const stops = tasks.map((task) => task.stop({ kind: 'cancelled' }).then(() => left.delete(task)));
    await Promise.race([Promise.all(stops), limit]);
    late.abort();
    return [...left];
  }

  private async chooseModel(
    request: { readonly model?: string | undefined; readonly reasoning?: string | undefined },
    current: string | null,
  ): Promise<Pick<TurnInput, 'model' | 'reasoning'>> {
    if (request.model === undefined && request.reasoning === undefined) return { model: null, reasoning: null };
    const models = await this.options.agent.models();
    return chooseModel(request, models, this.options.settings.allowUnknownModels(), current);
  }

  private assertAgentMay(answer: Answer, id: TaskId, request: PendingRequest, caller: CallerId): void {
    // What a task started may not be given more by it.
    const isOutside = outerTaskOf(caller) === null || !allowsSomething(request.question);
    if (answer.kind !== 'rule' && (!accepts(answer) || (isOutside && this.agentMayAccept(request)))) return;
    throw new CallError('approval_required', `Only the person may accept request ${request.id} of task ${id}.`, {
      hint: 'It stays open for the person in the editor: call wait-task again. You may reject or cancel it.',
    });
  }

  private find(id: TaskId): Task {
    const task = this.tasks.get(id);
    if (task) return task;
    const damaged = this.damagedTasks.get(id);
    if (damaged) throw unreadable(damaged);
    throw new CallError('not_found', `There is no task "${id}".`, {
      hint: 'Read task:///all for the tasks there are, or call wait-task without a task_id.',
    });
  }

  private mayRun({ sandbox, spawnedBy }: TaskSpec): boolean {
    try {
      this.assertMayRun(sandbox, spawnedBy);
      return true;
    } catch {
      return false;
    }
  }

  /** What may have changed since a task was made or a call came. */
  private assertMayRun(sandbox: Sandbox, caller: CallerId): void {
    if (this.closed) throw shuttingDown();
    if (!this.options.settings.trusted()) throw notTrusted();
    // The person confirms it in the editor, each time.
    if (sandbox === 'danger-full-access' && caller !== person) assertFullAccess(this.options.settings);
  }
}

type About = Pick<
  TaskSnapshot,
  'id' | 'title' | 'labels' | 'type' | 'cwd' | 'sandbox' | 'approvalPolicy' | 'dependsOn' | 'spawnedBy'
>;

const secretLost: TaskError = {
  code: 'bad_request',
  message: 'Its prompt held a secret, which is not kept on disk, so it cannot begin after a restart.',
  retryable: true,
  hint: 'Spawn the task again. A prompt can name the file or the variable that holds a secret in its place.',
};

function specOf(about: About, { prompt, model, reasoning, outputSchema, keepAliveMs }: StoredRequest): TaskSpec {
  const { id, title, labels, type, cwd, sandbox, approvalPolicy, dependsOn, spawnedBy } = about;
  const firstTurn = { text: prompt, model, reasoning, planMode: type === 'planner', outputSchema };
  return { id, title, labels, type, cwd, sandbox, approvalPolicy, dependsOn, spawnedBy, keepAliveMs, firstTurn };
}

function threadSpecOf({ id, type, cwd, sandbox, approvalPolicy }: TaskSpec, request: StoredRequest): ThreadSpec {
  const developerInstructions = instructionsFor(type, request.developerInstructions);
  return { taskId: id, cwd, sandbox, approvalPolicy, developerInstructions, model: request.model };
}

function accepts(answer: Answer): boolean {
  switch (answer.kind) {
    case 'decision':
      return answer.decision === 'accept' || answer.decision === 'accept_for_session';
    case 'form':
      return answer.action === 'accept';
    case 'rule':
    case 'input':
    case 'tool':
      return true;
  }
}

function assertAllDead(tasks: readonly Task[]): void {
  if (tasks.length === 0) return;
  const named = tasks.map((task) => {
    const { id, leftovers } = task.snapshot();
    const processes = leftovers.map(({ pid, command }) => `process ${pid} (${beginningOf(command, 100)})`).join(', ');
    return `${id}: ${processes === '' ? 'its end is not confirmed' : processes}`;
  });
  throw new CallError('internal', `Not everything could be ended: ${named.join('; ')}.`, {
    hint: 'The task stays "working" and is tried again until nothing of it is alive: call cancel-task again, or have the person end the process.',
    retryable: true,
  });
}

function assertFits(text: string): void {
  if (text.length <= turnInputLimit) return;
  throw invalidArgument(
    `prompt: with its context files it has ${text.length} characters; Codex takes ${turnInputLimit}.`,
    'Put the text into a file in the workspace and name the file.',
  );
}

function unreadable({ id, dir }: DamagedTask): CallError {
  return new CallError('store_unavailable', `The files of task "${id}" are damaged, so it could not be brought back.`, {
    hint: `They are kept in ${dir} for the person to look at. Spawn the task again if it is still needed.`,
  });
}

function notTrusted(): CallError {
  return new CallError('workspace_not_trusted', 'This workspace is not trusted, so no task may run in it.', {
    hint: 'Ask the person to trust the workspace in the editor.',
  });
}

function timedOut(timeoutMs: number): TaskError {
  return {
    code: 'timeout',
    message: `The task did not end within its timeout_ms of ${timeoutMs}.`,
    retryable: true,
    hint: 'Look at its partial work, then send a message to go on or spawn it with a larger timeout_ms.',
  };
}
