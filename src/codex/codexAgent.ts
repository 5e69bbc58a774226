import { setTimeout as delay } from 'node:timers/promises';
import { firstLine } from '../core/boundedText';
import { BoundedMap } from '../core/boundedMap';
import { type Disposable, DisposableStore } from '../core/disposable';
import { Emitter } from '../core/emitter';
import { CallError, messageOf } from '../core/errors';
import { type InnerGate, noInnerGate } from '../core/innerGate';
import { type Answer, declined, type RequestQuestion } from '../core/pendingRequest';
import type { AgentThread, Log, ModelInfo, RawLine, Sandbox, ThreadSink, ThreadSpec } from '../core/ports';
import type { UsageWindow } from '../core/usageLimits';
import { signalProcess } from '../process/killTree';
import { processTable } from '../process/processTable';
import type { ServerHost } from '../process/serverProcess';
import { TaskProcesses } from '../process/taskProcesses';
import { AppServer, type Connection, unavailable } from './appServer';
import { accountKey } from './codexAccount';
import { CodexThread } from './codexThread';
import { gatedSetup } from './gatedThreads';
import { declinedReason, gateMark, gateMethod, refusedParams } from '../execGate/gateProtocol';
import { MountPoints } from './mountPoints';
import { isKnown, mapNotification } from './eventMapper';
import type { CodexBinary } from './findCodex';
import {
  accountResult,
  configWarningParams,
  mcpStartupParams,
  modelListResult,
  noticeParams,
  rateLimitsParams,
  type RequestId,
  requestResolvedParams,
  statusParams,
  threadIdSchema,
  turnCompletedParams,
} from './protocol';
import { type CodexQuestion, questionOf } from './codexRequests';
import type { Notification } from './threadText';
import { methodNotFound, parseMessage, type RpcAnswer, type ServerRequest } from './rpc';
import { isSandboxRefusal, probeSandbox } from './sandboxProbe';
import { assertDoorsOutside } from './writableRoots';

export interface CodexAgentOptions {
  readonly locate: () => Promise<CodexBinary>;
  readonly host: ServerHost;
  readonly log: Log;
  /** Version of this worker, told to Codex. */
  readonly version: string;
  /** The rules for what happens inside tasks. */
  readonly gate?: InnerGate;
  /** Whether everything in its threads is asked: then its host has to give a server behind the gate. */
  readonly gated?: boolean;
  /** Added to the environment of the server. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Where programs that Codex starts find the worker. */
  readonly stateDir?: string;
  /** No sandboxed command may write there; null when there is no such directory. */
  readonly doorsDir?: string | null;
  /** Whether a task may start tasks, and so has our own server where the person configured it. */
  readonly mayNest?: (taskId: string) => boolean;
  /** A process of a task was found; see `ProcessRegistry`. */
  readonly onProcess?: (key: string) => void;
  /** More configuration for each thread, by dotted key. */
  readonly threadConfig?: Readonly<Record<string, unknown>>;
  /** Tools of this client that the model may call. */
  readonly dynamicTools?: readonly unknown[];
  /** How long a thread stays loaded after its turn, in ms. */
  readonly lingerMs?: number;
}

const invalidParams = -32602;
const modelPages = 10;
const probesKept = 200;
const defaultLingerMs = 250;

/** Runs tasks as threads of one shared `codex app-server`. */
export class CodexAgent implements Disposable {
  private readonly owned = new DisposableStore();
  private readonly threads = new Map<string, CodexThread>();
  private readonly server: AppServer;
  private readonly processes: TaskProcesses;
  /** Looks at whether a sandbox starts in a directory; those that found that it does, and those under way. */
  private readonly probes = new BoundedMap<string, Promise<void>>(probesKept);
  private readonly mountPoints = new MountPoints();
  private locating: Promise<CodexBinary> | null = null;
  private readonly unknownMethods = new Set<string>();
  private readonly windows = new Map<string, UsageWindow>();
  private readonly limitsEmitter = this.owned.add(new Emitter<undefined>());
  readonly onDidChangeLimits = this.limitsEmitter.event;
  private loggedIn = false;
  private readonly startingServers = new Set<string>();
  /** What the server that runs could not read of its configuration. */
  private brokenConfig: string | null = null;
  private connecting: Promise<Connection> | null = null;
  private modelList: Promise<readonly ModelInfo[] | undefined> | null = null;
  private readonly options: CodexAgentOptions;

