import { sep } from 'node:path';
import { RE2JS } from 're2js';
import type { Judging } from './policy';

type Holds = (actual: unknown, context: Judging) => boolean;

/** What is wrong with the value of an operator. */
export class OperandError extends Error {
  override name = 'OperandError';
}

interface Operator {
  /** Checks the value that stands in the policy, once. */
  compile(expected: unknown): Holds;
  /** Whether an array is one value instead of its elements. */
  readonly whole?: boolean;
}

const operators: Readonly<Record<string, Operator>> = {
  eq: { compile: (expected) => compare(scalar(expected), (order) => order === 0) },
  neq: { compile: (expected) => compare(scalar(expected), (order) => order !== 0) },
  in: { compile: (expected) => isIn(list(expected)) },
  not_in: { compile: (expected) => isNotIn(list(expected)) },
  lt: { compile: (expected) => order(expected, (a, b) => a < b) },
  lte: { compile: (expected) => order(expected, (a, b) => a <= b) },
  gt: { compile: (expected) => order(expected, (a, b) => a > b) },
  gte: { compile: (expected) => order(expected, (a, b) => a >= b) },
  regex: { compile: (expected) => matches(pattern(expected), true) },
  not_regex: { compile: (expected) => matches(pattern(expected), false) },
  glob: { compile: (expected) => text(globs(expected)) },
  not_glob: { compile: (expected) => text(not(globs(expected))) },
  contains: { compile: (expected) => contains(scalar(expected), true), whole: true },
  not_contains: { compile: (expected) => contains(scalar(expected), false), whole: true },
  under: { compile: (expected) => under(folders(expected), true) },
  not_under: { compile: (expected) => under(folders(expected), false) },
};

export const operatorNames: readonly string[] = [...Object.keys(operators), 'exists'];

/** Throws an `OperandError` that says what value the operator needs. */
export function compileOperator(op: string, expected: unknown): { readonly holds: Holds; readonly whole: boolean } {
  const operator = operators[op];
  if (!operator) throw new OperandError(`unknown operator "${op}"; there are ${operatorNames.join(', ')}`);
  return { holds: operator.compile(expected), whole: operator.whole ?? false };
}

/** A number, or a text that is one; undefined for anything else. */
export function numberOf(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  if (typeof value !== 'string' || !/^[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3})?$/.test(value)) return undefined;
  const number = Number(value);
  return Number.isFinite(number) ? number : undefined;
}

function isSafe(value: number | undefined): boolean {
  return value !== undefined && Math.abs(value) <= Number.MAX_SAFE_INTEGER;
}

type Scalar = string | number | boolean;

function isScalar(value: unknown): value is Scalar {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
}

function scalar(value: unknown): Scalar {
  if (isScalar(value)) return value;
  throw new OperandError('needs a text, a number, true or false');
}

function list(value: unknown): readonly Scalar[] {
  if (Array.isArray(value) && value.length > 0 && value.every(isScalar)) return value;
  throw new OperandError('needs a list of texts, numbers, true or false');
}

function texts(value: unknown): readonly string[] {
  const all: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (all.length > 0 && all.every((one) => typeof one === 'string' && one !== '')) return all as readonly string[];
  throw new OperandError('needs a text or a list of texts');
}

/** 0 when equal; undefined when the values cannot be compared. */
function compared(a: unknown, b: unknown): number | undefined {
  const [left, right] = [numberOf(a), numberOf(b)];
  const areTexts = typeof a === 'string' && typeof b === 'string';
  // Two long texts of digits may be the same number only because there are too few numbers.
  const areExact = !areTexts || (isSafe(left) && isSafe(right));
  if (left !== undefined && right !== undefined && areExact) return Math.sign(left - right);
  if (!isScalar(a) || typeof a !== typeof b) return undefined;
  return a === b ? 0 : 1;
}

function compare(expected: Scalar, test: (order: number) => boolean): Holds {
  return (actual) => {
    const result = compared(actual, expected);
    return result !== undefined && test(result);
  };
}

function isIn(expected: readonly Scalar[]): Holds {
  return (actual) => expected.some((one) => compared(actual, one) === 0);
}

function isNotIn(expected: readonly Scalar[]): Holds {
  return (actual) => {
    const results = expected.map((one) => compared(actual, one)).filter((one) => one !== undefined);
    return results.length > 0 && !results.includes(0);
  };
}

