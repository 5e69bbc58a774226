import { setTimeout as delay } from 'node:timers/promises';
import type { z } from 'zod';
import type { FileChange, TaskEvent } from '../core/taskEvent';
import { messageOf, TaskFailedError } from '../core/errors';
import type { AgentThread, ProcessSummary, StopReport, ThreadSink, ThreadSpec, TurnInput } from '../core/ports';
import { taskMarker, type TaskProcesses } from '../process/taskProcesses';
import type { InnerGate } from '../core/innerGate';
import { ThreadEnvironment } from './threadEnvironment';
import type { AppServer, Connection } from './appServer';
import { crashed } from './codexErrors';
import { withoutOwnServers } from './ownServers';
import { LineOrder } from './lineOrder';
import type { MountPoints } from './mountPoints';
import { gatedParams, stillLoaded } from './gatedThreads';
import { loadedThreadsResult, threadResult, turnResult } from './protocol';
import { invalidRequest, RpcError, RpcLostError, type RpcPeer } from './rpc';
import { Signal } from '../base/signal';
import { SilentCommands } from './silentCommands';
import { type Notification, ThreadText } from './threadText';

/** Limits of the steps of a stop, in ms; with the 1.5 s of `TaskProcesses.end` they stay below 5 s together. */
const loadLimitMs = 500;
/** A required MCP server of the person's may take its time: Codex waits as long as `startup_timeout_sec` says. */
const openLimitMs = 120_000;
const interruptLimitMs = 2_000;
const interruptEveryMs = 100;
const cleanLimitMs = 800;
const unsubscribeLimitMs = 2_000;
const resumeLimitMs = 10_000;
/** A thread that nobody listens to is unloaded after a second; see appServer.ts. */
const unloadLimitMs = 5_000;
const unloadEveryMs = 100;
const resumeTries = 20;
const resumeEveryMs = 100;

export interface ThreadParts {
  readonly server: AppServer;
  readonly processes: TaskProcesses;
  /** The rules for what happens inside tasks. */
  readonly gate: InnerGate;
  /** Whether everything in its threads is asked; then the server has no executor of its own. */
  readonly gated: boolean;
  /** More configuration for each thread, by dotted key. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Whether it leaves nothing behind, and has no MCP servers. */
  readonly isProbe: boolean;
  /** Tools of this client that the model may call; a resumed thread keeps them. */
  readonly dynamicTools: readonly unknown[];
  /** How long a thread stays loaded after its turn, in ms. Codex starts turns of its own 8 ms after one (seen). */
  readonly lingerMs: number;
  /** MCP servers of the person's that Codex is starting now. */
  readonly startingServers: () => readonly string[];
  readonly mountPoints: MountPoints;
  /** Whether a task may start tasks. */
  readonly mayNest: (taskId: string) => boolean;
  /** Nobody will use the thread any more. */
  readonly onDispose: (thread: CodexThread) => void;
}

/** One thread of the shared server, as the agent of one task. */
export class CodexThread implements AgentThread {
  id = '';
  model: string | null = null;
  reasoning: string | null = null;
  /** The patches of open file changes, because a request for their approval does not carry them. */
  readonly openChanges = new Map<string, readonly FileChange[]>();
  /** What the thread says, as others get it. */
  readonly text = new ThreadText();
  readonly order = new LineOrder();
  private readonly silent = new SilentCommands();
  /** How far the thread was heard in an earlier run. */
  position = 0;
  private readonly openCommands = new Set<string>();
  /** A command ran since the last time that no process was left. */
  private dirty = false;
  private turnId: string | null = null;
  private turnRequested = false;
  /** The turn that was requested is one of Codex's own, whose start was not seen. */
  private adopted = false;
  private readonly turnChanged = new Signal();
  /** The server that has the thread loaded and tells us of it. */
  private connection: Connection | null = null;
  /** The position at which the turn of an earlier run began. */
  private turnSince = 0;
  /** A turn ran in the server that was joined, so that the thread is loaded there. */
  private ranHere = false;
  /** Rules held when it was loaded, so that all is asked to which they may apply. */
  private loadedWithRules = false;
  /** What is off in it was told. */
  private toldOff = false;
  private unloading: Promise<unknown> = Promise.resolve();
  private loading: Promise<Connection> | null = null;
  private lingering: NodeJS.Timeout | undefined;
  private readonly spec: ThreadSpec;
  readonly sink: ThreadSink;
  private readonly parts: ThreadParts;
  /** Of a thread in which everything is asked. */
  private readonly environment: ThreadEnvironment | null;