  constructor(options: CodexAgentOptions) {
    this.options = options;
    this.server = this.owned.add(
      new AppServer({
        ...options,
        locate: () => this.binary(),
        // Without an executor nothing can run but behind the gate (seen with 0.169.0).
        env: { ...options.env, ...(options.gated ? { CODEX_EXEC_SERVER_URL: 'none' } : {}) },
        handlers: {
          onNotification: (method, params, json, position) => this.onNotification(method, params, json, position),
          onRequest: (request) => this.onRequest(request),
        },
      }),
    );
    this.owned.add(this.server.onDidExit(() => this.onExit()));
    this.processes = new TaskProcesses({
      table: processTable(),
      server: () => this.server.current ?? undefined,
      kill: signalProcess,
      onFound: options.onProcess ?? (() => undefined),
    });
  }

  async ready(sandbox: Sandbox, cwd: string): Promise<void> {
    try {
      await this.readyNow(sandbox, cwd);
    } catch (error) {
      // A broken configuration shows in many ways; what Codex says of it is the reason.
      await this.connect().catch(() => undefined);
      if (this.brokenConfig === null) await delay(configWarningMs);
      await this.assertConfig();
      throw error;
    }
    await this.assertConfig();
  }

  /** Codex goes on with defaults, which are not what the person wants. A running one keeps what it has read. */
  private async assertConfig(): Promise<void> {
    const said = this.brokenConfig;
    if (said === null) return;
    if (![...this.threads.values()].some(({ active }) => active)) await this.stop();
    throw new CallError('codex_unavailable', `The configuration of Codex is broken: ${said}`, {
      hint: 'Correct that file, then try again.',
      retryable: true,
    });
  }

  private async readyNow(sandbox: Sandbox, cwd: string): Promise<void> {
    const { gate = noInnerGate, doorsDir = null, gated = false } = this.options;
    // What its project decides may keep everything else from working.
    if (gated) await gatedSetup((await this.connect()).rpc, { cwd, environment: '' }, gate);
    const [{ rpc }] = await Promise.all([this.connect(), this.probe(sandbox, cwd)]);
    if (sandbox === 'workspace-write' && doorsDir !== null) await assertDoorsOutside(rpc, cwd, doorsDir);
    if (this.loggedIn) return;
    // Without a login a turn is accepted and then retries for 12 s to for ever (seen).
    const answer = await rpc.request('account/read', {}).catch((cause: unknown) => {
      throw unavailable(`Codex did not say whether it is logged in: ${messageOf(cause)}`, cause);
    });
    const { account, requiresOpenaiAuth } = accountResult.parse(answer);
    if (requiresOpenaiAuth && (account ?? null) === null) {
      throw new CallError('codex_not_logged_in', 'Codex is not logged in.', {
        hint: 'Ask the person to run "codex login" in a terminal, then try again.',
        retryable: true,
      });
    }
    this.loggedIn = true;
  }

  /** A server that works for the account that is logged in now: a running one keeps the account that it began with. */
  private connect(): Promise<Connection> {
    this.connecting ??= this.connectNow().finally(() => (this.connecting = null));
    return this.connecting;
  }

  private async connectNow(): Promise<Connection> {
    const connection = await this.server.connect();
    if (connection.account === (await accountKey(this.options.env ?? {}))) return connection;
    if ([...this.threads.values()].some(({ active }) => active)) throw otherAccount();
    this.options.log('info', 'Another account or CODEX_HOME is in use now, so Codex is started anew.');
    await this.stop();
    return this.server.connect();
  }

  models(): Promise<readonly ModelInfo[] | undefined> {
    this.modelList ??= this.listModels().catch((error: unknown) => {
      this.options.log('warn', `Could not list the models: ${messageOf(error)}`);
      this.modelList = null;
      return undefined;
    });
    return this.modelList;
  }

  async open(spec: ThreadSpec, sink: ThreadSink): Promise<CodexThread> {
    const thread = this.thread(spec, sink);
    await thread.open();
    this.threads.set(thread.id, thread);
    return thread;
  }

