import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { writePrivate } from '../base/privateFile';
import { readText } from '../base/readText';
import { type Disposable, DisposableStore } from '../core/disposable';
import { Emitter } from '../core/emitter';
import { messageOf } from '../core/errors';
import type { Log } from '../core/ports';
import { AuditTrail } from './audit';
import { builtIn, policyOf } from './builtIn';
import { Counters } from './counters';
import { heldFor, HeldPolicies, workspaceName } from './heldPolicies';
import { type Policy, ruleCount } from './policy';
import { realPath } from './realPath';
import { PolicyFile, summaryOf } from './policyFile';
import { PolicyGate, type PolicyGateOptions } from './policyGate';
import { userPolicy } from './verdicts';

export interface PoliciesOptions extends Pick<
  PolicyGateOptions,
  'factsOf' | 'taskIds' | 'personPresent' | 'silentWaitMs'
> {
  /** Where counters and the audit trail are kept; nobody else writes there. */
  readonly stateDir: string;
  /** The user's file; null for the built-in policy. */
  readonly path: () => string | null;
  /** Workspace folders, whose own files can only tighten. */
  readonly roots: () => readonly string[];
  /** Whether the workspace is trusted: before that nothing of it is read. */
  readonly trusted: () => boolean;
  /** See `HeldPoliciesOptions`. */
  readonly isAtWork: (root: string, until: number) => boolean | null;
  readonly log: Log;
}

/** A workspace's own policy, in each of its folders. */
export const workspaceFile = join('.codex-worker', 'policy.yaml');
const countersFile = 'policy-counters.json';
const countersLimit = 16 * 1024 * 1024;
const saveEveryMs = 200;
/** A disk that takes longer to write a decision counts as one that does not, in ms. */
const recordLimitMs = 5_000;

const nothing = policyOf('');

interface Followed {
  readonly file: PolicyFile;
  readonly listener: Disposable;
  /** The workspace folder whose policy it is; null for the user's. */
  readonly root: string | null;
}

/** All policies that apply, with what was counted for them, and the gate that judges by them. */
export class Policies implements Disposable {
  private readonly owned = new DisposableStore();
  private readonly emitter = this.owned.add(new Emitter<undefined>());
  /** A policy was read again. */
  readonly onDidChange = this.emitter.event;
  readonly gate: PolicyGate;
  readonly audit: AuditTrail;
  /** What workspaces' policies said before, as far as it still holds. */
  readonly held: HeldPolicies;
  private files = new Map<string, Followed>();
  private readonly counters = new Map<string, Counters>();
  private saving: NodeJS.Timeout | undefined;
  private savingNow: Promise<boolean> = Promise.resolve(true);
  private savedRevision = '';
  private readonly options: PoliciesOptions;

  private constructor(options: PoliciesOptions, audit: AuditTrail, held: HeldPolicies) {
    this.options = options;
    this.audit = audit;
    this.held = this.owned.add(held);
    this.owned.add(
      held.onDidChange(() => {
        this.forgetCounters();
        this.emitter.fire(undefined);
      }),
    );
    this.gate = this.owned.add(
      new PolicyGate({
        ...options,
        policies: () => this.current(),
        onDidChangePolicies: (listener) => this.emitter.event(listener),
        counters: (policy) => this.countersOf(policy),
        audit: (event) => {
          audit.record(event);
          this.saving ??= setTimeout(() => void this.save(), saveEveryMs);
        },
        base: () => options.roots()[0] ?? options.stateDir,
        settled: () => this.settled(),
        recorded: () => Promise.race([this.keep(), delay(recordLimitMs, false, { ref: false })]),
        canRecord: () => audit.works,
      }),
    );
    this.look();
  }

  static async open(options: PoliciesOptions): Promise<Policies> {
    const [audit, held] = await Promise.all([
      AuditTrail.open(options.stateDir, options.log),
      HeldPolicies.open({
        ...options,
        isAtWork: (root, until) => options.isAtWork(realPath(root, root) ?? root, until),
      }),
    ]);
    const policies = new Policies(options, audit, held);
    await Promise.all([policies.loadCounters(), policies.settled()]);
    return policies;
  }

  /** What is wrong with the files, a line a file. */
  get troubles(): readonly string[] {
    return [...this.files.values()].flatMap(({ file }) => summaryOf(file) ?? []);
  }

  /** How many rules there are and what they denied, or that a file is bad. */
  get status(): string {
    const older = this.held.roots.length > 0 ? ', an older one holds too' : '';
    const trouble = this.troubles.length > 0 ? `${older}, a file is bad` : older;
    const { deniedToday } = this.audit;
    return `policy: ${this.rules} rules, ${deniedToday} ${deniedToday === 1 ? 'denial' : 'denials'} today${trouble}`;
  }

  private get rules(): number {
    return [...this.current().values()].reduce((sum, policy) => sum + ruleCount(policy), 0);
  }

  /** Where the rules come from and how many there are, in one line. */
  describe(): string {
    const paths = [...this.files.values()].map(({ file }) => file).filter((file) => file.policy !== nothing);
    const sources = paths.map(({ path }) => path);
    const from = this.options.path() === null ? ['built in', ...sources] : sources;
    return `${this.rules} rules, ${from.join(' and ')}`;
  }

