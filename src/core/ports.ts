import type { Disposable } from './disposable';
import type { Event } from './emitter';
import type { TaskError } from './errors';
import type { Answer, RequestQuestion } from './pendingRequest';
import type { TaskEvent } from './taskEvent';
import type { TaskId } from './taskId';
import type { TaskSnapshot } from './taskSnapshot';
import type { UsageWindow } from './usageLimits';

export const sandboxes = ['read-only', 'workspace-write', 'danger-full-access'] as const;
/** What the commands of a task may touch. */
export type Sandbox = (typeof sandboxes)[number];

export const approvalPolicies = ['untrusted', 'on-request', 'never'] as const;
/** When Codex asks before it acts. */
export type ApprovalPolicy = (typeof approvalPolicies)[number];

export interface ModelInfo {
  readonly id: string;
  readonly reasoningEfforts: readonly string[];
  readonly isDefault: boolean;
}

/** What a thread is made with. It keeps these over its turns and when it is resumed. */
export interface ThreadSpec {
  readonly taskId: TaskId;
  /** A real, absolute directory. */
  readonly cwd: string;
  readonly sandbox: Sandbox;
  readonly approvalPolicy: ApprovalPolicy;
  readonly developerInstructions: string | null;
  readonly model: string | null;
}

export interface TurnInput {
  readonly text: string;
  readonly model: string | null;
  readonly reasoning: string | null;
  readonly planMode: boolean;
  readonly outputSchema: Readonly<Record<string, unknown>> | null;
}

/** A question that the agent's turn hangs on. */
export interface AgentRequest {
  /** The agent's own name for the request, unique within the thread. */
  readonly key: string;
  readonly turnId: string;
  readonly question: RequestQuestion;
  /** Set when the agent can allow it only once: what is allowed for longer is remembered here. */
  readonly once?: true | undefined;
  /** Hands over an answer that fits the question; `ThreadSink.onRequestResolved` tells that it was taken. */
  answer(answer: Answer): void;
}

/** What an agent tells about one thread. */
export interface ThreadSink {
  onEvent(event: TaskEvent): void;
  onRequest(request: AgentRequest): void;
  /** The agent is done with the request: it got the answer, or it waits for none any more. */
  onRequestResolved(key: string): void;
  /** One notification or request of the agent as the JSON text it came in, and where it stands; see `RawLine`. */
  onRaw(json: string, position: number | null): void;
  /** The thread's process is gone; nothing more will come from it. */
  onLost(error: TaskError): void;
}

export interface ProcessSummary {
  readonly pid: number;
  readonly command: string;
}

/** What a stop found. The task is dead when `alive` is empty. */
export interface StopReport {
  /** Processes of the task that had to be ended one by one. */
  readonly killed: readonly ProcessSummary[];
  /** Processes of the task that could not be ended. */
  readonly alive: readonly ProcessSummary[];
  /** Processes that come from Codex but cannot be told to be this task's; they were left alone. */
  readonly unattributed: readonly ProcessSummary[];
}

export interface AgentThread {
  readonly id: string;
  /** What the thread runs with; null when the agent did not say. */
  readonly model: string | null;
  readonly reasoning: string | null;
  /** Whether everything in it is asked first, behind the gate; it can change with each turn. */
  readonly gated: boolean;
  /** Whether a turn runs or was requested. */
  readonly active: boolean;
  /** Requests a turn and resolves when the agent accepted it; its start and end come as events. */
  startTurn(input: TurnInput): Promise<void>;
  /** Adds input to the active turn; false when there is none, or it ended before the input reached it. */
  steer(text: string): Promise<boolean>;
  /** Ends the active turn and every process of the task; resolves with the evidence, within 5 seconds. */
  stop(): Promise<StopReport>;
  /** After the last turn: ends what it left running and lets the agent unload the thread. */
  settle(): Promise<StopReport>;
  /** Forgets the thread: nobody will use it any more. */
  dispose(): void;
}

/** Runs turns on threads. */
export interface Agent extends Disposable {
  /** Resolves when turns can be run in a directory; throws a `CallError` that says what to do. */
  ready(task: Pick<ThreadSpec, 'sandbox' | 'cwd' | 'approvalPolicy'>): Promise<void>;
  /** How much of the account's plan is used, as far as the agent said; see `onDidChangeLimits`. */
  readonly limits: readonly UsageWindow[];
  readonly onDidChangeLimits: Event<undefined>;
  /** Known models; undefined when the agent cannot list them. */
  models(): Promise<readonly ModelInfo[] | undefined>;
  open(spec: ThreadSpec, sink: ThreadSink): Promise<AgentThread>;
  /**
   * Takes over a thread of an earlier run. Its sink has heard the history when this resolves; it is what `onRaw` gave,
   * oldest first, and null for a thread that does not run, which is loaded with its next turn.
   */
  adopt(
    spec: ThreadSpec,
    thread: Pick<AgentThread, 'id' | 'gated'>,
    sink: ThreadSink,
    history: AsyncIterable<RawLine> | null,
  ): Promise<AgentThread>;
  /** Finds the agent's program of an earlier run; whether it is there. It is not heard before `catchUp`. */
  reattach(): Promise<boolean>;
  /** Lets adopted threads hear what was said while nobody listened; resolves when that is all. */
  catchUp(): Promise<void>;
  /** Leaves the agent's program running without us; false when it cannot be. */
  detach(): Promise<boolean>;
  /** Whether the agent's program goes on when this one ends. */
  readonly outlives: boolean;
  /** How far the agent was heard; another value each time that it was heard further. */
  readonly heard: string;
  /** What was heard so far is kept for good, and need not be said again. */
  acknowledge(heard: string): void;
}