  /** A thread that leaves nothing behind and has no MCP servers, for looking at whether the gate holds. */
  async openProbe(spec: ThreadSpec, sink: ThreadSink, config: Readonly<Record<string, unknown>>): Promise<AgentThread> {
    const thread = this.thread(spec, sink, config);
    await thread.open();
    this.threads.set(thread.id, thread);
    return thread;
  }

  async adopt(
    spec: ThreadSpec,
    threadId: string,
    sink: ThreadSink,
    history: AsyncIterable<RawLine> | null,
  ): Promise<CodexThread> {
    const thread = this.thread(spec, sink);
    thread.id = threadId;
    thread.model = spec.model;
    this.threads.set(threadId, thread);
    if (!history) {
      thread.ignoreMissed();
      return thread;
    }
    for await (const line of history) this.relive(thread, line);
    thread.join(this.server.current);
    return thread;
  }

  async reattach(): Promise<boolean> {
    return (await this.server.reattach()) !== null;
  }

  async catchUp(): Promise<void> {
    await this.server.catchUp();
    for (const thread of this.threads.values()) thread.caughtUp();
  }

  detach(): Promise<boolean> {
    return this.server.detach();
  }

  get outlives(): boolean {
    return this.server.current?.keeperPid !== undefined && this.options.host.keeps;
  }

  get position(): number {
    // What is held is not kept yet.
    const held = [...this.threads.values()].map(({ order }) => order.heldFrom).filter((from) => from !== null);
    return Math.min(this.server.position, ...held.map((from) => from - 1));
  }

  acknowledge(position: number): void {
    this.server.acknowledge(position);
  }

  /** Takes one line of the past of a thread. */
  private relive(thread: CodexThread, { json, position }: RawLine): void {
    const message = parseMessage(json);
    if (!message) return;
    const { id, method, params } = message;
    // The last one counts: a clock that was set back between two keepers makes the later numbers smaller.
    thread.position = position ?? thread.position;
    if (id === undefined) this.hear(thread, { method, params }, params);
    else this.reask(thread, { id, method, params, json, position, respond: (answer) => this.respondNow(id, answer) });
  }

  private thread(
    spec: ThreadSpec,
    sink: ThreadSink,
    probe: Readonly<Record<string, unknown>> | null = null,
  ): CodexThread {
    const { threadConfig = {}, dynamicTools = [], lingerMs = defaultLingerMs } = this.options;
    const { gate = noInnerGate, gated = false } = this.options;
    const onDispose = ({ id }: CodexThread): boolean => this.threads.delete(id);
    const parts = {
      server: this.server,
      processes: this.processes,
      config: { ...threadConfig, ...probe },
      isProbe: probe !== null,
      dynamicTools,
      lingerMs,
      onDispose,
      gate,
      gated,
      startingServers: () => [...this.startingServers],
      mountPoints: this.mountPoints,
      mayNest: this.options.mayNest ?? (() => false),
    };
    return new CodexThread(spec, sink, parts);
  }

  /** Ends the server in order and its whole tree; the next task starts it again. */
  stop(): Promise<void> {
    return this.processes.endWith(() => this.server.stop());
  }

  /** Ends the server and its whole tree at once, because it does not do what it should. */
  kill(reason: string): Promise<void> {
    return this.processes.endWith(() => this.server.kill(reason));
  }

  /** The process id of the server while it runs. */
  get serverPid(): number | undefined {
    return this.server.pid;
  }

  dispose(): void {
    this.owned.dispose();
  }

  /** Once for each directory, however many wait for it: what lies in it can keep the sandbox from starting. */
  private probe(sandbox: Sandbox, cwd: string): Promise<void> {
    const key = `${sandbox} ${cwd}`;
    const known = this.probes.get(key);
    if (known) return known;
    const probe = this.binary().then(({ path }) => probeSandbox(path, sandbox, cwd, this.options.env ?? {}));
    this.probes.set(key, probe);
    probe.catch(() => this.probes.delete(key));
    return probe;
  }

  /** The program that the next server is started from; looked for once, however many wait for it. */
  binary(): Promise<CodexBinary> {
    this.locating ??= this.options.locate().finally(() => (this.locating = null));
    return this.locating;
  }