  constructor(spec: ThreadSpec, sink: ThreadSink, parts: ThreadParts) {
    this.spec = spec;
    this.sink = sink;
    this.parts = parts;
    this.environment = parts.gated ? new ThreadEnvironment(spec) : null;
  }

  get gated(): boolean {
    return this.environment !== null;
  }

  /**
   * Whether what is accepted in it may run without its sandbox: where Codex asks for everything, it tries what the sandbox refused
   * once more without it, and does not say which is which (seen with 0.169.0).
   */
  get mayEscape(): boolean {
    const { approvalPolicy, sandbox } = this.spec;
    return !this.gated && approvalPolicy === 'untrusted' && sandbox !== 'danger-full-access';
  }

  /** Whether rules came since it was loaded, for which it has to be loaded anew. */
  get outdated(): boolean {
    return this.connection !== null && this.parts.gate.holds && !this.loadedWithRules;
  }

  /** Whether a line was heard in an earlier run already. */
  isOld(position: number | null): boolean {
    return position !== null && position <= this.position;
  }

  /** Of a task that had ended: nothing that nobody heard can be about its future. */
  ignoreMissed(): void {
    this.position = Number.MAX_SAFE_INTEGER;
  }

  /** A thread of an earlier run: the server that still has it loaded, if there is one. */
  join(connection: Connection | null): void {
    this.connection = connection;
    // The server of that turn may be gone, and another one be here.
    if (connection && this.turnSince > 0 && this.turnSince <= connection.begins) this.setTurn(null);
    this.ranHere = this.turnId !== null;
  }

  /** Everything that was missed is known: a thread that does not work any more is loaded with its next turn. */
  caughtUp(): void {
    // Nothing is said twice from here on.
    this.position = 0;
    if (this.turnId !== null && this.connection) return;
    // Where its turn ended it is still loaded, and lets go of it with what follows the turn.
    if (!this.ranHere) this.connection = null;
    this.turnRequested = false;
    for (const itemId of [...this.openCommands]) this.commandEnded(itemId);
    this.setTurn(null);
  }

  get active(): boolean {
    return this.works;
  }

  /** Makes the thread. */
  async open(): Promise<void> {
    const connection = await this.parts.server.connect();
    const { cwd, sandbox, approvalPolicy, developerInstructions, model } = this.spec;
    const { dynamicTools } = this.parts;
    const config = await this.config(connection);
    const own = {
      ...(dynamicTools.length > 0 ? { dynamicTools } : {}),
      ...(this.parts.isProbe ? { ephemeral: true } : {}),
      config,
    };
    const params = { cwd, sandbox, approvalPolicy, developerInstructions, model, ...own, ...this.environment?.params };
    const { rpc } = connection;
    // What came too late would stay loaded, with its MCP servers.
    const onLate = (result: unknown): void => {
      const threadId = threadResult.safeParse(result).data?.thread.id;
      rpc.request('thread/unsubscribe', { threadId }).catch(() => undefined);
    };
    const answer = rpc.request('thread/start', params, openLimitMs, onLate).catch((error: unknown) => {
      this.closeEnvironment(connection);
      throw this.explained(error instanceof RpcLostError && !rpc.closed ? this.tooSlow(error) : error);
    });
    const result = threadResult.parse(await answer);
    await this.bind(connection, result);
    this.id = result.thread.id;
    this.model = result.model ?? null;
    this.reasoning = result.reasoningEffort ?? null;
    await this.silent.follow(result.thread.path);
    this.connection = connection;
  }

  /** Lets the thread work in its environment; one that may not is let go of. */
  private async bind(connection: Connection, { thread, sandbox }: z.infer<typeof threadResult>): Promise<void> {
    try {
      await this.environment?.bind(connection.rpc, thread.id, sandbox);
    } catch (error) {
      connection.rpc.request('thread/unsubscribe', { threadId: thread.id }).catch(() => undefined);
      this.closeEnvironment(connection);
      throw error;
    }
  }

  private closeEnvironment({ rpc }: Connection): void {
    this.environment?.close(rpc).catch(() => undefined);
  }