/** A notification or request of an agent as it is kept. */
export interface RawLine {
  readonly json: string;
  /** Grows over all threads and all runs; null when the agent did not count. */
  readonly position: number | null;
}

export interface DiskPaths {
  readonly dir: string;
  readonly events_log: string;
  readonly timeline_log: string;
  readonly summary_log: string;
  readonly verbose_log: string;
  readonly meta: string;
}

export const journalFiles = ['events', 'timeline', 'summary', 'verbose'] as const;
export type JournalFile = (typeof journalFiles)[number];

export interface JournalPart {
  readonly text: string;
  /** Where the text begins, in bytes from the first that was ever written: later than asked for when that is gone. */
  readonly start: number;
  /** Where the text ends. */
  readonly nextOffset: number;
  /** Bytes that were ever written. */
  readonly size: number;
}

/** What a task was asked to be, as far as it takes to start it or to let it go on. */
export interface StoredRequest {
  readonly prompt: string;
  readonly contextFiles?: readonly { readonly path: string; readonly description?: string | undefined }[] | undefined;
  readonly developerInstructions?: string | undefined;
  readonly timeoutMs?: number | undefined;
  readonly keepAliveMs: number;
  readonly outputSchema: Readonly<Record<string, unknown>> | null;
  readonly model: string | null;
  readonly reasoning: string | null;
  /** It held a secret, which is not kept: what came back from the store is not what was asked for. */
  readonly isRedacted?: boolean | undefined;
}

/** What is still to be said to a task. */
export interface Unsaid {
  /** In the turn that was asked for and has not begun. */
  readonly next: TurnInput | null;
  /** In the turns behind it. */
  readonly queue: readonly TurnInput[];
}

/** A task of an earlier run. */
export interface StoredTask {
  /** How many messages held a secret, which is not kept, and were not said yet. */
  readonly lostMessages: number;
  readonly snapshot: TaskSnapshot;
  readonly unsaid: Unsaid;
  readonly request: StoredRequest;
}

/** A task of an earlier run that is kept and cannot be brought back: nothing of what its files say is believed. */
export interface DamagedTask {
  readonly id: TaskId;
  /** Its directory. */
  readonly dir: string;
  /** What is wrong, for people. */
  readonly reason: string;
}

export interface StoredTasks {
  /** Oldest first. */
  readonly tasks: readonly StoredTask[];
  readonly damaged: readonly DamagedTask[];
}

/** Keeps what happened to tasks. Writing never blocks and never throws; trouble is told through `onTrouble`. */
export interface Journal {
  paths(id: TaskId): DiskPaths;
  /** Whether a directory of that name exists already, from this run or an earlier one. */
  has(id: TaskId): boolean;
  append(id: TaskId, file: JournalFile, text: string): void;
  saveMeta(snapshot: TaskSnapshot): void;
  saveRequest(id: TaskId, request: StoredRequest): void;
  saveUnsaid(id: TaskId, unsaid: Unsaid): void;
  /** Deletes what is kept of a task. */
  remove(id: TaskId): void;
  /** The tasks of earlier runs. */
  load(): Promise<StoredTasks>;
  /** Everything that was kept of what the agent said about a task, oldest first; only while nothing is appended. */
  history(id: TaskId): AsyncIterable<RawLine>;
  /** Reads at most `limit` bytes from byte `offset`, or from the first that is kept; whole UTF-8 characters only. */
  read(id: TaskId, file: JournalFile, offset: number, limit: number): Promise<JournalPart>;
  /** Bytes that the files of each task take. */
  sizes(ids: readonly TaskId[]): Promise<ReadonlyMap<TaskId, number>>;
  /** Writes what waits; resolves to whether everything is kept. What is not is tried again. */
  flush(): Promise<boolean>;
  /** Something of a task cannot be kept, or not for now; each kind of trouble once. */
  readonly onTrouble: Event<{ readonly id: TaskId; readonly message: string }>;
}

export const agentApprovals = ['never', 'ask', 'always'] as const;
/** Whether an agent may accept on the person's behalf. */
export type AgentApproval = (typeof agentApprovals)[number];

export const recoveries = ['ask', 'continue', 'fail'] as const;
export type Recovery = (typeof recoveries)[number];

export const usageLimitActions = ['fail', 'wait'] as const;
export type UsageLimitAction = (typeof usageLimitActions)[number];

/** What the person decided for all tasks; read at each use. What already waits is looked at again by `Worker.reconsider()`. */
export interface WorkerSettings {
  /** Absolute directories that tasks may work in; the first one is the default. */
  roots(): readonly string[];
  trusted(): boolean;
  sandbox(): Sandbox;
  approvalPolicy(): ApprovalPolicy;
  allowFullAccess(): boolean;
  allowUnknownModels(): boolean;
  agentMayApprove(): AgentApproval;
  /** How long a request of a task waits for an answer until it is declined, in ms; null for ever. */
  requestTimeoutMs(): number | null;
  /** Whether there is an editor in which a person can answer. */
  personPresent(): boolean;
  /** How long a turn may show no sign of life until somebody is asked whether to wait on, in ms; null for ever. */
  idleTimeoutMs(): number | null;
  /** How many tasks may be at work at once; the others wait in their order. */
  maxConcurrentTasks(): number;
  /** How deep tasks may start tasks; 0 for not at all. */
  nestedTasks(): number;
  /** What a task does whose agent stopped in the middle of its turn. */
  recovery(): Recovery;
  /** What a task does when the usage limit of the account's plan ends its turn. */
  usageLimit(): UsageLimitAction;
  /** Whether a caller that waits is asked, by MCP elicitation, what its tasks ask. */
  elicitation(): boolean;
  keepAliveMs(): number;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** The worker's own log. */
export type Log = (level: LogLevel, message: string) => void;
