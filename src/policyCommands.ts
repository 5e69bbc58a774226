import { readText } from './base/readText';
import { HumanError, messageOf } from './core/errors';
import { describeDecision, readAudit, verifyAudit } from './policy/audit';
import { scaffoldText } from './policy/builtIn';
import { Counters } from './policy/counters';
import { type Decision, evaluate } from './policy/evaluate';
import { ruleCount } from './policy/policy';
import { describeMistake, policyLimit, readPolicy } from './policy/readPolicy';
import { realPath } from './policy/realPath';

/** The commands of the program that look at policies and at the audit trail. Each gives the program's exit code. */

/** A call to judge. */
export interface PolicyTest {
  readonly tool: string;
  /** As JSON. */
  readonly args: string;
  readonly session: string;
}

export async function validatePolicy(path: string): Promise<number> {
  const { policy, mistakes } = readPolicy(await textOf(path));
  const lines = policy
    ? [`${path}: ${ruleCount(policy)} rules, no mistakes`]
    : mistakes.map((one) => describeMistake(path, one));
  process.stdout.write(`${lines.join('\n')}\n`);
  return policy ? 0 : 1;
}

export function scaffoldPolicy(): number {
  process.stdout.write(scaffoldText);
  return 0;
}

/** Prints the decision on a call as if nothing had been counted yet. */
export async function testPolicy(path: string, { tool, args, session }: PolicyTest, base: string): Promise<number> {
  if (tool === '') throw new HumanError('policy test needs --tool TOOL, such as --tool cancel-task.');
  const { policy, mistakes } = readPolicy(await textOf(path));
  if (!policy) throw new HumanError(mistakes.map((one) => describeMistake(path, one)).join('\n'));
  const counters = new Counters();
  const decision = evaluate(
    policy,
    { tool, args: argumentsOf(args), tasks: [] },
    {
      base,
      realPath,
      valueOf: (scope, counter) => counters.valueOf(scope, counter, session),
      freeIn: (use, by) => counters.freeIn(use, by, session),
    },
  );
  process.stdout.write(`${describe(decision)}\n`);
  return decision.kind === 'deny' ? 1 : 0;
}

function describe(decision: Decision): string {
  switch (decision.kind) {
    case 'allow':
      return `allow, by ${decision.rule ? `rule "${decision.rule.name}"` : 'no rule'}`;
    case 'ask':
      return `ask a person, by rule "${decision.rule.name}": ${decision.rule.reason ?? ''}`;
    case 'deny':
      return `deny, by rule "${decision.rule}": ${decision.reason}`;
  }
}

function argumentsOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new HumanError(`--args ${text.slice(0, 200)} is no JSON object.`);
}

export async function showAudit(stateDir: string): Promise<number> {
  for await (const line of readAudit(stateDir)) {
    process.stdout.write(`${describeDecision(line)}\n`);
  }
  return 0;
}

export async function checkAudit(stateDir: string): Promise<number> {
  const { lines, broken } = await verifyAudit(stateDir);
  const text = broken
    ? `${broken.file}:${broken.line}: this line does not follow from the one before it: something is missing or was changed`
    : `${lines} lines, each follows from the one before it`;
  process.stdout.write(`${text}\n`);
  return broken ? 1 : 0;
}

/** Throws when a policy file that was named cannot be read; one that is bad denies everything until it is good. */
export async function assertPolicy(path: string): Promise<void> {
  await textOf(path);
}

/** What the doctor says of a policy file. */
export async function policyState(path: string): Promise<string> {
  try {
    const { policy, mistakes } = readPolicy(await textOf(path));
    return policy
      ? `${ruleCount(policy)} rules, ${path}`
      : mistakes.map((one) => describeMistake(path, one)).join('; ');
  } catch (error) {
    return messageOf(error);
  }
}

async function textOf(path: string): Promise<string> {
  const text = await readText(path, policyLimit).catch((error: unknown) => {
    throw new HumanError(`The policy ${path} cannot be read: ${messageOf(error)}`);
  });
  if (text === null) throw new HumanError(`The policy ${path} cannot be read: there is no such file.`);
  return text;
}