  private tooSlow(cause: RpcLostError): TaskFailedError {
    const names = this.parts.startingServers().map((name) => `"${name}"`);
    const why = names.length === 0 ? '' : ` It waits for the MCP server ${names.join(', ')}.`;
    const hint =
      'Spawn the task again. Where a server of config.toml is at fault, have the person mend it or take "required" off it.';
    const message = `Codex did not begin the thread within ${openLimitMs / 1_000} s.${why}`;
    return new TaskFailedError({ code: 'internal', message, retryable: true, hint }, cause);
  }

  async startTurn(input: TurnInput): Promise<void> {
    this.turnRequested = true;
    try {
      if (this.isMounted) await this.parts.mountPoints.begin(this.spec.cwd, this.id);
      const { rpc } = await this.load();
      const result = await rpc.request('turn/start', this.turnParams(input));
      turnResult.parse(result);
    } catch (error) {
      this.turnRequested = false;
      throw this.explained(error);
    }
  }

  async steer(text: string): Promise<boolean> {
    if (this.turnId === null || !this.connection) return false;
    const params = { threadId: this.id, expectedTurnId: this.turnId, input: textInput(text) };
    try {
      await this.connection.rpc.request('turn/steer', params);
      return true;
    } catch (error) {
      // The turn ended in between.
      if (error instanceof RpcError && error.code === invalidRequest) return false;
      throw this.explained(error);
    }
  }

  async stop(): Promise<StopReport> {
    // A command's process can be there before we are told of it, and its children are told apart best while it lives.
    this.dirty = true;
    const looked = this.parts.processes.expectCommand(this.spec.taskId).catch(() => undefined);
    // A thread that works by itself may still be loading.
    if (this.loading) await this.turnChanged.until(() => this.connection !== null, loadLimitMs);
    if (this.connection) await this.interrupt(this.connection);
    // An interrupt leaves commands alive (measured), so the look above still sees them.
    await looked;
    return this.clearAway();
  }

  /** Asks for the end of the active turn, which comes as an event. Unlike a stop it insists on nothing. */
  cancelTurn(): void {
    const params = { threadId: this.id, turnId: this.turnId ?? '' };
    this.connection?.rpc.request('turn/interrupt', params, interruptLimitMs).catch((error: unknown) => {
      this.sink.onEvent({ type: 'note', level: 'warning', text: `The turn was not interrupted: ${messageOf(error)}` });
    });
  }

  async settle(): Promise<StopReport> {
    return this.clearAway();
  }

  dispose(): void {
    clearTimeout(this.lingering);
    this.unsubscribe();
    this.parts.onDispose(this);
  }

  /** What the turn that ends now did and nobody was told; null when that cannot be known. It has a limit. */
  silentCommands(): Promise<readonly Notification[]> | null {
    return this.silent.turnEnds(this.id, this.turnId ?? '', this.spec.cwd);
  }

  /** Called for each event of the thread, before its task hears of it. */
  observe(event: TaskEvent): void {
    switch (event.type) {
      case 'turnStarted':
        this.turnRequested = false;
        this.adopted = false;
        this.ranHere = true;
        this.silent.turnStarted();
        this.turnSince = this.position;
        this.setTurn(event.turnId);
        break;
      case 'turnCompleted':
        this.turnRequested = false;
        this.adopted = false;
        this.setTurn(null);
        for (const itemId of [...this.openCommands]) this.commandEnded(itemId);
        this.openChanges.clear();
        break;
      case 'commandStarted':
        this.dirty = true;
        if (!this.openCommands.has(event.itemId)) this.parts.processes.commandStarted(this.spec.taskId);
        this.openCommands.add(event.itemId);
        this.silent.commandTold(event.itemId);
        break;
      case 'commandCompleted':
        this.commandEnded(event.itemId);
        break;
      case 'filesChanging':
        this.openChanges.set(event.itemId, event.changes);
        break;
      case 'filesChanged':
        this.openChanges.delete(event.itemId);
        break;
      default:
        break;
    }
  }

  /** Called for each change of the thread's status, which the server tells also when the thread is unsubscribed. */
  onStatus(status: string): void {
    if (status === 'active' && !this.connection && !this.works && this.parts.server.current) {
      this.adopted = true;
      this.turnRequested = true;
      this.sink.onEvent({ type: 'workResumed' });
      this.load().catch(() => this.lost());
    } else if (status !== 'active' && this.adopted && this.turnId === null) {
      // Its turn ended before we could listen to it.
      const ended = { type: 'turnCompleted', turnId: '', outcome: 'completed', error: null, durationMs: null } as const;
      this.observe(ended);
      this.sink.onEvent(ended);
    }
  }

