import type { Decision } from './evaluate';

/** What one of several policies says. */
export interface Verdict {
  readonly policy: string;
  readonly decision: Decision;
}

/** The name of the user's policy among those that apply. */
export const userPolicy = 'user';

const order = ['deny', 'ask', 'allow'] as const;

/** The strictest of several; the first of equals. Nothing said is allowed. */
export function strictest(verdicts: readonly Verdict[]): Verdict {
  const byKind = order.map((kind) => verdicts.find(({ decision }) => decision.kind === kind));
  return (
    byKind.find((one) => one !== undefined) ?? { policy: '', decision: { kind: 'allow', rule: null, increments: [] } }
  );
}

/** The rules that say no, or want a person. */
export function namesOf(verdicts: readonly Verdict[]): string | null {
  const { decision } = strictest(verdicts);
  if (decision.kind === 'deny') return decision.rule;
  return decision.kind === 'ask' ? decision.rule.name : null;
}

export function namesOfAsking(verdicts: readonly Verdict[]): string {
  const rules = verdicts.flatMap(({ decision }) => (decision.kind === 'ask' ? decision.rules : []));
  return rules.map(({ name }) => name).join(', ');
}
