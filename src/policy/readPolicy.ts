import { type Document, isMap, isScalar, LineCounter, parseDocument, visit } from 'yaml';
import type { z } from 'zod';
import type { Policy } from './policy';
import { adviseOn, type KnownTools } from './policyAdvice';
import { compilePolicy, type Complain, type Path, policySchema, type PolicyText } from './policySchema';

/** What is wrong with a policy file, and where: lines and columns from 1. */
export interface Mistake {
  readonly line: number;
  readonly column: number;
  readonly endLine: number;
  readonly endColumn: number;
  /** Such as `tools.cancel-task.rules[0].conditions[1].op`; empty for the file. */
  readonly path: string;
  readonly message: string;
}

export type ReadPolicy =
  | { readonly policy: Policy; readonly mistakes?: never }
  | { readonly policy?: never; readonly mistakes: readonly Mistake[] };

/** Bytes of a policy file: a rule takes about 100. */
export const policyLimit = 64 * 1024;
/** So many aliases may be resolved: a few lines can mean gigabytes. */
const aliasLimit = 100;
const mistakeLimit = 100;

/** Reads the text of a policy file, in Intercept's dialect or the short one. Never throws. */
export function readPolicy(text: string): ReadPolicy {
  return read(text, () => undefined);
}

/** What is unwise in the text of a policy file without mistakes; see `adviseOn`. */
export function advicesFor(text: string, tools: KnownTools): readonly Mistake[] {
  const advices: Mistake[] = [];
  read(text, (file, told) => adviseOn(file, tools, told(advices)));
  return advices.sort((a, b) => a.line - b.line || a.column - b.column);
}

type Teller = (into: Mistake[]) => Complain;

function read(text: string, onGood: (file: PolicyText, teller: Teller) => void): ReadPolicy {
  const mistakes: Mistake[] = [];
  if (text.length > policyLimit) {
    return { mistakes: [mistakeAt('', [0, 0], null, `has more than ${policyLimit} bytes, which is the most`)] };
  }
  const lines = new LineCounter();
  // Its own look for equal keys takes quadratic time.
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: false, strict: true, version: '1.2' });
  const found = [...document.errors, ...document.warnings, ...equalKeys(document)];
  for (const { pos, message } of found.slice(0, mistakeLimit)) {
    mistakes.push(mistakeAt('', pos, lines, message.split('\n', 1)[0] ?? message));
  }
  if (mistakes.length > 0) return { mistakes };
  const teller: Teller = (into) => (path, message, key) => {
    // Each is looked for in the whole text.
    if (into.length >= mistakeLimit) return;
    const named = key === undefined || path.at(-1) === key ? path : [...path, key];
    into.push(mistakeAt(nameOf(named), rangeOf(document, named, key !== undefined), lines, message));
  };
  const complain = teller(mistakes);
  const parsed = policySchema.safeParse(contentOf(document, complain));
  if (!parsed.success) parsed.error.issues.forEach((issue) => explain(issue, complain));
  if (!parsed.success || mistakes.length > 0) return { mistakes };
  const policy = compilePolicy(parsed.data, complain);
  if (mistakes.length > 0) return { mistakes };
  onGood(parsed.data, teller);
  return { policy };
}

/** Keys that stand twice in one map. */
function equalKeys(
  document: Document,
): readonly { readonly pos: readonly [number, number]; readonly message: string }[] {
  const twice: { pos: readonly [number, number]; message: string }[] = [];
  visit(document, {
    Map: (_key, map) => {
      const known = new Set<unknown>();
      for (const { key } of map.items) {
        const value = isScalar(key) ? key.value : key;
        if (known.has(value)) twice.push({ pos: rangeOfNode(key) ?? [0, 0], message: 'Map keys must be unique' });
        known.add(value);
      }
    },
  });
  return twice;
}

function contentOf(document: Document, complain: (path: Path, message: string) => void): unknown {
  try {
    // An empty file is a policy without rules.
    return document.toJS({ maxAliasCount: aliasLimit }) ?? {};
  } catch (error) {
    complain([], error instanceof Error ? error.message : String(error));
    return {};
  }
}

function explain(issue: z.core.$ZodIssue, complain: (path: Path, message: string, key?: string) => void): void {
  const path = issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part));
  switch (issue.code) {
    case 'unrecognized_keys':
      for (const key of issue.keys) complain(path, `unknown field "${key}"`, key);
      return;
    case 'invalid_value':
      complain(
        path,
        issue.values.length === 1 ? issue.message : `must be one of ${issue.values.map(String).join(', ')}`,
      );
      return;
    case 'invalid_type':
      complain(
        path,
        issue.input === undefined && path.length > 0
          ? `is missing or no ${issue.expected}`
          : `must be ${aOrAn(issue.expected)}`,
      );
      return;
    case 'too_small':
      complain(path, `must be at least ${issue.minimum}`);
      return;
    case 'too_big':
      complain(path, `must be at most ${issue.maximum}`);
      return;
    default:
      complain(path, issue.message);
  }
}

function aOrAn(type: string): string {
  return `${/^[aeiou]/.test(type) ? 'an' : 'a'} ${type}`;
}

/** Where the value at a path stands, or the name of its field; of the nearest one above it that is there. */
function rangeOf(document: Document, path: Path, ofName: boolean): readonly [number, number] {
  for (let length = path.length; length > 0; length--) {
    const parent = length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true);
    const key = path[length - 1];
    if (isMap(parent)) {
      const pair = parent.items.find((one) => isScalar(one.key) && one.key.value === key);
      const node = pair && (ofName || length < path.length ? pair.key : (pair.value ?? pair.key));
      const range = rangeOfNode(node);
      if (range) return range;
    } else {
      const range = rangeOfNode(document.getIn(path.slice(0, length), true));
      if (range) return range;
    }
  }
  return [0, 0];
}

function rangeOfNode(node: unknown): readonly [number, number] | null {
  const range = (node as { range?: readonly [number, number, number] | null } | null | undefined)?.range;
  return range ? [range[0], range[1]] : null;
}

function mistakeAt(
  path: string,
  [start, end]: readonly [number, number],
  lines: LineCounter | null,
  message: string,
): Mistake {
  const from = lines?.linePos(start) ?? { line: 1, col: 1 };
  const to = lines?.linePos(Math.max(start, end)) ?? from;
  // Before the first line there is nothing, and an empty file has no line.
  const line = Math.max(1, from.line);
  return {
    line,
    column: Math.max(1, from.col),
    endLine: Math.max(line, to.line),
    endColumn: Math.max(1, to.col),
    path,
    message,
  };
}

function nameOf(path: Path): string {
  return path
    .map((part, index) => {
      if (typeof part === 'number') return `[${part}]`;
      return index === 0 ? part : `.${part}`;
    })
    .join('');
}

/** `FILE:LINE:COLUMN: path message`, as compilers write it. */
export function describeMistake(file: string, { line, column, path, message }: Mistake): string {
  return `${file}:${line}:${column}: ${path === '' ? '' : `${path}: `}${message}`;
}
