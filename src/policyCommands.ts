import { readText } from './base/readText';
import { DisposableStore } from './core/disposable';
import { HumanError, messageOf } from './core/errors';
import type { InnerVerdict } from './core/innerGate';
import type { RequestQuestion } from './core/pendingRequest';
import { spawnDefaults } from './core/spawnRequest';
import { judgedArguments, waitOf } from './mcp/judgedArguments';
import { toolFields } from './mcp/mcpServer';
import { describeDecision, readAudit, verifyAudit } from './policy/audit';
import { scaffoldText } from './policy/builtIn';
import { Counters } from './policy/counters';
import type { Decision } from './policy/evaluate';
import { type InnerAction, isInner, ruleCount } from './policy/policy';
import { PolicyGate } from './policy/policyGate';
import { advicesFor, describeMistake, policyLimit, readPolicy } from './policy/readPolicy';
import { userPolicy } from './policy/verdicts';

/** The commands of the program that look at policies and at the audit trail. Each gives the program's exit code. */

/** A call to judge. */
export interface PolicyTest {
  readonly tool: string;
  /** As JSON. */
  readonly args: string;
  readonly session: string;
}

export async function validatePolicy(path: string): Promise<number> {
  const text = await textOf(path);
  const { policy, mistakes } = readPolicy(text);
  const advices = advicesFor(text, toolFields()).map((one) => ({ ...one, message: `warning: ${one.message}` }));
  const lines = [...(mistakes ?? []), ...advices].map((one) => describeMistake(path, one));
  if (policy) lines.push(`${path}: ${ruleCount(policy)} rules, no mistakes, ${advices.length} warnings`);
  process.stdout.write(`${lines.join('\n')}\n`);
  return policy ? 0 : 1;
}

export function scaffoldPolicy(): number {
  process.stdout.write(scaffoldText);
  return 0;
}

/**
 * Prints the decision on a call, or on what Codex wants to do inside a task of `base`, as the gate makes it when nothing was
 * counted yet. The exit code is 1 for a denial.
 */
export async function testPolicy(path: string, { tool, args, session }: PolicyTest, base: string): Promise<number> {
  if (tool === '') throw new HumanError('policy test needs --tool TOOL, such as --tool cancel-task.');
  const { policy, mistakes } = readPolicy(await textOf(path));
  if (!policy) throw new HumanError(mistakes.map((one) => describeMistake(path, one)).join('\n'));
  const counters = new Counters();
  const gate = new PolicyGate({
    policies: () => new Map([[userPolicy, policy]]),
    onDidChangePolicies: () => new DisposableStore(),
    counters: () => counters,
    audit: () => undefined,
    recorded: () => Promise.resolve(true),
    canRecord: () => true,
    base: () => base,
    factsOf: () => undefined,
    taskIds: () => [],
    personPresent: () => true,
    settled: () => Promise.resolve(),
  });
  const given = argumentsOf(args);
  const said = isInner(tool)
    ? [describeInner(gate.judge(questionFor(tool, given), { id: '', cwd: base, spawnedBy: session }))]
    : testCall(gate, tool, given, session, base);
  process.stdout.write(`${said.join('\n')}\n`);
  return said[0]?.startsWith('deny') ? 1 : 0;
}

function testCall(
  gate: PolicyGate,
  tool: string,
  args: Readonly<Record<string, unknown>>,
  caller: string,
  base: string,
): readonly string[] {
  const settings = {
    roots: () => [base],
    sandbox: () => 'workspace-write' as const,
    approvalPolicy: () => 'on-request' as const,
  };
  const judged = judgedArguments(tool, args, { defaultsFor: (type) => spawnDefaults(type, settings) });
  const said = describe(gate.judgeCall({ tool, args, judged, caller }));
  const waits = waitOf(tool, args);
  return waits === null
    ? [said]
    : [said, `its wait, as a call of wait-task: ${describe(gate.judgeWait({ tool, args, judged, caller, waits }))}`];
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

function describeInner(verdict: InnerVerdict): string {
  switch (verdict.kind) {
    case 'silent':
      return 'ask as usual, by no rule';
    case 'accept':
      return `allow, by rule "${verdict.rule}"`;
    case 'person':
      return `ask a person, by rule "${verdict.rule}": ${verdict.reason}`;
    case 'decline':
      return `deny, by rule "${verdict.rule}": ${verdict.reason}`;
  }
}

/** What Codex would ask, by the fields that rules look at. */
function questionFor(tool: InnerAction, args: Readonly<Record<string, unknown>>): RequestQuestion {
  const text = (field: string): string => (typeof args[field] === 'string' ? args[field] : '');
  const reason = text('reason') || null;
  switch (tool) {
    case 'codex/command':
      if (text('command') === '') throw new HumanError('codex/command needs --args \'{"command": "npm test"}\'.');
      return { type: 'command_approval', command: text('command'), cwd: text('cwd'), reason, rules: [] };
    case 'codex/file-change': {
      const paths = Array.isArray(args.paths) ? args.paths.filter((one) => typeof one === 'string') : [];
      if (paths.length === 0) throw new HumanError('codex/file-change needs --args \'{"paths": ["src/a.ts"]}\'.');
      const kinds: readonly unknown[] = Array.isArray(args.kinds) ? args.kinds : [];
      const kindOf = (index: number) =>
        (['add', 'update', 'delete'] as const).find((one) => one === kinds[index]) ?? 'update';
      return {
        type: 'file_approval',
        changes: paths.map((path, index) => ({ path, kind: kindOf(index), patch: '' })),
        reason,
      };
    }
    case 'codex/permissions':
      return { type: 'permission_approval', permissions: objectIn(args.permissions), summary: [], reason };
    case 'codex/elicitation': {
      const toolCall =
        text('tool') === '' ? null : { tool: text('tool'), description: null, arguments: objectIn(args.arguments) };
      const mode = args.mode === 'url' ? 'url' : 'form';
      const about = {
        serverName: text('server'),
        mode,
        message: text('message'),
        schema: null,
        url: text('url') || null,
      } as const;
      return { type: 'elicitation', ...about, toolCall, forPerson: false, forSession: false, rules: [] };
    }
  }
}

function objectIn(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
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
    ? `${broken.file}${broken.line === 0 ? '' : `:${broken.line}`}: ${broken.why}`
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