  private async listModels(): Promise<readonly ModelInfo[]> {
    const { rpc } = await this.server.connect();
    const models: ModelInfo[] = [];
    let cursor: string | null = null;
    for (let page = 0; page < modelPages; page++) {
      const result = modelListResult.parse(await rpc.request('model/list', { cursor, includeHidden: true }));
      for (const { model, supportedReasoningEfforts, isDefault } of result.data) {
        models.push({
          id: model,
          isDefault,
          reasoningEfforts: supportedReasoningEfforts.map((one) => one.reasoningEffort),
        });
      }
      cursor = result.nextCursor ?? null;
      if (cursor === null) break;
    }
    return models;
  }

  private respondNow(id: RequestId, answer: RpcAnswer): void {
    this.server.current?.rpc.respond(id, answer);
  }

  /** A request of the past for people; every other one was answered when it came. */
  private reask(thread: CodexThread, request: ServerRequest): void {
    try {
      const asked = questionOf(request, thread.openChanges);
      if (asked) ask(request, asked, thread);
    } catch {
      // It was refused when it came.
    }
  }

  private onNotification(method: string, params: unknown, json: string, position: number | null): void {
    const thread = this.threadOf(params);
    if (thread?.isOld(position)) return;
    if (method === 'mcpServer/startupStatus/updated') this.noteServer(params);
    if (method === gateMethod.refused) {
      this.noteRefused(thread, params);
      return;
    }
    if (thread) thread.order.take(() => this.tellInOrder(thread, { method, params }, { json, position }));
    else if (method === 'account/updated') this.loggedIn = false;
    else if (method === 'account/rateLimits/updated') this.setLimits(params);
    else if (warnings.has(method)) this.notice(method, params);
    else if (!isKnown(method)) this.logOnce(method, `Codex sent "${method}", which this version does not know.`);
  }

  private noteRefused(thread: CodexThread | undefined, params: unknown): void {
    const { what, reason } = refusedParams.safeParse(params).data ?? { what: 'something', reason: '' };
    this.options.log('info', `The gate refused "${what}": ${reason}`);
    const text = `The gate in front of the sandbox refused "${what}": ${reason}`;
    if (thread && reason !== declinedReason) thread.sink.onEvent({ type: 'note', level: 'warning', text });
  }

  private noteServer(params: unknown): void {
    const { name, status } = mcpStartupParams.safeParse(params).data ?? {};
    if (name === undefined) return;
    if (status === 'starting' && this.startingServers.size < startingServersLimit) this.startingServers.add(name);
    else this.startingServers.delete(name);
  }

  private notice(method: string, params: unknown): void {
    this.options.log('warn', `codex: ${warningText(params)}`);
    if (method === 'configWarning') this.brokenConfig = brokenConfigOf(params) ?? this.brokenConfig;
  }

  /** An update that leaves a window out says nothing about it. */
  private setLimits(params: unknown): void {
    const { primary, secondary } = rateLimitsParams.safeParse(params).data?.rateLimits ?? {};
    for (const [name, window] of Object.entries({ primary, secondary })) {
      if (!window) continue;
      const { usedPercent, windowDurationMins, resetsAt } = window;
      const resetsAtMs = typeof resetsAt === 'number' ? resetsAt * 1_000 : null;
      this.windows.set(name, { usedPercent, minutes: windowDurationMins ?? null, resetsAt: resetsAtMs });
      this.limitsEmitter.fire(undefined);
    }
  }

  get limits(): readonly UsageWindow[] {
    return [...this.windows.values()];
  }

  private threadOf(params: unknown): CodexThread | undefined {
    const parsed = threadIdSchema.safeParse(params);
    return parsed.success ? this.threads.get(parsed.data.threadId) : undefined;
  }

  private tellInOrder(thread: CodexThread, told: Notification, line: RawLine): void {
    // Whoever stops a turn waits for its end, and for nothing else.
    const isLooked = told.method === 'turn/completed' && !isInterrupted(told.params);
    const silent = isLooked ? thread.silentCommands() : null;
    const tell = (): void => this.tell(thread, told, line);
    if (silent) thread.order.hold(this.tellSilent(thread, silent), tell, line.position);
    else tell();
  }

  /** The end of a turn waits for what Codex did in it without a word. */
  private async tellSilent(thread: CodexThread, silent: Promise<readonly Notification[]>): Promise<void> {
    try {
      for (const told of await silent) this.tell(thread, told, { json: JSON.stringify(told), position: null });
    } catch (error) {
      this.options.log('warn', `The session file of thread ${thread.id} could not be read: ${messageOf(error)}`);
    }
  }

