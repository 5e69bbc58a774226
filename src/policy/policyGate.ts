import { type Disposable, DisposableStore } from '../core/disposable';
import { Emitter } from '../core/emitter';
import { CallError } from '../core/errors';
import { hashOf } from '../core/hash';
import { type CallerId, clientOf, person } from '../core/caller';
import { isTaskId, type TaskId } from '../core/taskId';
import type { InnerGate, InnerTask, InnerVerdict } from '../core/innerGate';
import type { RequestQuestion } from '../core/pendingRequest';
import type { ApprovalChoice, GatedCall, ToolGate } from '../core/toolGate';
import { type Approval, Approvals, type Outcome } from './approvals';
import type { AuditEvent } from './audit';
import type { Counters } from './counters';
import { type Action, type Circumstances, type Decision, evaluate, type Increment, type TaskFacts } from './evaluate';
import { innerCallOf } from './innerArguments';
import { judgeInner } from './innerJudge';
import { hasInnerRules, isHidden, type Policy } from './policy';
import { realPath } from './realPath';
import { namesOf, namesOfAsking, strictest, type Verdict } from './verdicts';

export interface PolicyGateOptions {
  /** The policies that apply at once, by a name that stays; read at each call. */
  readonly policies: () => ReadonlyMap<string, Policy>;
  readonly onDidChangePolicies: (listener: () => void) => Disposable;
  readonly counters: (policy: string) => Counters;
  readonly audit: (event: AuditEvent) => void;
  /** Resolves when everything that was decided and counted is on the disk; to false when it is not in time, or cannot be. */
  readonly recorded: () => Promise<boolean>;
  /** Whether decisions can be written. */
  readonly canRecord: () => boolean;
  /** Where relative paths begin. */
  readonly base: () => string;
  /** What rules may know of a task; undefined when there is none. */
  readonly factsOf: (id: string, caller: CallerId) => TaskFacts | undefined;
  /** The tasks that a wait without ids is about: the caller's own, or everybody's. */
  readonly taskIds: (about: 'own' | 'all', caller: CallerId) => readonly string[];
  /** Whether there is an editor in which a person can answer. */
  readonly personPresent: () => boolean;
  /** Resolves when the policies that apply have been read. */
  readonly settled: () => Promise<void>;
  readonly now?: () => number;
  /** How long a call without progress waits for a person, in ms; VS Code's agent gives up after a minute. */
  readonly silentWaitMs?: number;
}

const defaultSilentWaitMs = 45_000;
const rounds = 20;
const sessionLimit = 1_000;

type Asking = Decision & { kind: 'ask' };
/** Judges every call of a tool by all policies at once: the strictest answer wins. */
export class PolicyGate implements ToolGate, InnerGate, Disposable {
  private readonly owned = new DisposableStore();
  private readonly changeEmitter = this.owned.add(new Emitter<undefined>());
  readonly onDidChange = this.changeEmitter.event;
  readonly approvals: Approvals;
  /** What was allowed for a session: caller, tool and rules. */
  private readonly sessions = new Set<string>();
  private readonly now: () => number;
  private readonly options: PolicyGateOptions;

  constructor(options: PolicyGateOptions) {
    this.options = options;
    this.now = options.now ?? Date.now;
    this.approvals = this.owned.add(new Approvals(this.now));
    this.owned.add(options.onDidChangePolicies(() => this.changeEmitter.fire(undefined)));
  }

  isHidden(tool: string): boolean {
    return [...this.options.policies().values()].some((policy) => isHidden(policy, tool));
  }

  get hidesTasks(): boolean {
    return this.denies({ tool: 'wait-task', args: leastWait, tasks: [] }, '');
  }

  hidesTask(id: TaskId, caller: CallerId): boolean {
    return this.denies(this.actionOf({ tool: 'wait-task', args: { ...leastWait, task_id: id }, caller }), caller);
  }

  /** Whether it is denied for good, and not for now. */
  private denies(action: Action, caller: CallerId): boolean {
    return this.decide(action, caller).some(
      ({ decision }) => decision.kind === 'deny' && decision.retryAfterMs === null,
    );
  }

  async pass<T>(call: GatedCall, run: (mayWait: boolean) => Promise<T>): Promise<T> {
    await this.options.settled();
    const giveBackCall = await this.admit(call);
    const giveBackWait = this.admitWait(call);
    const giveBack = (): void => {
      giveBackCall();
      giveBackWait?.();
    };
    try {
      await this.assertRecorded(call);
      return await run(giveBackWait !== null);
    } catch (error) {
      // A failed call uses up nothing; one that was given up while it waited may have had its effect.
      const isGivenUp = call.signal.aborted || (error instanceof CallError && error.code === 'shutting_down');
      if (!isGivenUp) giveBack();
      throw error;
    }
  }

