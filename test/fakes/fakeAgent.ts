import type {
  Agent,
  AgentThread,
  ModelInfo,
  StopReport,
  ThreadSink,
  ThreadSpec,
  TurnInput,
} from '../../src/core/ports';
import type { Answer, RequestQuestion } from '../../src/core/pendingRequest';
import { command } from './snapshots';
import type { TurnOutcome } from '../../src/core/taskEvent';
import type { TaskError } from '../../src/core/errors';
import type { UsageWindow } from '../../src/core/usageLimits';

const nothing: StopReport = { killed: [], alive: [], unattributed: [] };

/** A thread that does what its test tells it. */
export class FakeThread implements AgentThread {
  readonly model = 'fake-model';
  readonly reasoning = null;
  readonly inputs: TurnInput[] = [];
  readonly steered: string[] = [];
  readonly answers: Answer[] = [];
  report = nothing;
  stops = 0;
  disposed = false;
  active = false;
  readonly gated: boolean = false;
  settles = 0;
  /** Held back until the test lets them go. */
  settling: Promise<void> = Promise.resolve();
  private turn = 0;

  readonly id: string;
  readonly sink: ThreadSink;

  constructor(id: string, sink: ThreadSink) {
    this.id = id;
    this.sink = sink;
  }

  startTurn(input: TurnInput): Promise<void> {
    this.inputs.push(input);
    this.begin();
    return Promise.resolve();
  }

  steer(text: string): Promise<boolean> {
    if (this.active) this.steered.push(text);
    return Promise.resolve(this.active);
  }

  stop(): Promise<StopReport> {
    this.stops++;
    this.end('interrupted');
    return Promise.resolve(this.report);
  }

  async settle(): Promise<StopReport> {
    this.settles++;
    await this.settling;
    return this.report;
  }

  dispose(): void {
    this.disposed = true;
  }

  begin(): void {
    this.active = true;
    this.sink.onEvent({ type: 'turnStarted', turnId: `t${++this.turn}` });
  }

  /** Asks, and confirms the answer as Codex does. */
  ask(question: RequestQuestion = command('ls'), key = '0'): void {
    const answer = (answered: Answer): void => {
      this.answers.push(answered);
      this.sink.onRequestResolved(key);
    };
    this.sink.onRequest({ key, turnId: `t${this.turn}`, question, answer });
  }

  say(text: string): void {
    this.sink.onEvent({ type: 'message', itemId: `m${this.turn}`, text });
  }

  end(outcome: TurnOutcome = 'completed', error: TaskError | null = null): void {
    this.active = false;
    this.sink.onEvent({ type: 'turnCompleted', turnId: `t${this.turn}`, outcome, error, durationMs: 5 });
  }
}

export class FakeAgent implements Agent {
  readonly threads: FakeThread[] = [];
  readonly specs: ThreadSpec[] = [];
  known: readonly ModelInfo[] | undefined = undefined;
  trouble: Error | null = null;
  opening: Promise<void> = Promise.resolve();

  ready(): Promise<void> {
    return this.trouble ? Promise.reject(this.trouble) : Promise.resolve();
  }

  models(): Promise<readonly ModelInfo[] | undefined> {
    return Promise.resolve(this.known);
  }

  async open(spec: ThreadSpec, sink: ThreadSink): Promise<FakeThread> {
    this.specs.push(spec);
    await this.opening;
    const thread = new FakeThread(`thread-${this.threads.length}`, sink);
    this.threads.push(thread);
    return thread;
  }

  limits: readonly UsageWindow[] = [];
  readonly onDidChangeLimits = () => ({ dispose: () => undefined });
  readonly outlives = false;
  readonly heard = '';
  readonly acknowledged: string[] = [];

  reattach(): Promise<boolean> {
    return Promise.resolve(false);
  }

  /** Held back until the test lets it go. */
  catchingUp: Promise<void> = Promise.resolve();
  /** What the history of an adopted thread says. */
  past: (thread: FakeThread) => void = () => undefined;

  catchUp(): Promise<void> {
    return this.catchingUp;
  }

  detach(): Promise<boolean> {
    return Promise.resolve(false);
  }

  acknowledge(heard: string): void {
    this.acknowledged.push(heard);
  }

  async adopt(spec: ThreadSpec, { id: threadId }: Pick<AgentThread, 'id'>, sink: ThreadSink): Promise<FakeThread> {
    this.specs.push(spec);
    const thread = new FakeThread(threadId, sink);
    this.past(thread);
    await Promise.resolve();
    this.threads.push(thread);
    return thread;
  }

  dispose(): void {
    this.threads.length = 0;
  }
}
