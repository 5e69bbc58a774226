import { everyTool, innerActions, isInner } from './policy';
import type { Complain, ConditionText, Path, PolicyText, RuleText } from './policySchema';
import { runnerOf } from './runners';
import { nameOf } from './shellWords';

/** The fields of each tool, each with the values that it may have; null where any may. */
export type KnownTools = ReadonlyMap<string, ReadonlyMap<string, readonly unknown[] | null>>;

/** Programs that run others, or change what is run, by their options, their configuration or what stands in a directory. */
const runsOthers = new Set(
  'ant awk bazel bun cargo cmake composer crontab deno docker ed emacs ex gawk gcc gem git go gradle g++ make mawk maven mvn nano \
ninja node npm npx nvim perl php pip pip3 pipx pnpm podman poetry python python2 python3 rake rg rsync ruby scp sed sort sqlite3 tar \
tox tsx uv uvx vi view vim yarn zip'.split(' '),
);

const innerFields: Readonly<Record<string, readonly string[]>> = {
  'codex/command': ['command', 'program', 'programs', 'argv', 'cwd', 'reason', 'unparsed'],
  'codex/file-change': ['paths', 'kinds', 'added_lines', 'removed_lines', 'reason'],
  'codex/permissions': ['permissions', 'reason'],
  'codex/elicitation': ['server', 'mode', 'message', 'url', 'tool', 'arguments'],
};
const innerValues: Readonly<Record<string, readonly unknown[]>> = {
  kinds: ['add', 'update', 'delete'],
  mode: ['form', 'url'],
  unparsed: [true, false],
};
/** Of the task that a tool names, or inside which something is wanted. */
const taskFields: Readonly<Record<string, readonly unknown[] | null>> = {
  status: ['submitted', 'working', 'input_required', 'completed', 'failed', 'cancelled'],
  cwd: null,
  labels: null,
  spawned_by_caller: [true, false],
  spawned_by_conversation: [true, false],
};
const lists = ['programs', 'argv', 'paths', 'kinds', 'labels', 'task_id', 'context_files', 'depends_on'];
const ofPrograms = ['programs', 'program', 'argv'];

/** Tells what is valid in a policy and yet unwise: rules that never hold, accept more than they seem to, or miss what they mean. */
export function adviseOn({ hide, tools = {} }: PolicyText, known: KnownTools, advise: Complain): void {
  const noTool = (tool: string): string =>
    `there is no tool "${tool}", so this has no effect; there are ${[...known.keys(), ...innerActions].join(', ')}`;
  if (Array.isArray(hide)) {
    hide.forEach((tool, index) => known.has(tool) || isInner(tool) || advise(['hide', index], noTool(tool)));
  }
  for (const [tool, entry] of Object.entries(tools)) {
    const rules = entry?.rules ?? [];
    const at = ['tools', tool];
    if (tool !== everyTool && !isInner(tool) && !known.has(tool)) {
      advise(['tools'], noTool(tool), tool);
      continue;
    }
    rules.forEach((rule, index) => adviseOnRule(tool, rule, [...at, 'rules', index], known, advise));
    if (tool === 'codex/command') adviseOnUnparsed(rules, at, advise);
  }
}

function adviseOnUnparsed(rules: readonly RuleText[], at: Path, advise: Complain): void {
  if (rules.some((rule) => looksAt(rule, ['unparsed']))) return;
  const index = rules.findIndex((rule) => restricts(rule) && looksAt(rule, ofPrograms));
  if (index < 0) return;
  advise(
    [...at, 'rules', index],
    'what cannot be understood has no programs and goes to the person alone; a rule on args.unparsed decides it by itself',
  );
}

function adviseOnRule(tool: string, rule: RuleText, at: Path, known: KnownTools, advise: Complain): void {
  (rule.conditions ?? []).forEach((condition, index) => {
    const where = [...at, 'conditions', index];
    const never = whyNever(tool, condition, known);
    if (never) advise([...where, never.field], never.why);
    else adviseOnCondition(tool, rule, condition, where, advise);
  });
}

