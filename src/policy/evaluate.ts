import {
  type Condition,
  type CounterUse,
  everyTool,
  isHidden,
  isInner,
  type Judging,
  type OperandContext,
  type Policy,
  type Rule,
} from './policy';
import { numberOf } from './operators';

/** A task, as far as rules can look at it. */
export type TaskFacts = Readonly<Record<string, unknown>>;

/** One call of a tool, or one thing that Codex wants to do. */
export interface Action {
  readonly tool: string;
  readonly args: Readonly<Record<string, unknown>>;
  /**
   * Other readings of the arguments, where it is not certain what they mean. A rule that denies or asks holds when it holds for
   * one of them.
   */
  readonly readings?: readonly Readonly<Record<string, unknown>>[];
  /** The tasks that it names; one that is not there is an empty object. */
  readonly tasks: readonly TaskFacts[];
  /** It is about whatever tasks there are, and there is none: nothing speaks against it, and nothing is to be restricted. */
  readonly isAboutNone?: boolean;
}

/** What a decision depends on besides the policy and the action. */
export interface Circumstances extends OperandContext {
  /** What a counter has now; 0 for one that was not counted yet. */
  valueOf(scope: string, counter: string): number;
  /** When a counter will have room again, in ms from now. */
  freeIn(use: CounterUse, by: number): number;
}

/** What a call adds to which counter. */
export interface Increment {
  readonly use: CounterUse;
  readonly by: number;
  readonly rule: Rule;
}

export type Decision =
  | { readonly kind: 'allow'; readonly rule: Rule | null; readonly increments: readonly Increment[] }
  | { readonly kind: 'deny'; readonly rule: string; readonly reason: string; readonly retryAfterMs: number | null }
  | {
      readonly kind: 'ask';
      /** The first of the rules that ask, and all of them. */
      readonly rule: Rule;
      readonly rules: readonly Rule[];
      readonly timeoutMs: number;
      readonly increments: readonly Increment[];
    };

/** What one policy says to an action. `allow` by no rule means that nothing speaks against it. */
export function evaluate(policy: Policy, action: Action, circumstances: Circumstances): Decision {
  const { tool } = action;
  const inner = isInner(tool);
  if (!inner && isHidden(policy, tool)) return deny('hide', `Tool "${tool}" is hidden by the policy.`);
  const own = policy.tools.get(tool);
  if (!inner && policy.default === 'deny' && !own) {
    return deny('default', `Tool "${tool}" is not among those that the policy permits.`);
  }
  let allowed: Rule | null = null;
  const rules: Rule[] = [];
  const increments: Increment[] = [];
  for (const rule of [...(own ?? []), ...(inner ? [] : (policy.tools.get(everyTool) ?? []))]) {
    const verdict = judge(rule, action, circumstances);
    if (verdict.kind === 'deny') return verdict;
    if (verdict.increment) increments.push(verdict.increment);
    if (rule.action === 'allow' && verdict.holds) allowed ??= rule;
    if (rule.action === 'require_approval' && verdict.holds) rules.push(rule);
  }
  const [rule] = rules;
  if (!rule) return { kind: 'allow', rule: allowed, increments };
  return { kind: 'ask', rule, rules, timeoutMs: rule.approvalTimeoutMs ?? policy.approvalTimeoutMs, increments };
}

type Verdict =
  (Decision & { kind: 'deny' }) | { readonly kind: 'pass'; readonly holds: boolean; readonly increment?: Increment };

function judge(rule: Rule, action: Action, circumstances: Circumstances): Verdict {
  const increment = incrementOf(rule, action);
  if (increment === null) {
    return deny(rule.name, rule.reason ?? `What rule "${rule.name}" adds up is no number from 0 up.`);
  }
  const seen = withIncrement(circumstances, increment);
  const { base, realPath } = seen;
  const restricts = rule.action === 'deny' || rule.action === 'require_approval';
  const readings = restricts ? [action.args, ...(action.readings ?? [])] : [action.args];
  // What restricts does so as soon as one of the tasks meets all conditions: another one beside it changes nothing.
  const focuses = restricts && action.tasks.length > 0 ? action.tasks : [null];
  const judging = { base, realPath, restricts };
  const holds = readings.some((args) =>
    focuses.some((focus) => {
      const looked = { args, focus, action, seen, judging };
      return rule.conditions.every((condition) => conditionHolds(condition, looked));
    }),
  );
  if (rule.action === 'deny' && holds) return deny(rule.name, rule.reason ?? `Rule "${rule.name}" forbids it.`);
  if (rule.action !== 'evaluate') return { kind: 'pass', holds };
  if (!holds) return deny(rule.name, rule.reason ?? `It is not what rule "${rule.name}" allows.`);
  if (!increment) return { kind: 'pass', holds };
  const { use, by } = increment;
  if (use.max !== null && circumstances.valueOf(use.scope, use.counter) + by > use.max)
    return exceeded(increment, circumstances);
  return { kind: 'pass', holds, increment };
}