  private tell(thread: CodexThread, told: Notification, { json, position }: RawLine): void {
    const { method, params } = told;
    const { rests, shown } = thread.text.take(told);
    for (const rest of rests) this.tellRest(thread, rest);
    thread.sink.onRaw(shown === params ? json : JSON.stringify({ method, params: shown }), position);
    this.inform(thread, told, shown);
  }

  /** Of what streamed: it has no position of its own, and must not count as the line that ended it. */
  private tellRest(thread: CodexThread, rest: Notification): void {
    thread.sink.onRaw(JSON.stringify(rest), null);
    for (const event of this.eventsOf(rest)) thread.sink.onEvent(event);
  }

  private inform(thread: CodexThread, told: Notification, shown: unknown): void {
    // The past knows from its turns whether it worked.
    if (told.method === 'thread/status/changed') {
      const status = statusParams.safeParse(told.params).data?.status.type;
      if (status !== undefined) thread.onStatus(status);
    }
    this.hear(thread, told, shown);
  }

  /** The thread hears what Codex said, its task what is shown of it. */
  private hear(thread: CodexThread, told: Notification, shown: unknown): void {
    if (told.method === 'serverRequest/resolved') {
      const requestId = requestResolvedParams.safeParse(told.params).data?.requestId;
      if (requestId !== undefined) thread.sink.onRequestResolved(String(requestId));
      return;
    }
    const events = this.eventsOf(told);
    const shownEvents = shown === told.params ? events : this.eventsOf({ method: told.method, params: shown });
    for (const event of events) {
      thread.observe(event);
      // What keeps the sandbox from starting may be new.
      if (event.type === 'commandCompleted' && isSandboxRefusal(event.output)) this.probes.clear();
    }
    for (const event of shownEvents) thread.sink.onEvent(event);
  }

  /** Another version of Codex may say more, or say it in another shape: that is logged, never thrown. */
  private eventsOf({ method, params }: Notification): ReturnType<typeof mapNotification> & {} {
    try {
      const events = mapNotification(method, params);
      if (!events) this.logOnce(method, `Codex sent "${method}", which this version does not know.`);
      return events ?? [];
    } catch (error) {
      this.logOnce(method, `Codex sent "${method}" in a shape that this version does not know: ${messageOf(error)}`);
      return [];
    }
  }

  private logOnce(method: string, message: string): void {
    if (this.unknownMethods.has(method) || this.unknownMethods.size > 500) return;
    this.unknownMethods.add(method);
    this.options.log('warn', message);
  }

  private onRequest(request: ServerRequest): void {
    const thread = this.threadOf(request.params);
    if (thread?.isOld(request.position)) return;
    thread?.sink.onRaw(redactedJson(thread, request), request.position);
    this.askOf(thread, request);
  }

  private askOf(thread: CodexThread | undefined, request: ServerRequest): void {
    try {
      const asked = questionOf(request, thread?.openChanges ?? new Map());
      if (!asked) this.answerAlone(request, thread);
      else if (thread) ask(request, asked, thread);
      else this.declineForNobody(request, asked);
    } catch (error) {
      this.warn(`Codex asked "${request.method}" in an unknown shape, which was refused: ${messageOf(error)}`, thread);
      request.respond({ error: { code: invalidParams, message: 'The parameters have an unknown shape.' } });
    }
  }

  private declineForNobody(request: ServerRequest, { wire }: CodexQuestion): void {
    request.respond({ result: wire(declined) });
    this.warn(`Codex asked "${request.method}" for a thread that no task owns; it was declined.`, undefined);
  }

  /** Answers what is not for people: an unanswered request would hang the turn. */
  private answerAlone(request: ServerRequest, thread: CodexThread | undefined): void {
    const answer = ownAnswers[request.method]?.();
    request.respond(answer ?? { error: { code: methodNotFound, message: `Method not found: ${request.method}` } });
    if (answer && 'result' in answer && request.method === 'currentTime/read') return;
    this.warn(`Codex asked "${request.method}", which this client does not do; it was refused.`, thread);
  }

  private warn(text: string, thread: CodexThread | undefined): void {
    this.options.log('warn', text);
    thread?.sink.onEvent({ type: 'note', level: 'warning', text });
  }