/** Why a condition can never hold; undefined for one that can. */
function whyNever(
  tool: string,
  { path, op, value }: ConditionText,
  known: KnownTools,
): { readonly field: 'path' | 'value'; readonly why: string } | undefined {
  const [source = '', field = '', ...deeper] = path.split('.');
  if (source === 'state' || tool === everyTool) return undefined;
  const values = source === 'task' ? taskFields[field] : valuesOf(tool, field, known);
  if (values === undefined) {
    const fields = source === 'task' ? Object.keys(taskFields) : fieldsOf(tool, known);
    return {
      field: 'path',
      why: `there is no ${source}.${field}, so this compares nothing; there are ${fields.join(', ')}`,
    };
  }
  if (source === 'task' && tool === 'spawn-task') {
    return { field: 'path', why: 'a call of spawn-task names no task, so this compares nothing' };
  }
  if (values === null || deeper.length > 0 || !['eq', 'in', 'neq', 'not_in'].includes(op)) return undefined;
  const wanted: readonly unknown[] = Array.isArray(value) ? value : [value];
  const odd = wanted.find((one) => !values.includes(one));
  if (odd === undefined) return undefined;
  return {
    field: 'value',
    why: `${field} is never ${JSON.stringify(odd)}; it is one of ${values.map(String).join(', ')}`,
  };
}

function fieldsOf(tool: string, known: KnownTools): readonly string[] {
  return innerFields[tool] ?? [...(known.get(tool)?.keys() ?? [])];
}

function valuesOf(tool: string, field: string, known: KnownTools): readonly unknown[] | null | undefined {
  if (!isInner(tool)) return known.get(tool)?.get(field);
  return innerFields[tool]?.includes(field) ? (innerValues[field] ?? null) : undefined;
}

function adviseOnCondition(tool: string, rule: RuleText, condition: ConditionText, at: Path, advise: Complain): void {
  const { path, op, value } = condition;
  const [, field = ''] = path.split('.');
  if (path === 'args.command' && op === 'contains') {
    advise(
      [...at, 'op'],
      'a command can be written in many ways, such as with two blanks: look at args.programs, args.program or args.argv',
    );
  } else if (op === 'contains' && lists.includes(field) && !restricts(rule)) {
    advise([...at, 'op'], `contains is met by one element of ${field}, whatever the others are: use in, under or glob`);
  }
  if (tool !== 'codex/command' || !accepts(rule)) return;
  if (path === 'args.command' && op === 'regex' && !isAnchored(String(value))) {
    advise(
      [...at, 'value'],
      'accepts every command with such a part: begin it with ^, end it with $, and do not end in .*',
    );
  }
  if (!['args.programs', 'args.program'].includes(path) || looksAt(rule, ['argv', 'command'])) return;
  const runners = (Array.isArray(value) ? value : [value]).filter(
    (one): one is string =>
      typeof one === 'string' && (runsOthers.has(nameOf(one)) || runnerOf(nameOf(one)) !== undefined),
  );
  if (runners.length === 0) return;
  advise(
    [...at, 'value'],
    `${runners.join(', ')} can run other programs, by options or by files: accept whole commands by args.command in their place`,
  );
}

function isAnchored(pattern: string): boolean {
  return (
    pattern.startsWith('^') && /(?<!\\)\$$/.test(pattern) && !/\.[*+]\??\$$/.test(pattern) && !/^\^\.[*+]/.test(pattern)
  );
}

function accepts({ action }: RuleText): boolean {
  return action === 'allow';
}

function restricts({ action }: RuleText): boolean {
  return action === 'deny' || action === 'require_approval';
}

function looksAt({ conditions = [] }: RuleText, fields: readonly string[]): boolean {
  return conditions.some(({ path }) =>
    fields.some((field) => path === `args.${field}` || path.startsWith(`args.${field}.`)),
  );
}