function exceeded({ rule, use, by }: Increment, circumstances: Circumstances): Decision & { kind: 'deny' } {
  const limit = use.max === null ? 'its limit' : `${use.max} per ${windowText(use)}`;
  const reason = rule.reason ?? `Rate limit of ${limit} reached. Try again later.`;
  return { kind: 'deny', rule: rule.name, reason, retryAfterMs: circumstances.freeIn(use, by) };
}

function windowText({ window }: CounterUse): string {
  return window.kind === 'aligned' ? window.unit : `${window.seconds} s`;
}

/** Undefined for a rule that counts nothing; null for what cannot be counted. */
function incrementOf(rule: Rule, { args }: Action): Increment | undefined | null {
  const { use } = rule;
  if (!use) return undefined;
  if (typeof use.by === 'number') return { use, by: use.by, rule };
  const [value, ...more] = valuesAt(args, use.by);
  const by = more.length > 0 ? undefined : numberOf(value);
  return by === undefined || by < 0 || by > Number.MAX_SAFE_INTEGER ? null : { use, by, rule };
}

/** A condition sees the counter of its own rule as this call would leave it, as in Intercept. */
function withIncrement(circumstances: Circumstances, increment: Increment | undefined): Circumstances {
  if (!increment) return circumstances;
  const { use, by } = increment;
  const valueOf = (scope: string, counter: string): number => {
    const isOwn = scope === use.scope && counter === use.counter;
    return circumstances.valueOf(scope, counter) + (isOwn ? by : 0);
  };
  return { ...circumstances, valueOf };
}

/** One look of a rule at an action. */
interface Look {
  /** One of the readings. */
  readonly args: Action['args'];
  /** The task of several that a rule that restricts looks at now. */
  readonly focus: TaskFacts | null;
  readonly action: Action;
  readonly seen: Circumstances;
  readonly judging: Judging;
}

function conditionHolds(condition: Condition, { args, focus, action, seen, judging }: Look): boolean {
  switch (condition.source) {
    case 'args':
      return check(valuesAt(args, condition.path), condition, judging);
    case 'state': {
      const [scope = '', counter = ''] = condition.path;
      return check([seen.valueOf(scope, counter)], condition, judging);
    }
    case 'task': {
      const tasks = condition.any === null && focus ? [focus] : action.tasks;
      const results = tasks.map((task) => check(valuesAt(task, condition.path), condition, judging));
      if (results.length === 0)
        return condition.exists === false || (action.isAboutNone === true && !judging.restricts);
      return condition.any ? results.includes(true) : !results.includes(false);
    }
  }
}

/**
 * `values` are all those at the path, more than one when it leads through an array, and undefined where it leads nowhere. What
 * restricts takes a value for there as soon as one is.
 */
function check(values: readonly unknown[], condition: Condition, judging: Judging): boolean {
  const { restricts } = judging;
  const any = condition.any ?? restricts;
  const present = values.filter((value) => value !== undefined && value !== null);
  const areAll = present.length > 0 && present.length === values.length;
  if (condition.exists === true) return any || restricts ? present.length > 0 : areAll;
  if (condition.exists === false) return any ? !areAll : present.length === 0;
  if (!areAll && !(any && present.length > 0)) return false;
  const single = condition.whole ? present : present.flatMap((value): unknown => value);
  // An empty array has no value.
  if (single.length === 0) return false;
  const holds = (value: unknown): boolean => condition.holds(value, judging);
  return any ? single.some(holds) : single.every(holds);
}

function valuesAt(from: unknown, path: readonly string[]): readonly unknown[] {
  const [key, ...rest] = path;
  if (key === undefined) return [from];
  if (Array.isArray(from)) return from.flatMap((one) => valuesAt(one, path));
  // Only what was sent: an object also inherits.
  if (typeof from !== 'object' || from === null || !Object.hasOwn(from, key)) return [undefined];
  return valuesAt((from as Record<string, unknown>)[key], rest);
}

function deny(rule: string, reason: string): Decision & { kind: 'deny' } {
  return { kind: 'deny', rule, reason, retryAfterMs: null };
}