  /** The server is gone; a later turn resumes the thread in the next one. */
  lost(): void {
    const wasActive = this.works;
    clearTimeout(this.lingering);
    this.connection = null;
    this.turnRequested = false;
    this.setTurn(null);
    if (wasActive) this.sink.onLost(crashed);
  }

  private commandEnded(itemId: string): void {
    if (this.openCommands.delete(itemId)) this.parts.processes.commandEnded(this.spec.taskId);
  }

  private get isMounted(): boolean {
    return this.spec.sandbox === 'workspace-write' && process.platform === 'linux';
  }

  private get works(): boolean {
    return this.turnId !== null || this.turnRequested;
  }

  private setTurn(turnId: string | null): void {
    this.turnId = turnId;
    this.turnChanged.fire();
  }

  /** A connection that has the thread loaded. */
  private load(): Promise<Connection> {
    clearTimeout(this.lingering);
    if (this.connection) return Promise.resolve(this.connection);
    this.loading ??= this.resume().finally(() => {
      this.loading = null;
    });
    return this.loading;
  }

  private async resume(): Promise<Connection> {
    await this.unloading;
    const connection = await this.parts.server.connect();
    const config = await this.config(connection);
    const { sandbox, approvalPolicy } = this.spec;
    // What it was last loaded with was meant for that time.
    const how = { sandbox, approvalPolicy, ...(this.environment ? gatedParams : {}) };
    const result = await this.requestResume(connection, { threadId: this.id, excludeTurns: true, config, ...how });
    await this.bind(connection, result);
    await this.silent.follow(result.thread.path);
    this.connection = connection;
    this.turnChanged.fire();
    return connection;
  }

  /** Has the server let go of the thread, so that another one can have it. Throws `policy_unenforceable` when it does not. */
  async release(): Promise<void> {
    clearTimeout(this.lingering);
    this.unsubscribe();
    await this.unloading;
    const rpc = this.parts.server.current?.rpc;
    const deadline = performance.now() + unloadLimitMs;
    while (rpc && !rpc.closed && (await this.loadedThreads(rpc)).includes(this.id)) {
      if (performance.now() > deadline) throw stillLoaded();
      await delay(unloadEveryMs);
    }
    this.parts.onDispose(this);
  }

  private async loadedThreads(rpc: RpcPeer): Promise<readonly string[]> {
    return loadedThreadsResult.parse(await rpc.request('thread/loaded/list', {})).data;
  }

  /** A thread that is just being unloaded is refused: "retry after the thread is closed", some ms later (seen with 0.169.0). */
  private async requestResume({ rpc }: Connection, params: unknown): Promise<z.infer<typeof threadResult>> {
    for (let attempt = 1; ; attempt++) {
      try {
        return threadResult.parse(await rpc.request('thread/resume', params, resumeLimitMs));
      } catch (error) {
        const closing = error instanceof RpcError && error.code === invalidRequest && attempt < resumeTries;
        if (!closing) throw error;
        await delay(resumeEveryMs);
      }
    }
  }

  private async config({ rpc }: Connection): Promise<Record<string, unknown>> {
    const { cwd } = this.spec;
    const [gated, own] = await Promise.all([
      this.gatedConfig(rpc),
      this.parts.mayNest(this.spec.taskId) ? {} : withoutOwnServers(rpc, cwd),
    ]);
    return {
      [`shell_environment_policy.set.${taskMarker}`]: this.spec.taskId,
      // With goals the server starts turns by itself, 50 in 3 s (seen with 0.169.0).
      'features.goals': false,
      // A sub-agent works on a thread of its own, where nobody would see it, answer it or stop it (seen with 0.169.0).
      'features.multi_agent': false,
      // Otherwise a task whose model cannot be reached never ends (seen with 0.169.0).
      'features.unbounded_connection_retries': false,
      // Lets the model ask in any turn, not only in plan mode; it is called unstable, which is no news to a person.
      'features.default_mode_request_user_input': true,
      suppress_unstable_features_warning: true,
      // A background task can wait for the person's MCP servers; after Codex's own 1 to 2 s their tools would be missing in
      // its first turn (measured with 0.169.0).
      mcp_optional_startup_grace_ms: 10_000,
      // Otherwise the approval of an MCP tool looks like a question, which anybody may answer (seen with 0.169.0).
      'features.tool_call_mcp_elicitation': true,
      ...this.parts.config,
      ...gated,
      ...own,
    };
  }

