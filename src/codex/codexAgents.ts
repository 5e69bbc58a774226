import { setTimeout as delay } from 'node:timers/promises';
import { DisposableStore } from '../core/disposable';
import { Emitter } from '../core/emitter';
import { messageOf } from '../core/errors';
import type { InnerGate } from '../core/innerGate';
import type {
  Agent,
  AgentThread,
  Log,
  ModelInfo,
  RawLine,
  StopReport,
  ThreadSink,
  ThreadSpec,
  TurnInput,
} from '../core/ports';
import type { UsageWindow } from '../core/usageLimits';
import type { CodexAgent } from './codexAgent';
import type { CodexThread } from './codexThread';
import { unenforceable } from './gatedThreads';

export interface CodexAgentsOptions {
  /** Has an executor of its own. */
  readonly plain: CodexAgent;
  /** Has none, and works behind the gate; see execGate/. Null where there is nobody to own it. */
  readonly gated: CodexAgent | null;
  /** The rules for what happens inside tasks. */
  readonly gate: InnerGate;
  /** Finds out whether the gate holds here: null when it does, or the reason why not. Never rejects. */
  readonly probe: (gated: CodexAgent) => Promise<string | null>;
  readonly log: Log;
}

/** What a person can do where the gate does not hold. */
const gateHint =
  'Have the person update or reinstall Codex, or take the rules for what happens inside tasks out of the policy.';
/** How long a stop waits for a thread that moves, in ms. */
const moveLimitMs = 500;
/** How long it is believed that the gate does not hold, in ms. */
const doubtMs = 30_000;

type Asking = Pick<ThreadSpec, 'sandbox' | 'cwd' | 'approvalPolicy'>;

/**
 * Two servers of Codex, started with the first thread of each. Threads in which everything is asked, by rules or by their
 * approval policy, are in the one behind the gate; nobody else pays for it. A thread moves between turns when that changes.
 */
export class CodexAgents implements Agent {
  private readonly owned = new DisposableStore();
  private readonly limitsEmitter = this.owned.add(new Emitter<undefined>());
  readonly onDidChangeLimits = this.limitsEmitter.event;
  /** The one that said last how much of the plan is used: it is the same account. */
  private lastToSay: CodexAgent;
  /** The server that the gate was found to hold in front of. */
  private provenPid: number | undefined;
  /** When it was found last that it does not hold, in ms of `performance.now()`, and why. */
  private doubt: { readonly at: number; readonly why: string } | null = null;
  private probing: Promise<string | null> | null = null;
  private readonly options: CodexAgentsOptions;

  constructor(options: CodexAgentsOptions) {
    this.options = options;
    this.lastToSay = options.plain;
    for (const agent of this.all) {
      this.owned.add(agent);
      this.owned.add(
        agent.onDidChangeLimits(() => {
          this.lastToSay = agent;
          this.limitsEmitter.fire(undefined);
        }),
      );
    }
  }

  async ready(task: Asking): Promise<void> {
    await (await this.agentFor(task)).ready(task.sandbox, task.cwd);
  }

  get limits(): readonly UsageWindow[] {
    return this.lastToSay.limits;
  }

  models(): Promise<readonly ModelInfo[] | undefined> {
    const running = this.all.find(({ serverPid }) => serverPid !== undefined);
    return (running ?? this.options.plain).models();
  }

  async open(spec: ThreadSpec, sink: ThreadSink): Promise<AgentThread> {
    const agent = await this.agentFor(spec);
    return new MovingThread(this, spec, sink, { agent, thread: await agent.open(spec, sink) });
  }

  async adopt(
    spec: ThreadSpec,
    { id, gated }: Pick<AgentThread, 'id' | 'gated'>,
    sink: ThreadSink,
    history: AsyncIterable<RawLine> | null,
  ): Promise<AgentThread> {
    const agent = (gated ? this.options.gated : null) ?? this.options.plain;
    return new MovingThread(this, spec, sink, { agent, thread: await agent.adopt(spec, id, sink, history) });
  }

  async reattach(): Promise<boolean> {
    const found = await Promise.allSettled(this.all.map((agent) => agent.reattach()));
    for (const one of found) {
      if (one.status === 'rejected') this.options.log('error', `Codex was not found again: ${messageOf(one.reason)}`);
    }
    return found.some((one) => one.status === 'fulfilled' && one.value);
  }

  async catchUp(): Promise<void> {
    await Promise.all(this.all.map((agent) => agent.catchUp()));
  }

  async detach(): Promise<boolean> {
    const left = await Promise.all(this.all.map((agent) => agent.detach()));
    return left.every((one) => one);
  }

  get outlives(): boolean {
    const running = this.all.filter(({ serverPid }) => serverPid !== undefined);
    return running.length > 0 && running.every(({ outlives }) => outlives);
  }

  get heard(): string {
    return this.all.map(({ position }) => position).join(' ');
  }