  /** Waiting and cancelling must always be possible; nothing else is done without a record of it. */
  private async assertRecorded(call: GatedCall): Promise<void> {
    const isKept = await this.options.recorded();
    if (isKept || call.tool === 'wait-task' || call.tool === 'cancel-task') return;
    this.record(call, 'denied', 'audit trail', null);
    throw new CallError(
      'store_unavailable',
      `The decision on this call of ${call.tool} cannot be written, so it was not made.`,
      {
        hint: 'The disk of the state directory may be full or read-only. Have the person look at it, then call again.',
        retryable: true,
      },
    );
  }

  noteMalformed(caller: CallerId, client: string | null, tool: string, text: string): void {
    const hash = hashOf(text);
    this.options.audit({
      caller,
      client,
      tool,
      keys: [],
      hash,
      decision: 'malformed',
      rule: null,
      by: null,
      tasks: [],
    });
  }

  /** Takes note of a program that works through this window. */
  noteAttached(client: string): void {
    const about = { caller: client, client: null, tool: '', keys: [], hash: hashOf({}) };
    this.options.audit({ ...about, decision: 'attached', rule: null, by: null, tasks: [] });
  }

  /** Takes note of what the person did; nothing limits it. */
  notePerson(tool: string, args: Readonly<Record<string, unknown>>): void {
    const about = { caller: person, client: null, tool, keys: Object.keys(args), hash: hashOf(args) };
    this.options.audit({ ...about, decision: 'person', rule: null, by: person, tasks: taskIdsOf(args) });
  }

  /** What each policy says, and nothing else: no counter moves and nobody is asked. */
  judgeCall(call: Pick<GatedCall, 'tool' | 'args' | 'judged' | 'caller'>): Decision {
    return strictest(this.decide(this.actionOf(call), call.caller)).decision;
  }

  /** What each policy says of the wait of a call; see `GatedCall`. Nothing is counted. */
  judgeWait({
    waits = {},
    judged,
    ...call
  }: Pick<GatedCall, 'tool' | 'args' | 'judged' | 'caller' | 'waits'>): Decision {
    const wait = { ...call, tool: 'wait-task', args: waits ?? {} };
    return strictest(this.decide(this.waitActionOf(wait, judged ?? call.args), call.caller)).decision;
  }

  dispose(): void {
    this.owned.dispose();
  }

  get holds(): boolean {
    return [...this.options.policies().values()].some(hasInnerRules);
  }

  get refusesUnseen(): boolean {
    return [...this.options.policies().values()].some((policy) => hasInnerRules(policy) && policy.unseen === 'refuse');
  }

  judge(question: RequestQuestion, task: InnerTask): InnerVerdict {
    const policies = this.options.policies();
    const facts = this.options.factsOf(task.id, task.spawnedBy) ?? {};
    const judged = judgeInner(question, task.cwd, policies, (call) =>
      this.decide({ ...call, tasks: [facts] }, task.spawnedBy),
    );
    if (!judged) return { kind: 'silent' };
    const { call, verdicts } = judged;
    const verdict = judged.verdict.kind === 'accept' && !this.options.canRecord() ? unrecorded : judged.verdict;
    if (verdict.kind === 'accept') this.count(verdicts, task.spawnedBy);
    const decision = innerDecisions[verdict.kind];
    if (decision && verdict.kind !== 'silent') {
      const { tool, args } = call;
      const about = { caller: task.spawnedBy, client: null, tool, keys: keysOf(args), hash: hashOf(args) };
      this.options.audit({ ...about, decision, rule: verdict.rule, by: 'policy', tasks: [task.id] });
    }
    return verdict;
  }

  noteAccepted(question: RequestQuestion, task: InnerTask): void {
    const call = innerCallOf(question, task.cwd);
    if (!call) return;
    const facts = this.options.factsOf(task.id, task.spawnedBy) ?? {};
    this.count(this.decide({ ...call, tasks: [facts] }, task.spawnedBy), task.spawnedBy);
  }

  /** Resolves when the call may run, to what takes its counting back. */
  private async admit(call: GatedCall): Promise<() => void> {
    let approval: Approval | null = null;
    for (let round = 0; round < rounds; round++) {
      // From here to the counting nothing may wait: a thousand calls at once are judged one after the other.
      const verdicts = this.decide(this.actionOf(call), call.caller);
      const { decision } = strictest(verdicts);
      if (decision.kind === 'deny') throw this.denied(call, decision);
      const rules = namesOfAsking(verdicts);
      const wanted = fingerprintOf(verdicts);
      const key = keyOf(call, wanted);
      if (decision.kind === 'allow' || this.sessions.has(sessionKeyOf(call, wanted))) {
        return this.allow(call, verdicts, decision.kind === 'allow' ? null : 'session');
      }
      if (approval?.key === key && this.approvals.take(approval)) {
        this.assertApproved(call, rules, approval.outcome ?? 'withdrawn');
        if (approval.outcome === 'session') this.rememberSession(sessionKeyOf(call, wanted));
        return this.allow(call, verdicts, 'person');
      }
      approval = await this.approvalFor(call, decision, rules, key);
    }
    throw required(call, 'The policy changes too fast to judge it.', true);
  }