  private onExit(): void {
    this.brokenConfig = null;
    this.startingServers.clear();
    this.loggedIn = false;
    this.modelList = null;
    for (const thread of this.threads.values()) {
      thread.order.release();
      thread.lost();
    }
  }
}

function isInterrupted(params: unknown): boolean {
  return turnCompletedParams.safeParse(params).data?.turn.status === 'interrupted';
}

function otherAccount(): CallError {
  return new CallError(
    'codex_unavailable',
    'Codex works for tasks that were begun with another account or CODEX_HOME than the one in use now.',
    { hint: 'Try again when those tasks have ended, or cancel them: then Codex is started anew.', retryable: true },
  );
}

function redactedJson({ text }: CodexThread, { id, method, params, json }: ServerRequest): string {
  const shown = text.redacted(params);
  return shown === params ? json : JSON.stringify({ method, id, params: shown });
}

/** Puts a question to the thread's task. */
function ask(request: ServerRequest, { turnId, question, wire, cancels }: CodexQuestion, thread: CodexThread): void {
  const key = String(request.id);
  thread.sink.onRequest({
    key,
    turnId: turnId ?? '',
    question: thread.mayEscape ? warned(question) : question,
    ...(request.method.startsWith(gateMark) ? { once: true as const } : {}),
    answer: (answer) => {
      request.respond({ result: wire(answer) });
      if (request.method === gateMethod.fileChange && isReject(answer)) tellDeclined(question, thread);
      // Codex tells that it has an answer, but not for these (seen with 0.169.0).
      if (question.type === 'dynamic_tool') thread.sink.onRequestResolved(key);
      if (!cancels && answer.kind === 'decision' && answer.decision === 'cancel') thread.cancelTurn();
    },
  });
}

const escapeWarning = 'Once it is accepted it may leave the sandbox.';

/** Says to whoever accepts it what that may let happen. */
function warned(question: RequestQuestion): RequestQuestion {
  if (question.type !== 'command_approval' && question.type !== 'file_approval') return question;
  return { ...question, reason: question.reason === null ? escapeWarning : `${question.reason} ${escapeWarning}` };
}

/** Of a change that was declined at the gate Codex tells its model only that a file could not be written (seen with 0.169.0). */
function tellDeclined(question: RequestQuestion, thread: CodexThread): void {
  const paths = question.type === 'file_approval' ? question.changes.map(({ path }) => path).join(', ') : '';
  const text = `The change of ${firstLine(paths, 500)} was not made: it was ${declinedReason}. Do not try it again in another way.`;
  void thread.steer(text).catch(() => false);
}

function isReject(answer: Answer): boolean {
  return answer.kind === 'decision' && answer.decision === 'reject';
}

/** Of no thread. */
/** Codex says what is wrong with its configuration right after its start, in ms. */
const configWarningMs = 300;
const startingServersLimit = 100;

/** The file, the line and what is wrong, where Codex could not read its configuration (seen with 0.169.0). */
function brokenConfigOf(params: unknown): string | null {
  const { summary, details, path } = configWarningParams.safeParse(params).data ?? {};
  if (path === undefined || !summary?.startsWith('Invalid configuration')) return null;
  return firstLine(details ?? path, 500);
}

const warnings = new Set(['warning', 'configWarning', 'deprecationNotice', 'error']);

/** Words of a warning, whichever of its fields hold them. */
function warningText(params: unknown): string {
  const { message, summary, details, path } = noticeParams.safeParse(params).data ?? {};
  const parts = [message ?? summary, details, path].filter((part) => typeof part === 'string' && part !== '');
  return parts.length > 0 ? parts.join(' ') : JSON.stringify(params).slice(0, 500);
}

const notOurs = (message: string) => (): RpcAnswer => ({ error: { code: -32000, message } });

const ownAnswers: Readonly<Record<string, () => RpcAnswer>> = {
  'currentTime/read': () => ({ result: { currentTimeAt: Math.floor(Date.now() / 1000) } }),
  // Only for clients that gave Codex tokens of their own, which this one never does.
  'account/chatgptAuthTokens/refresh': notOurs('This client holds no tokens; run "codex login".'),
  // Only for clients that offered it when they connected.
  'attestation/generate': notOurs('This client has no attestation.'),
  'mcpServer/elicitation/request': () => ({ result: { action: 'decline', content: null, _meta: null } }),
};