  private async gatedConfig(rpc: RpcPeer): Promise<Readonly<Record<string, unknown>>> {
    this.loadedWithRules = this.parts.gate.holds;
    if (!this.environment) return {};
    const { config, off } = await this.environment.open(rpc, this.parts.gate, !this.parts.isProbe);
    const notes = this.toldOff || this.parts.isProbe ? [] : off;
    for (const one of notes) this.sink.onEvent({ type: 'note', level: 'info', text: `Off in this task: ${one}.` });
    this.toldOff = true;
    return config;
  }

  private turnParams(input: TurnInput): unknown {
    const { model, reasoning: effort, outputSchema } = input;
    const collaborationMode = {
      mode: 'plan',
      settings: {
        model: model ?? this.model ?? '',
        reasoning_effort: effort ?? this.reasoning,
        developer_instructions: null,
      },
    };
    return {
      threadId: this.id,
      input: textInput(input.text),
      ...this.environment?.params,
      ...(model === null ? {} : { model }),
      ...(effort === null ? {} : { effort }),
      ...(outputSchema === null ? {} : { outputSchema }),
      ...(input.planMode ? { collaborationMode } : {}),
    };
  }

  /**
   * Ends the active turn. A server that does not do it in time is killed: nothing it runs can be trusted any more. An
   * interrupt before `turn/started` is refused and the turn goes on (seen), so it is sent until it is taken. A turn that
   * starts only later is stopped then, by its task.
   */
  private async interrupt({ rpc }: Connection): Promise<void> {
    const deadline = performance.now() + interruptLimitMs;
    const left = (): number => deadline - performance.now();
    while (this.works && left() > 0) {
      const { turnId } = this;
      const params = { threadId: this.id, turnId: turnId ?? '' };
      try {
        await rpc.request('turn/interrupt', params, left());
      } catch (error) {
        if (error instanceof RpcLostError) return this.parts.server.kill(error.message);
        await this.turnChanged.until(() => this.turnId !== turnId, Math.min(interruptEveryMs, left()));
        continue;
      }
      const ended = await this.turnChanged.until(() => !this.works, left());
      if (!ended) return this.parts.server.kill('a turn did not end when it was interrupted.');
    }
  }

  /** Ends what commands left running, makes sure of it, and lets the server unload the thread. */
  private async clearAway(): Promise<StopReport> {
    const report = this.dirty ? await this.endProcesses() : nothingLeft;
    if (!this.works) this.unload();
    if (!this.works && this.isMounted && report.alive.length === 0) {
      await this.parts.mountPoints.end(this.spec.cwd, this.id);
    }
    return report;
  }

  private async endProcesses(): Promise<StopReport> {
    const params = { threadId: this.id };
    // It kills process groups; what it cannot reach is found below, so its failure is no failure of the stop.
    await this.connection?.rpc.request('thread/backgroundTerminals/clean', params, cleanLimitMs).catch(() => undefined);
    const report = await this.parts.processes.end(this.spec.taskId);
    if (report.alive.length === 0 && this.turnId === null) {
      this.dirty = false;
      this.parts.processes.forget(this.spec.taskId);
    }
    return report;
  }

  private unload(): void {
    clearTimeout(this.lingering);
    this.lingering = setTimeout(() => this.unsubscribe(), this.parts.lingerMs).unref();
  }

  private unsubscribe(): void {
    const { connection } = this;
    if (!connection || this.works) return;
    this.connection = null;
    const params = { threadId: this.id };
    this.unloading = connection.rpc.request('thread/unsubscribe', params, unsubscribeLimitMs).catch(() => undefined);
  }

  private explained(error: unknown): unknown {
    return error instanceof RpcLostError && !this.parts.server.current ? new TaskFailedError(crashed, error) : error;
  }
}

const none: readonly ProcessSummary[] = [];
const nothingLeft: StopReport = { killed: none, alive: none, unattributed: none };

function textInput(text: string): unknown {
  return [{ type: 'text', text, text_elements: [] }];
}