  /** What takes the counting of the call's wait back; null when it may not wait. Nobody is asked for it. */
  private admitWait({ waits = null, judged, ...call }: GatedCall): (() => void) | null {
    if (waits === null) return () => undefined;
    const wait = { ...call, tool: 'wait-task', args: waits };
    const verdicts = this.decide(this.waitActionOf(wait, judged ?? call.args), call.caller);
    if (strictest(verdicts).decision.kind === 'allow') return this.allow(wait, verdicts, null);
    this.record(wait, 'denied', namesOf(verdicts), null);
    return null;
  }

  /** A wait for the task that the call is about to spawn is one for a task of the caller's. */
  private waitActionOf(wait: Pick<GatedCall, 'tool' | 'args' | 'caller'>, spawned: Action['args']): Action {
    if (wait.args.task_id !== undefined) return this.actionOf(wait);
    const { cwd, labels = [] } = spawned;
    const facts = { status: 'submitted', cwd, labels, spawned_by_caller: true, spawned_by_conversation: true };
    return { tool: wait.tool, args: wait.args, tasks: [facts] };
  }

  /** The ended approval for a call. Throws when nobody has answered yet. */
  private async approvalFor(
    call: GatedCall,
    { rule, timeoutMs }: Asking,
    rules: string,
    key: string,
  ): Promise<Approval> {
    const known = this.approvals.find(key);
    if (!known) this.assertSomebody(call, rules);
    const approval =
      known ?? this.ask(call, key, rules, rule.reason ?? `Rule "${rule.name}" wants an approval.`, timeoutMs);
    call.progress?.('Waiting for a person to approve this call.');
    const limitMs = call.progress ? null : (this.options.silentWaitMs ?? defaultSilentWaitMs);
    await this.approvals.wait(approval, limitMs, call.signal);
    call.signal.throwIfAborted();
    if (approval.outcome !== null) return approval;
    throw required(call, 'A person was asked and has not answered yet.', true);
  }

  private assertSomebody(call: GatedCall, rules: string): void {
    if (this.approvals.full) throw required(call, 'Too many calls wait for a person already.', true);
    if (this.options.personPresent() || call.ask) return;
    this.record(call, 'denied', rules, null);
    throw required(call, 'The policy wants a person to approve this call, and there is nobody to ask.', false);
  }

  private ask(call: GatedCall, key: string, rule: string, reason: string, timeoutMs: number): Approval {
    const { tool, args, caller, client } = call;
    const approval = this.approvals.ask(key, { tool, args, caller, client, rule, reason }, timeoutMs);
    this.record(call, 'asked', rule, null);
    if (!this.options.personPresent() && call.ask) this.askCaller(call.ask, approval, call.signal);
    return approval;
  }

  private askCaller(ask: NonNullable<GatedCall['ask']>, { question }: Approval, signal: AbortSignal): void {
    const answer = (choice: ApprovalChoice): unknown => this.approvals.answer(question.id, choice);
    // Who cannot be asked has not approved.
    ask(question, signal).then(answer, () => answer('deny'));
  }

  private assertApproved(call: GatedCall, rule: string, outcome: Outcome): void {
    if (outcome === 'once' || outcome === 'session') return;
    this.record(call, 'denied', rule, outcome === 'deny' ? 'person' : outcome);
    if (outcome === 'deny') {
      throw new CallError('policy_denied', `The person denied this call of ${call.tool}.`, {
        hint: 'Do not try it again unless the person asks you to.',
      });
    }
    throw new CallError('approval_timeout', `Nobody approved this call of ${call.tool} in time.`, {
      hint: 'Call it again to ask once more, or ask the person first.',
      retryable: true,
    });
  }

  private allow(call: GatedCall, verdicts: readonly Verdict[], by: string | null): () => void {
    const back = this.count(verdicts, call.caller);
    this.record(call, 'allowed', by === null ? null : namesOfAsking(verdicts), by);
    return () => back.forEach((giveBack) => giveBack());
  }

  /** Counts a call; the results take that back. */
  private count(verdicts: readonly Verdict[], caller: CallerId): readonly (() => void)[] {
    return verdicts.flatMap(({ policy, decision }) =>
      incrementsOf(decision).map(({ use, by }) => this.options.counters(policy).add(use, by, clientOf(caller))),
    );
  }