  acknowledge(heard: string): void {
    const positions = heard.split(' ').map(Number);
    this.all.forEach((agent, index) => agent.acknowledge(positions[index] ?? 0));
  }

  /** Ends both servers in order, with all that they run; the next task starts them again. */
  async stop(): Promise<void> {
    await Promise.all(this.all.map((agent) => agent.stop()));
  }

  /** Ends them at once, because they do not do what they should. */
  async kill(reason: string): Promise<void> {
    await Promise.all(this.all.map((agent) => agent.kill(reason)));
  }

  /** The process id of a server that runs. */
  get serverPid(): number | undefined {
    return this.all.map(({ serverPid }) => serverPid).find((pid) => pid !== undefined);
  }

  dispose(): void {
    this.owned.dispose();
  }

  /** Where a thread has to be. Throws `policy_unenforceable` where rules hold and it could not be held to them. */
  async agentFor({ approvalPolicy, sandbox, cwd }: Asking): Promise<CodexAgent> {
    const { plain, gated, gate } = this.options;
    if (!gate.holds && approvalPolicy !== 'untrusted') return plain;
    const why = gated ? await this.whyNotHeld(gated) : 'this program has nobody who could own the gate';
    if (gated && why === null) return gated;
    if (!gate.holds) return plain;
    // Why Codex does not work at all is the better reason, and says what to do.
    await plain.ready(sandbox, cwd);
    throw unenforceable([`the gate in front of its sandbox does not hold on this machine (${why ?? ''})`], gateHint);
  }

  /** Looked at once for each server, however many wait for it. */
  private whyNotHeld(gated: CodexAgent): Promise<string | null> {
    if (gated.serverPid !== undefined && gated.serverPid === this.provenPid) return Promise.resolve(null);
    if (this.doubt && performance.now() - this.doubt.at < doubtMs) return Promise.resolve(this.doubt.why);
    this.probing ??= this.probe(gated).finally(() => (this.probing = null));
    return this.probing;
  }

  private async probe(gated: CodexAgent): Promise<string | null> {
    const started = performance.now();
    const why = await this.options.probe(gated);
    const ms = Math.round(performance.now() - started);
    this.doubt = why === null ? null : { at: performance.now(), why };
    if (why === null) this.provenPid = gated.serverPid;
    if (why === null)
      this.options.log('info', `The gate in front of the sandbox of Codex holds (looked at in ${ms} ms).`);
    else this.options.log('warn', `The gate in front of the sandbox of Codex does not hold: ${why}`);
    return why;
  }

  private get all(): readonly CodexAgent[] {
    const { plain, gated } = this.options;
    return gated ? [plain, gated] : [plain];
  }
}

interface Place {
  readonly agent: CodexAgent;
  readonly thread: CodexThread;
}

/** A thread, in whichever server has it. */
class MovingThread implements AgentThread {
  private moving: Promise<unknown> | null = null;
  private readonly agents: CodexAgents;
  private readonly spec: ThreadSpec;
  private readonly sink: ThreadSink;
  private place: Place;

  constructor(agents: CodexAgents, spec: ThreadSpec, sink: ThreadSink, place: Place) {
    this.agents = agents;
    this.spec = spec;
    this.sink = sink;
    this.place = place;
  }

  get id(): string {
    return this.place.thread.id;
  }

  get model(): string | null {
    return this.place.thread.model;
  }

  get reasoning(): string | null {
    return this.place.thread.reasoning;
  }

  get gated(): boolean {
    return this.place.thread.gated;
  }

  get active(): boolean {
    return this.moving !== null || this.place.thread.active;
  }

  async startTurn(input: TurnInput): Promise<void> {
    this.moving = this.move().finally(() => (this.moving = null));
    await this.moving;
    await this.place.thread.startTurn(input);
  }

  async steer(text: string): Promise<boolean> {
    // A turn that began before there were rules gets no more to do.
    const { agent, thread } = this.place;
    const isPlace = (await this.agents.agentFor(this.spec).catch(() => null)) === agent && !thread.outdated;
    return isPlace && thread.steer(text);
  }

  async stop(): Promise<StopReport> {
    // It may wait for another server; whatever it begins afterwards is stopped by its task.
    await Promise.race([this.moving?.catch(() => undefined), delay(moveLimitMs, undefined, { ref: false })]);
    return this.place.thread.stop();
  }

  settle(): Promise<StopReport> {
    return this.place.thread.settle();
  }

  dispose(): void {
    this.place.thread.dispose();
  }

  /** Into the server where it has to be, loaded as it has to be. Only one server can have a thread. */
  private async move(): Promise<void> {
    const agent = await this.agents.agentFor(this.spec);
    const { thread } = this.place;
    if (agent === this.place.agent && !thread.outdated) return;
    await thread.release();
    const moved = await agent.adopt({ ...this.spec, model: thread.model }, thread.id, this.sink, null);
    // It missed nothing on the way.
    moved.caughtUp();
    this.place = { agent, thread: moved };
  }
}
