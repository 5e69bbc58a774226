import { hashOf } from '../core/hash';
import { z } from 'zod';
import {
  actions,
  type Condition,
  type CounterUse,
  type CounterWindow,
  everyTool,
  globalScope,
  innerActions,
  isInner,
  type Policy,
  type Rule,
  type Source,
  windowUnits,
  type WindowUnit,
} from './policy';
import { compileOperator, OperandError, operatorNames } from './operators';

/** The grammar of a policy file: what a field may be, and which fields may stand together. */

export type Path = readonly (string | number)[];
/** Tells what is wrong with the value at a path; with `key`, with the name of that field of it. */
export type Complain = (path: Path, message: string, key?: string) => void;

const counterName = z.string().regex(/^[A-Za-z_][\w-]*$/, 'must be a name of letters, digits, "-" and "_"');
const rateText = /^([1-9]\d{0,8})\/(minute|hour|day)$/;
const rateForms = 'must be like 10/minute, 5/hour, 100/day or {max: 10, window: 60}';
const slidingLimit = 7 * 24 * 3_600;
const duration = z.string().regex(/^[1-9]\d{0,5}(s|m|h|d)$/, 'must be like 30s, 10m, 2h or 1d');

const conditionSchema = z.strictObject({
  path: z.string().regex(/^(args|task)(\.[^.]+)+$|^state\.[^.]+\.[^.]+$/, {
    error: 'must be args.<field>, task.<field> or state.<tool>.<counter>',
  }),
  op: z.string(),
  value: z.unknown().optional(),
  any: z.boolean().optional(),
});

const ruleSchema = z.strictObject({
  name: z.string().min(1).optional(),
  action: z.enum(actions).optional(),
  reason: z.string().optional(),
  on_deny: z.string().optional(),
  conditions: z.array(conditionSchema).optional(),
  rate_limit: z
    .union(
      [
        z.string().regex(rateText, rateForms),
        z.strictObject({
          max: z.int().min(1).max(1_000_000),
          window: z.int().min(1).max(slidingLimit),
        }),
      ],
      { error: rateForms },
    )
    .optional(),
  state: z
    .strictObject({
      counter: counterName,
      window: z.enum(windowUnits),
      increment: z.number().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
      increment_from: z
        .string()
        .regex(/^args(\.[^.]+)+$/, 'must be args.<field>')
        .optional(),
    })
    .optional(),
  approval_timeout: duration.optional(),
});

const toolSchema = z.strictObject({ rules: z.array(ruleSchema).nullish() });

export const policySchema = z.strictObject({
  version: z.literal('1', { error: 'must be "1"' }).optional(),
  description: z.string().optional(),
  default: z.enum(['allow', 'deny']).optional(),
  hide: z
    .union([z.literal(everyTool), z.array(z.string().min(1))], { error: 'must be a list of tools, or "*"' })
    .optional(),
  approvals: z.strictObject({ timeout: duration.optional() }).optional(),
  unseen: z.enum(['refuse', 'allow']).optional(),
  tools: z.record(z.string().min(1), toolSchema.nullable()).optional(),
});
export type PolicyText = z.infer<typeof policySchema>;
export type RuleText = z.infer<typeof ruleSchema>;
export type ConditionText = z.infer<typeof conditionSchema>;

const defaultApprovalMs = 10 * 60_000;

/** Compiles what the schema let pass, and complains about what does not go together. */
export function compilePolicy(file: PolicyText, complain: Complain): Policy {
  const entries = Object.entries(file.tools ?? {});
  checkHidden(file.hide, complain);
  const tools = entries.map(([tool, entry]) => [tool, compileTool(tool, entry?.rules ?? [], complain)] as const);
  const counted = new Set(tools.flatMap(([, rules]) => rules.flatMap(({ use }) => (use ? [nameOf(use)] : []))));
  for (const [tool, entry] of entries) checkCounted(tool, entry?.rules ?? [], counted, complain);
  return {
    description: file.description ?? '',
    default: file.default ?? 'allow',
    hide: new Set(typeof file.hide === 'string' ? [file.hide] : file.hide),
    approvalTimeoutMs: file.approvals?.timeout === undefined ? defaultApprovalMs : durationMs(file.approvals.timeout),
    unseen: file.unseen ?? 'refuse',
    tools: new Map(tools),
  };
}

function nameOf({ scope, counter }: CounterUse): string {
  return `${scope}.${counter}`;
}

function checkHidden(hide: PolicyText['hide'], complain: Complain): void {
  if (!Array.isArray(hide)) return;
  hide.forEach((tool, index) => {
    if (hide.indexOf(tool) !== index) complain(['hide', index], `"${tool}" is hidden twice`);
    if (isInner(tool)) complain(['hide', index], `"${tool}" is no tool, so it cannot be hidden; deny it`);
  });
}