function order(expected: unknown, test: (a: number, b: number) => boolean): Holds {
  const limit = numberOf(expected);
  if (limit === undefined) throw new OperandError('needs a number');
  return (actual) => {
    const value = numberOf(actual);
    return value !== undefined && test(value, limit);
  };
}

function text(test: (actual: string) => boolean): Holds {
  return (actual) => typeof actual === 'string' && test(actual);
}

function not(test: (actual: string) => boolean): (actual: string) => boolean {
  return (actual) => !test(actual);
}

/**
 * Linear in the length of the text, and in that of the pattern written out: `(x{1,30}){1,30}` has 900 x. A text that would
 * take too long holds for a rule that restricts, and for no other.
 */
function matches(compiled: RE2JS, wanted: boolean): Holds {
  const size = compiled.programSize();
  return (actual, { restricts }) => {
    if (typeof actual !== 'string') return false;
    return size * actual.length > stepLimit ? restricts : compiled.matcher(actual).find() === wanted;
  };
}

const patternLimit = 2_000;
/** Of a pattern written out, in instructions. */
const programLimit = 1_000;
/** Instructions times characters: 100 ms (measured with re2js 2). */
const stepLimit = 5_000_000;

function pattern(value: unknown): RE2JS {
  if (typeof value !== 'string') throw new OperandError('needs a pattern');
  return compilePattern(value);
}

function compilePattern(source: string, flags = 0): RE2JS {
  if (source.length > patternLimit) throw new OperandError(`has a pattern of more than ${patternLimit} characters`);
  try {
    const compiled = RE2JS.compile(source, flags);
    if (compiled.programSize() <= programLimit) return compiled;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new OperandError(`has a pattern that RE2 does not take: ${why}`);
  }
  throw new OperandError('has a pattern that is too large when its repetitions are written out');
}

/** On Windows a path comes with backslashes and in any case, and a glob is written with slashes. */
export function globs(value: unknown, platform = process.platform): (actual: string) => boolean {
  const isWindows = platform === 'win32';
  const flags = RE2JS.DOTALL | (isWindows ? RE2JS.CASE_INSENSITIVE : 0);
  const slashed = (text: string): string => (isWindows ? text.replaceAll('\\', '/') : text);
  const compiled = texts(value).map((glob) => compilePattern(patternOfGlob(slashed(glob)), flags));
  return (actual) => {
    const text = slashed(actual);
    return compiled.some((one) => one.matcher(text).find());
  };
}

/** `*` and `?` stay within a part of a path, `**` does not, `{a,b}` is one of several. */
function patternOfGlob(glob: string): string {
  let depth = 0;
  const parts = glob.match(/\*\*\/|\*\*|[\s\S]/gu) ?? [];
  const source = parts.map((part) => {
    if (part === '**/') return '(?:.*/)?';
    if (part === '**') return '.*';
    if (part === '*') return '[^/]*';
    if (part === '?') return '[^/]';
    if (part === '{') depth++;
    if (part === '{') return '(?:';
    if (part === '}' && depth > 0) {
      depth--;
      return ')';
    }
    if (part === ',' && depth > 0) return '|';
    return part.replace(/[\\^$.|+()[\]{}]/, '\\$&');
  });
  if (depth > 0) throw new OperandError(`has a "{" without its "}" in "${glob}"`);
  return `^${source.join('')}$`;
}

/** A part of a text, or an element of an array. */
function contains(expected: Scalar, wanted: boolean): Holds {
  return (actual) => {
    if (Array.isArray(actual)) return actual.some((one) => compared(one, expected) === 0) === wanted;
    return typeof actual === 'string' && typeof expected === 'string' && actual.includes(expected) === wanted;
  };
}

function folders(value: unknown): readonly string[] {
  return texts(value);
}

/** A path or a folder that cannot be made real is neither inside nor outside. */
function under(expected: readonly string[], wanted: boolean): Holds {
  return (actual, { base, realPath }) => {
    if (typeof actual !== 'string' || actual === '') return false;
    const path = realPath(actual, base);
    const real = expected.map((folder) => realPath(folder, base));
    if (path === null || real.includes(null)) return false;
    return real.some((folder) => folder !== null && isInside(path, folder)) === wanted;
  };
}

function isInside(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : `${folder}${sep}`);
}
