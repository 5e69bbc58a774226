/** What a policy file says, checked and compiled; see readPolicy.ts for its text and evaluate.ts for its meaning. */

export const actions = ['evaluate', 'allow', 'deny', 'require_approval'] as const;
export type Action = (typeof actions)[number];

/** What Codex wants to do inside a task, named like tools. */
export const innerActions = ['codex/command', 'codex/file-change', 'codex/permissions', 'codex/elicitation'] as const;
export type InnerAction = (typeof innerActions)[number];

/** The entry whose rules hold for every tool, but not for what Codex does inside a task. */
export const everyTool = '*';
/** The counters of `everyTool`. */
export const globalScope = '_global';

export const windowUnits = ['minute', 'hour', 'day'] as const;
export type WindowUnit = (typeof windowUnits)[number];

/** Aligned to UTC and shared by all callers, or sliding and each caller's own. */
export type CounterWindow =
  { readonly kind: 'aligned'; readonly unit: WindowUnit } | { readonly kind: 'sliding'; readonly seconds: number };

/** What a call adds to a counter. */
export interface CounterUse {
  /** A tool, or `globalScope`. */
  readonly scope: string;
  readonly counter: string;
  readonly window: CounterWindow;
  /** A number, or the path below the arguments where it stands. */
  readonly by: number | readonly string[];
  /** The most that the counter may have with this call; null when only conditions look at it. */
  readonly max: number | null;
}

export type Source = 'args' | 'state' | 'task';

/** One comparison. `holds` gets a value that is there. */
export interface Condition {
  readonly source: Source;
  /** Below the source. */
  readonly path: readonly string[];
  readonly op: string;
  /** Whether one of several is enough; null where the rule does not say: for a rule that restricts it is. */
  readonly any: boolean | null;
  /** Set for `exists`. */
  readonly exists: boolean | null;
  /** Whether an array is one value, instead of its elements. */
  readonly whole: boolean;
  readonly holds: (value: unknown, context: Judging) => boolean;
}

/** What an operator needs besides its two values. */
export interface OperandContext {
  /** Where relative paths begin; absolute. */
  readonly base: string;
  /** Makes a path absolute and real; null when that cannot be. */
  readonly realPath: (path: string, base: string) => string | null;
}

/** One look at a value for a rule. */
export interface Judging extends OperandContext {
  /** Whether the rule denies or asks: what cannot be judged counts for that. */
  readonly restricts: boolean;
}

export interface Rule {
  readonly name: string;
  /** Of all that it says, so that another rule of the same name is told from it. */
  readonly fingerprint: string;
  readonly action: Action;
  readonly reason: string | null;
  readonly conditions: readonly Condition[];
  readonly use: CounterUse | null;
  /** How long an approval that it asks for may wait, in ms; null for the policy's. */
  readonly approvalTimeoutMs: number | null;
}

export interface Policy {
  readonly description: string;
  /** What holds for tools that no entry names. */
  readonly default: 'allow' | 'deny';
  readonly hide: ReadonlySet<string>;
  readonly approvalTimeoutMs: number;
  /** Whether a task may run although Codex can do something in it without asking. */
  readonly unseen: 'refuse' | 'allow';
  readonly tools: ReadonlyMap<string, readonly Rule[]>;
}

export function isInner(tool: string): tool is InnerAction {
  return innerActions.some((one) => one === tool);
}

/** Whether it has rules for what Codex does inside a task. */
export function hasInnerRules(policy: Policy): boolean {
  return innerActions.some((one) => policy.tools.has(one));
}

export function isHidden(policy: Policy, tool: string): boolean {
  return policy.hide.has(tool) || policy.hide.has(everyTool);
}

/** Whether it says no to nothing. */
export function isPermissive(policy: Policy): boolean {
  return ruleCount(policy) === 0 && policy.hide.size === 0 && policy.default === 'allow';
}

export function ruleCount(policy: Policy): number {
  return [...policy.tools.values()].reduce((sum, rules) => sum + rules.length, 0);
}