  private denied(call: GatedCall, { rule, reason, retryAfterMs }: Decision & { kind: 'deny' }): CallError {
    this.record(call, 'denied', rule, null);
    return new CallError('policy_denied', reason, {
      hint:
        retryAfterMs === null
          ? `Rule "${rule}" of the policy forbids it; the person can change it.`
          : 'Wait, then try again.',
      retryable: retryAfterMs !== null,
      ...(retryAfterMs === null ? {} : { retryAfterMs: Math.ceil(retryAfterMs) }),
    });
  }

  private record(call: GatedCall, decision: AuditEvent['decision'], rule: string | null, by: string | null): void {
    const { caller, client, tool, args } = call;
    const about = { caller, client, tool, keys: keysOf(args), hash: hashOf(args) };
    this.options.audit({ ...about, decision, rule, by, tasks: taskIdsOf(args).filter(isTaskId) });
  }

  private rememberSession(key: string): void {
    if (this.sessions.size >= sessionLimit) this.sessions.clear();
    this.sessions.add(key);
  }

  private decide(action: Action, caller: CallerId): readonly Verdict[] {
    return [...this.options.policies()].map(([policy, one]) => {
      const counters = this.options.counters(policy);
      const circumstances: Circumstances = {
        base: this.options.base(),
        realPath,
        valueOf: (scope, counter) => counters.valueOf(scope, counter, clientOf(caller)),
        freeIn: (use, by) => counters.freeIn(use, by, clientOf(caller)),
      };
      return { policy, decision: evaluate(one, action, circumstances) };
    });
  }

  private actionOf({
    tool,
    args: given,
    judged: args = given,
    caller,
  }: Pick<GatedCall, 'tool' | 'args' | 'judged' | 'caller'>): Action {
    const about = tool === 'wait-task' ? waitsAbout(args.task_id) : null;
    const ids = about === null ? taskIdsOf(args) : this.options.taskIds(about, caller);
    const tasks = ids.map((id) => this.options.factsOf(id, caller) ?? {});
    return { tool, args, tasks, isAboutNone: about !== null && ids.length === 0 };
  }
}

/** A rule on how long a wait may take says nothing about what may be seen. */
const leastWait = { until: 'any', timeout_ms: 0 };

/** Nothing is accepted by a rule without a record of it. */
const unrecorded: InnerVerdict = {
  kind: 'person',
  rule: 'audit trail',
  reason: 'A rule accepts it, and that cannot be written to the audit trail.',
};

const innerDecisions = { silent: null, accept: 'allowed', decline: 'denied', person: 'asked' } as const;

function incrementsOf(decision: Decision): readonly Increment[] {
  return decision.kind === 'deny' ? [] : decision.increments;
}

/** Of everything that wants the approval: of which policy it is, and what it says. */
function fingerprintOf(verdicts: readonly Verdict[]): string {
  const wanted = verdicts.flatMap(({ policy, decision }) =>
    decision.kind === 'ask' ? decision.rules.map(({ fingerprint }) => [policy, fingerprint]) : [],
  );
  return hashOf(wanted);
}

/** An approval holds for the caller, the exact arguments and the rules that want it. */
function keyOf({ caller, tool, args }: GatedCall, wanted: string): string {
  return hashOf([caller, tool, args, wanted]);
}

function sessionKeyOf({ caller, tool }: GatedCall, wanted: string): string {
  return hashOf([caller, tool, wanted]);
}

const idLimit = 50;
const keyCharacters = 100;

/** Names of arguments, as far as they are no text of somebody. */
function keysOf(args: Readonly<Record<string, unknown>>): readonly string[] {
  return Object.keys(args)
    .slice(0, idLimit)
    .map((key) => key.slice(0, keyCharacters));
}

/** What a wait is about that names no tasks; null for one that does. */
function waitsAbout(taskId: unknown): 'own' | 'all' | null {
  if (taskId === undefined) return 'own';
  return taskId === 'all' ? 'all' : null;
}

/** The tasks that the arguments of any of the tools name. */
function taskIdsOf({ task_id }: Readonly<Record<string, unknown>>): readonly string[] {
  const ids: readonly unknown[] = Array.isArray(task_id) ? task_id : [task_id];
  return [...new Set(ids.filter((id) => typeof id === 'string'))].slice(0, idLimit);
}

function required({ tool }: GatedCall, message: string, retryable: boolean): CallError {
  const hint = retryable
    ? `Call ${tool} again with the same arguments to pick up the answer.`
    : 'Have the person do it, or change the policy.';
  return new CallError('approval_required', message, {
    hint,
    retryable,
    ...(retryable ? { retryAfterMs: 5_000 } : {}),
  });
}