  /** Writes what is left. */
  async close(): Promise<void> {
    await this.save();
    await this.audit.close();
    await this.held.flush();
    this.dispose();
  }

  dispose(): void {
    clearTimeout(this.saving);
    for (const { file, listener } of this.files.values()) {
      listener.dispose();
      file.dispose();
    }
    this.files.clear();
    this.owned.dispose();
  }

  /** Resolves when every file that applies has been read. */
  private async settled(): Promise<void> {
    this.look();
    await Promise.all([...this.files.values()].map(({ file }) => file.first));
  }

  private current(): ReadonlyMap<string, Policy> {
    this.look();
    const all = new Map<string, Policy>();
    if (!this.files.has(userPolicy)) all.set(userPolicy, builtIn);
    for (const [name, { file, root }] of this.files) {
      all.set(name, file.policy);
      if (root !== null && file.goodText !== undefined) this.held.follow(root, file.goodText);
    }
    for (const [name, policy] of this.held.policies()) all.set(name, policy);
    return all;
  }

  /** The path of the user's file, a folder or trust has changed; resolves when what is new has been read. */
  async reconsider(): Promise<void> {
    const before = [...this.files.values()].map(({ file }) => file);
    await this.settled();
    const after = [...this.files.values()].map(({ file }) => file);
    if (after.length !== before.length || after.some((file, index) => file !== before[index]))
      this.emitter.fire(undefined);
  }

  /** Follows the settings: a path or a folder that is new is read, one that is gone is forgotten. */
  private look(): void {
    const path = this.options.path();
    const wanted = new Map<string, string>(path === null ? [] : [[userPolicy, path]]);
    const roots = this.options.trusted() ? this.options.roots() : [];
    for (const root of roots) wanted.set(workspaceName(root), join(root, workspaceFile));
    for (const [name, { file, listener }] of this.files) {
      if (wanted.get(name) === file.path) continue;
      listener.dispose();
      file.dispose();
      this.files.delete(name);
    }
    for (const [name, one] of wanted) {
      if (!this.files.has(name)) this.add(name, one, roots.find((root) => workspaceName(root) === name) ?? null);
    }
  }

  private add(name: string, path: string, within: string | null): void {
    const file = new PolicyFile({ path, missing: name === userPolicy ? null : nothing, within });
    const listener = file.onDidChange(() => {
      this.tell(file);
      // What it said before may have to go on holding from now on.
      this.current();
      this.emitter.fire(undefined);
    });
    this.files.set(name, { file, listener, root: within });
  }

  private tell(file: PolicyFile): void {
    const trouble = summaryOf(file);
    if (trouble === null) this.options.log('info', `The policy ${file.path} is in force.`);
    else this.options.log('error', `The policy is bad, and what was good before it stays in force: ${trouble}`);
  }

  private countersOf(policy: string): Counters {
    const known = this.counters.get(policy);
    if (known) return known;
    const counters = new Counters();
    this.counters.set(policy, counters);
    // One that is held goes on with what was counted for it.
    const before = this.counters.get(heldFor(policy) ?? '');
    if (before) counters.load(before.save());
    return counters;
  }

  /** Of what was held and is no more. */
  private forgetCounters(): void {
    for (const name of this.counters.keys()) {
      if (heldFor(name) !== null && !this.held.names.has(name)) this.counters.delete(name);
    }
  }

  private async loadCounters(): Promise<void> {
    const path = join(this.options.stateDir, countersFile);
    try {
      const stored = z.record(z.string(), z.string()).parse(JSON.parse((await readText(path, countersLimit)) ?? '{}'));
      for (const [policy, text] of Object.entries(stored)) this.countersOf(policy).load(text);
    } catch (error) {
      this.options.log('warn', `What the policy had counted is lost: ${messageOf(error).slice(0, 300)}`);
    }
  }

  /** Writes what was decided and counted until now; false when that cannot be. */
  private async keep(): Promise<boolean> {
    const [isRecorded, isCounted] = await Promise.all([this.audit.flush(), this.save()]);
    return isRecorded && isCounted;
  }

  /** Whether what was counted until now is on the disk. One writes for all that came meanwhile. */
  private save(): Promise<boolean> {
    clearTimeout(this.saving);
    this.saving = undefined;
    return (this.savingNow = this.savingNow.then(() => this.saveNow()));
  }

  private async saveNow(): Promise<boolean> {
    const revision = [...this.counters].map(([name, counters]) => `${name} ${counters.revision}`).join('\n');
    if (revision === this.savedRevision) return true;
    const path = join(this.options.stateDir, countersFile);
    const stored = Object.fromEntries([...this.counters].map(([policy, counters]) => [policy, counters.save()]));
    try {
      await writePrivate(path, JSON.stringify(stored));
      this.savedRevision = revision;
      return true;
    } catch (error) {
      this.options.log('warn', `What the policy counts cannot be kept: ${messageOf(error)}`);
      return false;
    }
  }
}
