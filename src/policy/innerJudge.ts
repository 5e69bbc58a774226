import type { InnerVerdict } from '../core/innerGate';
import type { RequestQuestion } from '../core/pendingRequest';
import { type InnerCall, innerCallOf, isPlain, protectedPathOf } from './innerArguments';
import { hasInnerRules, type Policy, type Rule } from './policy';
import { strictest, userPolicy, type Verdict } from './verdicts';

type Policies = ReadonlyMap<string, Policy>;

/** What was judged, what each policy says of it, and what follows. */
export interface JudgedInner {
  readonly call: InnerCall;
  readonly verdicts: readonly Verdict[];
  readonly verdict: InnerVerdict;
}

/** Judges what Codex wants to do inside a task; undefined for a question that is no action of Codex. Nothing is counted. */
export function judgeInner(
  question: RequestQuestion,
  cwd: string,
  policies: Policies,
  decide: (call: InnerCall) => readonly Verdict[],
): JudgedInner | undefined {
  const call = innerCallOf(question, cwd);
  if (!call) return undefined;
  const verdicts = decide(call);
  const said = innerVerdict(verdicts);
  const isSeen = isPlain(question) && !(call.args.unparsed === true && looksPast(verdicts));
  const decided: InnerVerdict = said.kind === 'accept' && !isSeen ? { kind: 'silent' } : said;
  return { call, verdicts, verdict: forPerson(call, question, cwd, decided, policies) ?? decided };
}

/** What is reserved for the person whatever rules accept; undefined for anything else. */
function forPerson(
  { tool, args }: InnerCall,
  question: RequestQuestion,
  cwd: string,
  { kind }: InnerVerdict,
  policies: Policies,
): InnerVerdict | undefined {
  const holds = [...policies.values()].some(hasInnerRules);
  const path = kind === 'decline' || !holds ? undefined : protectedPathOf(question, cwd);
  if (path !== undefined) {
    const reason = `It changes ${path}, which decides what is done next: no rule accepts that.`;
    return { kind: 'person', rule: 'protected places', reason };
  }
  if (kind !== 'silent' || args.unparsed !== true) return undefined;
  // What cannot be understood may run what a rule restricts: only the person can say that it does not.
  const rules = [...policies.values()].flatMap(({ tools }) => tools.get(tool) ?? []);
  const rule = rules.find(restrictsPrograms);
  if (!rule) return undefined;
  const reason = `It could not be understood what this command runs, and rule "${rule.name}" restricts programs.`;
  return { kind: 'person', rule: rule.name, reason };
}

/** Whether the rule that accepts a command looks neither at its text nor at whether it could be understood. */
function looksPast(verdicts: readonly Verdict[]): boolean {
  const decision = verdicts.find(({ policy }) => policy === userPolicy)?.decision;
  const rule = decision?.kind === 'allow' ? decision.rule : null;
  const looked = ['command', 'unparsed'];
  return !rule?.conditions.some(({ source, path: [first = ''] }) => source === 'args' && looked.includes(first));
}

function restrictsPrograms({ action, conditions }: Rule): boolean {
  const looked = ['programs', 'program', 'argv'];
  const looks = conditions.some(({ source, path: [first = ''] }) => source === 'args' && looked.includes(first));
  return looks && (action === 'deny' || action === 'require_approval');
}

/** Only the user's own policy can accept; a workspace can but tighten. */
function innerVerdict(verdicts: readonly Verdict[]): InnerVerdict {
  const { decision } = strictest(verdicts);
  if (decision.kind === 'deny') return { kind: 'decline', rule: decision.rule, reason: decision.reason };
  if (decision.kind === 'ask') return { kind: 'person', rule: decision.rule.name, reason: decision.rule.reason ?? '' };
  const allowing = verdicts.find(({ policy }) => policy === userPolicy)?.decision;
  const rule = allowing?.kind === 'allow' ? allowing.rule : null;
  return rule ? { kind: 'accept', rule: rule.name, reason: rule.reason ?? '' } : { kind: 'silent' };
}