function compileTool(tool: string, rules: readonly RuleText[], complain: Complain): readonly Rule[] {
  const at = ['tools', tool];
  if (tool.startsWith('codex/') && !isInner(tool)) {
    complain(['tools'], `there is no "${tool}"; there are ${innerActions.join(', ')}`, tool);
  }
  const counters = new Set<string>();
  return rules.map((rule, index) => {
    const compiled = compileRule(tool, rule, index, [...at, 'rules', index], complain);
    if (!compiled.use) return compiled;
    if (counters.has(compiled.use.counter)) {
      complain([...at, 'rules', index], `the counter "${compiled.use.counter}" is counted by an earlier rule already`);
    }
    counters.add(compiled.use.counter);
    return compiled;
  });
}

function compileRule(tool: string, rule: RuleText, index: number, at: Path, complain: Complain): Rule {
  const { conditions = [], rate_limit, state, approval_timeout } = rule;
  const action = rule.action ?? 'evaluate';
  if (rule.reason !== undefined && rule.on_deny !== undefined) {
    complain([...at, 'on_deny'], 'is another word for reason: keep one of them', 'on_deny');
  }
  if (action !== 'evaluate') {
    for (const field of ['rate_limit', 'state'] as const) {
      if (rule[field] !== undefined) complain([...at, field], `cannot stand in a rule with action ${action}`, field);
    }
  } else if (rate_limit !== undefined && (conditions.length > 0 || state !== undefined)) {
    complain([...at, 'rate_limit'], 'stands alone: put the conditions and the counter into a rule of their own');
  } else if (rate_limit === undefined && conditions.length === 0) {
    complain(at, 'needs conditions or a rate_limit, or another action than evaluate');
  }
  if (approval_timeout !== undefined && action !== 'require_approval') {
    complain([...at, 'approval_timeout'], 'needs the action require_approval', 'approval_timeout');
  }
  return {
    name: rule.name ?? `${tool}[${index}]`,
    fingerprint: hashOf([tool, rule]),
    action,
    reason: rule.reason ?? rule.on_deny ?? null,
    conditions: conditions.flatMap(
      (one, position) => compileCondition(one, [...at, 'conditions', position], complain) ?? [],
    ),
    use: compileUse(tool, rule, at, complain),
    approvalTimeoutMs: approval_timeout === undefined ? null : durationMs(approval_timeout),
  };
}

function compileCondition(text: ConditionText, at: Path, complain: Complain): Condition | null {
  const { op, value, any = null } = text;
  const [source, ...path] = text.path.split('.') as [Source, ...string[]];
  const one = { source, path, op, any };
  if (op === 'exists') {
    if (typeof value === 'boolean') return { ...one, exists: value, whole: true, holds: () => true };
    complain([...at, 'value'], 'must be true or false for exists');
    return null;
  }
  if (!operatorNames.includes(op)) {
    complain([...at, 'op'], `unknown operator "${op}"; there are ${operatorNames.join(', ')}`);
    return null;
  }
  try {
    return { ...one, exists: null, ...compileOperator(op, value) };
  } catch (error) {
    if (!(error instanceof OperandError)) throw error;
    complain([...at, 'value'], `${op} ${error.message}`);
    return null;
  }
}

function compileUse(tool: string, { rate_limit, state }: RuleText, at: Path, complain: Complain): CounterUse | null {
  const scope = tool === everyTool ? globalScope : tool;
  if (rate_limit !== undefined) {
    const { max, window, counter } = rateOf(rate_limit);
    return { scope, counter, window, by: 1, max };
  }
  if (state === undefined) return null;
  const { counter, window, increment, increment_from } = state;
  if (increment !== undefined && increment_from !== undefined) {
    complain([...at, 'state', 'increment_from'], 'cannot stand beside increment', 'increment_from');
  }
  const by = increment_from === undefined ? (increment ?? 1) : increment_from.split('.').slice(1);
  return { scope, counter, window: { kind: 'aligned', unit: window }, by, max: null };
}

function rateOf(rate: NonNullable<RuleText['rate_limit']>): { max: number; window: CounterWindow; counter: string } {
  if (typeof rate === 'object') {
    return { max: rate.max, window: { kind: 'sliding', seconds: rate.window }, counter: `_rate_${rate.window}s` };
  }
  const [max = '', unit = ''] = rate.split('/');
  return { max: Number(max), window: { kind: 'aligned', unit: unit as WindowUnit }, counter: `_rate_${unit}` };
}

/** A condition on a counter that nothing counts would always see 0. */
function checkCounted(
  tool: string,
  rules: readonly RuleText[],
  counted: ReadonlySet<string>,
  complain: Complain,
): void {
  rules.forEach(({ conditions = [] }, index) => {
    conditions.forEach(({ path }, position) => {
      if (!path.startsWith('state.') || counted.has(path.slice('state.'.length))) return;
      complain(['tools', tool, 'rules', index, 'conditions', position, 'path'], `no rule counts ${path}`);
    });
  });
}

const unitMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function durationMs(text: string): number {
  return Number(text.slice(0, -1)) * (unitMs[text.slice(-1)] ?? 0);
}
