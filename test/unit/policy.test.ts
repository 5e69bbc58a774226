import fc from 'fast-check';
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { gatedSetup } from '../../src/codex/gatedThreads';
import type { RpcPeer } from '../../src/codex/rpc';
import { noInnerGate } from '../../src/core/innerGate';
import { nameOf } from '../../src/policy/shellWords';
import { globs } from '../../src/policy/operators';
import { Counters } from '../../src/policy/counters';
import { type Action, type Circumstances, type Decision, evaluate } from '../../src/policy/evaluate';
import type { Policy } from '../../src/policy/policy';
import { describeMistake, readPolicy } from '../../src/policy/readPolicy';
import { policySchema } from '../../src/policy/policySchema';
import { realPath } from '../../src/policy/realPath';

let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'codex-worker-policy-'));
  await mkdir(join(dir, 'inside', 'deep'), { recursive: true });
  await mkdir(join(dir, 'outside'));
  await symlink(join(dir, 'outside'), join(dir, 'inside', 'link'));
  await symlink(join(dir, 'outside', 'new'), join(dir, 'inside', 'dangling'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

function policyOf(text: string): Policy {
  const { policy, mistakes } = readPolicy(text);
  if (!policy) throw new Error(mistakes.map((mistake) => describeMistake('policy', mistake)).join('\n'));
  return policy;
}

function mistakesOf(text: string): readonly string[] {
  return (readPolicy(text).mistakes ?? []).map((mistake) => describeMistake('p', mistake));
}

const caller = 'somebody';

function circumstances(counters = new Counters()): Circumstances {
  return {
    base: dir,
    realPath,
    valueOf: (scope, counter) => counters.valueOf(scope, counter, caller),
    freeIn: (use, by) => counters.freeIn(use, by, caller),
  };
}

function decide(text: string, action: Partial<Action> = {}, counters?: Counters): Decision {
  return evaluate(policyOf(text), { tool: 't', args: {}, tasks: [], ...action }, circumstances(counters));
}

/** Decides and counts, as the gate does. */
function take(text: string, counters: Counters, action: Partial<Action> = {}): Decision {
  const decision = decide(text, action, counters);
  if (decision.kind === 'allow') for (const { use, by } of decision.increments) counters.add(use, by, caller);
  return decision;
}

const rules = (text: string, tool = 't'): string => `tools: {"${tool}": {rules: [${text}]}}`;
const condition = (path: string, op: string, value: string, more = ''): string =>
  rules(`{conditions: [{path: ${path}, op: ${op}, value: ${value}${more}}]}`);

describe('an operator', () => {
  const x = (value: unknown): Action['args'] => ({ x: value });
  it.each<[op: string, value: string, args: Action['args'], holds: boolean]>([
    ['eq', '5', x(5), true],
    ['eq', '5', x('5.0'), true],
    ['eq', '"5"', x(5), true],
    ['eq', 'main', x('main'), true],
    ['eq', 'main', x('Main'), false],
    ['eq', 'true', x(true), true],
    ['eq', 'true', x('true'), false],
    ['eq', '5', x({}), false],
    ['eq', '5', x(null), false],
    ['eq', '5', {}, false],
    ['eq', '5', x([5, 5]), true],
    ['eq', '5', x([5, 6]), false],
    ['eq', '5', x([]), false],
    ['neq', '5', x(6), true],
    ['neq', '5', x('5'), false],
    ['neq', 'a', x('b'), true],
    ['neq', 'a', x(5), false],
    ['neq', 'a', x({}), false],
    ['neq', 'a', x(['b', 5]), false],
    ['neq', 'a', {}, false],
    ['in', '[a, 5]', x('a'), true],
    ['in', '[a, 5]', x('5'), true],
    ['in', '[a, 5]', x('b'), false],
    ['in', '[a, b]', x(['a', 'b', 'a']), true],
    ['in', '[a, b]', x(['a', 'c']), false],
    ['in', '[a]', {}, false],
    ['not_in', '[a, b]', x('c'), true],
    ['not_in', '[a, b]', x('a'), false],
    ['not_in', '[a, b]', x(5), false],
    ['not_in', '[a, b]', x({ a: 1 }), false],
    ['not_in', '[a, b]', x(['c', 'a']), false],
    ['not_in', '[a]', {}, false],
    ['lt', '5', x(4.9), true],
    ['lt', '5', x(5), false],
    ['lte', '5', x('5'), true],
    ['lte', '5', x('5 '), false],
    ['lte', '5', x('0x4'), false],
    ['lte', '5', x(Number.NaN), false],
    ['lte', '5', x(true), false],
    ['lte', '"5"', x(5), true],
    ['gt', '5', x(5.1), true],
    ['gt', '5', x(Infinity), false],
    ['gte', '5', x(5), true],
    ['gte', '5', x([5, 9]), true],
    ['gte', '5', {}, false],
    ['regex', '"^feat/"', x('feat/a'), true],
    ['regex', '"eat"', x('feat/a'), true],
    ['regex', '"^eat"', x('feat/a'), false],
    ['regex', '"5"', x(5), false],
    ['regex', '"a"', x(['a', 'b']), false],
    ['not_regex', '"^-"', x('a'), true],
    ['not_regex', '"^-"', x('-a'), false],
    ['not_regex', '"^-"', x(5), false],
    ['not_regex', '"^-"', {}, false],
    ['glob', '"src/**/*.ts"', x('src/a.ts'), true],
    ['glob', '"src/**/*.ts"', x('src/b/c/a.ts'), true],
    ['glob', '"src/*.ts"', x('src/b/a.ts'), false],
    ['glob', '["*.md", "*.{ts,js}"]', x('a.js'), true],
    ['glob', '"a?c"', x('abc'), true],
    ['glob', '"a.c"', x('abc'), false],
    ['glob', '"*"', x('a\nb'), true],
    ['not_glob', '"*.env"', x('a.ts'), true],
    ['not_glob', '"*.env"', x('a.env'), false],
    ['not_glob', '"*.env"', x(5), false],
    ['contains', 'test', x('a test'), true],
    ['contains', 'test', x(['a', 'test']), true],
    ['contains', 'test', x(['a test']), false],
    ['contains', '5', x(['5']), true],
    ['contains', '5', x('a5'), false],
    ['contains', 'test', x({ test: 1 }), false],
    ['not_contains', 'sudo', x('ls'), true],
    ['not_contains', 'sudo', x('sudo ls'), false],
    ['not_contains', 'sudo', x(5), false],
    ['not_contains', 'sudo', {}, false],
    ['exists', 'true', x(1), true],
    ['exists', 'true', x(null), false],
    ['eq', '"10000000000000000000"', x('10000000000000000001'), false],
    ['eq', '"10000000000000000000"', x('10000000000000000000'), true],
    ['neq', '"10000000000000000000"', x('10000000000000000001'), true],
    ['eq', '"1.0"', x('1'), true],
    ['exists', 'false', {}, true],
    ['exists', 'false', x(0), false],
    ['exists', 'true', x([]), true],
  ])('%s %s of %j holds: %s', (op, value, args, holds) => {
    expect(decide(condition('args.x', op, value), { args }).kind).toBe(holds ? 'allow' : 'deny');
  });

  it.each<[path: string, args: Action['args'], any: boolean, holds: boolean]>([
    ['args.a.b.c', { a: { b: { c: 1 } } }, false, true],
    ['args.a.b.c', { a: { b: 1 } }, false, false],
    ['args.a.b', { a: [{ b: 1 }, { b: 1 }] }, false, true],
    ['args.a.b', { a: [{ b: 1 }, {}] }, false, false],
    ['args.a.b', { a: [{ b: 1 }, { b: 2 }] }, false, false],
    ['args.a.b', { a: [{ b: 1 }, { b: 2 }] }, true, true],
    ['args.constructor.name', {}, false, false],
    ['args.__proto__.x', {}, false, false],
    ['args.length', {}, false, false],
  ])('%s in %j, any: %s, holds: %s', (path, args, any, holds) => {
    expect(decide(condition(path, 'eq', '1', `, any: ${any}`), { args }).kind).toBe(holds ? 'allow' : 'deny');
  });

  it.each<[rule: string, items: readonly unknown[], kind: Decision['kind']]>([
    ['{action: deny, conditions: [{path: args.items.x, op: eq, value: bad, any: true}]}', [{ x: 'bad' }, {}], 'deny'],
    ['{action: deny, conditions: [{path: args.items.x, op: eq, value: bad, any: true}]}', [{ x: 'good' }, {}], 'allow'],
    ['{action: deny, conditions: [{path: args.items.force, op: exists, value: true}]}', [{ force: 1 }, {}], 'deny'],
    ['{action: deny, conditions: [{path: args.items.force, op: exists, value: true}]}', [{}, {}], 'allow'],
    ['{conditions: [{path: args.items.force, op: exists, value: false}]}', [{ force: 1 }, {}], 'deny'],
    ['{conditions: [{path: args.items.force, op: exists, value: false}]}', [{}, {}], 'allow'],
    ['{conditions: [{path: args.items.force, op: exists, value: true}]}', [{ force: 1 }, {}], 'deny'],
    ['{conditions: [{path: args.items.force, op: exists, value: true}]}', [{ force: 1 }, { force: 2 }], 'allow'],
  ])('%s over %j: %s', (rule, items, kind) => {
    expect(decide(rules(rule), { args: { items } }).kind).toBe(kind);
  });

  it.each([
    ['inside', true],
    ['inside/deep/new/file', true],
    ['inside/../inside/deep', true],
    ['inside/deep/../../outside', false],
    ['inside/link', false],
    ['inside/link/file', false],
    ['inside/link/../inside/deep', true],
    ['inside/link/../deep', false],
    ['inside/dangling', false],
    ['inside-not', false],
    ['inside\\..\\..\\outside', false],
    ['outside', false],
    ['/etc/passwd', false],
    ['~', false],
    ['inside/\0', false],
    [`inside/${'x/'.repeat(3_000)}`, false],
  ])('under inside, of %j, holds: %s', (path, holds) => {
    expect(decide(condition('args.paths', 'under', 'inside'), { args: { paths: ['inside', path] } }).kind).toBe(
      holds ? 'allow' : 'deny',
    );
  });

  it.each([
    ['outside', true],
    ['inside/link/../deep', true],
    ['inside/deep', false],
    ['inside/dangling', false],
    ['inside\\deep', false],
  ])('not_under inside, of %j, holds: %s', (path, holds) => {
    expect(decide(condition('args.x', 'not_under', 'inside'), { args: { x: path } }).kind).toBe(
      holds ? 'allow' : 'deny',
    );
  });

  it('regex takes linear time, whatever the pattern and the text', () => {
    const text = condition('args.x', 'regex', '"(a+)+$|(.*.*.*)*x$"');
    expect(decide(text, { args: x(`${'a'.repeat(20_000)}!`) }).kind).toBe('deny');
  });
});

describe('an action', () => {
  const holds = 'conditions: [{path: args.x, op: eq, value: 1}]';
  it.each<[rule: string, x: number, kind: Decision['kind']]>([
    [`{${holds}}`, 1, 'allow'],
    [`{${holds}}`, 2, 'deny'],
    [`{action: deny}`, 1, 'deny'],
    [`{action: deny, ${holds}}`, 1, 'deny'],
    [`{action: deny, ${holds}}`, 2, 'allow'],
    [`{action: allow, ${holds}}`, 1, 'allow'],
    [`{action: allow, ${holds}}`, 2, 'allow'],
    [`{action: require_approval}`, 1, 'ask'],
    [`{action: require_approval, ${holds}}`, 1, 'ask'],
    [`{action: require_approval, ${holds}}`, 2, 'allow'],
    [`{action: allow}, {action: deny}`, 1, 'deny'],
    [`{action: require_approval}, {action: deny}`, 1, 'deny'],
    [`{action: require_approval}, {${holds}}`, 2, 'deny'],
    [`{action: allow}, {action: require_approval}`, 1, 'ask'],
  ])('%s with x = %d: %s', (rule, value, kind) => {
    expect(decide(rules(rule), { args: { x: value } }).kind).toBe(kind);
  });

  it('denies with the reason and the name of the first rule that fails', () => {
    const text = rules(`{name: one, reason: first, ${holds}}, {on_deny: second, ${holds}}`);
    expect(decide(text, { args: { x: 2 } })).toMatchObject({ kind: 'deny', rule: 'one', reason: 'first' });
    expect(decide(rules('{action: allow}, {action: deny}'))).toMatchObject({
      rule: 't[1]',
      reason: 'Rule "t[1]" forbids it.',
    });
  });

  it('asks with the time limit of the rule, or else of the policy', () => {
    const ask = (more: string, top = ''): Decision => decide(`${top}\n${rules(`{action: require_approval${more}}`)}`);
    expect(ask('')).toMatchObject({ timeoutMs: 600_000 });
    expect(ask('', 'approvals: {timeout: 2h}')).toMatchObject({ timeoutMs: 7_200_000 });
    expect(ask(', approval_timeout: 30s', 'approvals: {timeout: 2h}')).toMatchObject({ timeoutMs: 30_000 });
  });
});

describe('the order', () => {
  const denyAll = '"*": {rules: [{action: deny, reason: star}]}';
  it.each<[text: string, tool: string, expected: object]>([
    ['hide: [t]', 't', { kind: 'deny', rule: 'hide' }],
    ['hide: [t]', 'T', { kind: 'allow' }],
    ['hide: "*"', 't', { kind: 'deny', rule: 'hide' }],
    ['hide: ["*"]', 't', { kind: 'deny', rule: 'hide' }],
    ['hide: [t]\ntools: {t: {rules: [{action: allow}]}}', 't', { kind: 'deny', rule: 'hide' }],
    ['default: deny', 't', { kind: 'deny', rule: 'default' }],
    ['default: deny\ntools: {t: {rules: []}}', 't', { kind: 'allow' }],
    ['default: deny\ntools: {t: }', 't', { kind: 'allow' }],
    ['default: deny\ntools: {T: {rules: []}}', 't', { kind: 'deny', rule: 'default' }],
    ['default: deny\ntools: {"*": {rules: [{action: allow}]}}', 't', { kind: 'deny', rule: 'default' }],
    [`tools: {t: {rules: [{action: deny, reason: own}]}, ${denyAll}}`, 't', { reason: 'own' }],
    [`tools: {t: {rules: [{action: allow}]}, ${denyAll}}`, 't', { kind: 'deny', reason: 'star' }],
    [`tools: {${denyAll}}`, 'codex/command', { kind: 'allow', rule: null }],
    ['default: deny', 'codex/command', { kind: 'allow', rule: null }],
    ['hide: "*"', 'codex/command', { kind: 'allow', rule: null }],
    [rules('{action: allow, name: yes}', 'codex/command'), 'codex/command', { kind: 'allow', rule: { name: 'yes' } }],
    ['', 't', { kind: 'allow', rule: null, increments: [] }],
  ])('%s for %s', (text, tool, expected) => {
    expect(decide(text, { tool })).toMatchObject(expected);
  });
});

describe('the tasks that a call names', () => {
  const own = (any: boolean): string => condition('task.mine', 'eq', 'true', `, any: ${any}`);
  it.each<[any: boolean, tasks: Action['tasks'], kind: Decision['kind']]>([
    [false, [{ mine: true }, { mine: true }], 'allow'],
    [false, [{ mine: true }, { mine: false }], 'deny'],
    [true, [{ mine: true }, { mine: false }], 'allow'],
    [false, [{ mine: true }, {}], 'deny'],
    [false, [], 'deny'],
    [true, [], 'deny'],
  ])('any: %s of %j: %s', (any, tasks, kind) => {
    expect(decide(own(any), { tasks }).kind).toBe(kind);
  });
});

describe('a rate limit', () => {
  const at = (iso: string): number => Date.parse(`2026-01-01T${iso}Z`);
  it.each([
    ['2/minute', '10:00:59.000', '10:01:00.000', 1_000],
    ['2/hour', '10:59:59.000', '11:00:00.000', 1_000],
    ['2/day', '23:59:59.000', '24:00:00.000', 1_000],
    ['{max: 2, window: 60}', '10:00:59.000', '10:01:59.000', 60_000],
  ])('of %s lets so many through, and again in its next window', (limit, first, next, retryAfterMs) => {
    let now = at(first);
    const counters = new Counters(() => now);
    const text = rules(`{rate_limit: ${limit}}`);
    const kinds = [1, 2, 3].map(() => take(text, counters));
    expect(kinds.map(({ kind }) => kind)).toEqual(['allow', 'allow', 'deny']);
    expect(kinds[2]).toMatchObject({ retryAfterMs, reason: expect.stringMatching(/^Rate limit of 2 per /) as string });
    now = next.startsWith('24') ? at('00:00:00.000') + 86_400_000 : at(next) - 1;
    if (!next.startsWith('24')) expect(take(text, counters).kind).toBe('deny');
    now = next.startsWith('24') ? now : at(next);
    expect(take(text, counters).kind).toBe('allow');
  });

  it('counts every tool together under "*", and each tool for itself elsewhere', () => {
    const counters = new Counters();
    const every = rules('{rate_limit: 2/day}', '*');
    expect(['a', 'b', 'c'].map((tool) => take(every, counters, { tool }).kind)).toEqual(['allow', 'allow', 'deny']);
    const each = 'tools: {a: {rules: [{rate_limit: 1/hour}]}, b: {rules: [{rate_limit: 1/hour}]}}';
    expect(['a', 'b', 'a'].map((tool) => take(each, counters, { tool }).kind)).toEqual(['allow', 'allow', 'deny']);
  });

  it('that slides is each caller’s own, and a clock set back opens no window', () => {
    let now = at('10:00:00.000');
    const counters = new Counters(() => now);
    const { use } = policyOf(rules('{rate_limit: {max: 1, window: 60}}')).tools.get('t')![0]!;
    counters.add(use!, 1, 'a');
    expect(['a', 'b'].map((who) => counters.valueOf('t', '_rate_60s', who))).toEqual([1, 0]);
    const text = rules('{rate_limit: 1/hour}');
    expect(take(text, counters).kind).toBe('allow');
    now = at('09:00:00.000');
    expect(take(text, counters).kind).toBe('deny');
  });

  it.each(['rate_limit: 2/day', 'rate_limit: {max: 2, window: 60}'])(
    'of %s is not kept for ever by a clock that had jumped ahead, nor given back by it',
    (limit) => {
      const day = 86_400_000;
      let now = 100 * day;
      const counters = new Counters(() => now);
      const rule = rules(`{${limit}}`);
      now += 400 * day;
      expect(take(rule, counters).kind).toBe('allow');
      now -= 400 * day;
      expect([take(rule, counters).kind, take(rule, counters).kind]).toEqual(['allow', 'deny']);
      now += day;
      expect(take(rule, counters).kind).toBe('allow');
    },
  );

  it('is taken back once when the call failed, and never goes below zero', () => {
    const counters = new Counters();
    const { use } = policyOf(rules('{rate_limit: 5/hour}')).tools.get('t')![0]!;
    const back = [counters.add(use!, 1, caller), counters.add(use!, 1, caller)];
    back[0]!();
    back[0]!();
    expect(counters.valueOf('t', '_rate_hour', caller)).toBe(1);
    back[1]!();
    expect(counters.valueOf('t', '_rate_hour', caller)).toBe(0);
  });

  it('is kept over a restart', () => {
    const counters = new Counters();
    const text = rules('{rate_limit: 1/day}, {rate_limit: {max: 1, window: 600}}');
    expect(take(text, counters).kind).toBe('allow');
    const next = new Counters();
    next.load(counters.save());
    expect([next.valueOf('t', '_rate_day', caller), next.valueOf('t', '_rate_600s', caller)]).toEqual([1, 1]);
    expect(take(text, next).kind).toBe('deny');
  });
});

describe('a counter', () => {
  const spending = rules(
    '{conditions: [{path: state.t.spent, op: lte, value: 10}], state: {counter: spent, window: day, increment_from: args.n}}',
  );
  it.each<[ns: readonly unknown[], kinds: string]>([
    [[4, 6, 1], 'allow allow deny'],
    [[11, 10], 'deny allow'],
    [['4', '6.5'], 'allow deny'],
    [[-5], 'deny'],
    [[undefined], 'deny'],
    [['much'], 'deny'],
    [[1e308], 'deny'],
    [[[1, 2]], 'deny'],
    [[0, 10, 0], 'allow allow allow'],
  ])('that adds up %j: %s', (ns, kinds) => {
    const counters = new Counters();
    expect(ns.map((n) => take(spending, counters, { args: { n } }).kind).join(' ')).toBe(kinds);
  });

  it('is counted with all others of a call, or none is', () => {
    const counters = new Counters();
    const text = rules('{rate_limit: 5/hour}, {rate_limit: 1/day}');
    expect([take(text, counters).kind, take(text, counters).kind]).toEqual(['allow', 'deny']);
    expect(counters.valueOf('t', '_rate_hour', caller)).toBe(1);
  });
});

describe('a file', () => {
  it.each<[text: string, mistakes: readonly string[]]>([
    ['version: 1', ['p:1:10: version: must be "1"']],
    ['rules: []', ['p:1:1: rules: unknown field "rules"']],
    [
      'tools:\n  t:\n    rules:\n      - rate_limt: 5/hour',
      ['p:4:9: tools.t.rules[0].rate_limt: unknown field "rate_limt"'],
    ],
    [
      'tools:\n  t:\n    rules:\n      - conditions:\n          - {path: args.x, op: equals, value: 1}',
      [
        expect.stringMatching(
          /^p:5:32: tools\.t\.rules\[0\]\.conditions\[0\]\.op: unknown operator "equals"; there are eq,/,
        ) as string,
      ],
    ],
    [condition('args.x', 'in', '5'), [expect.stringContaining('.value: in needs a list') as string]],
    [condition('args.x', 'lte', 'much'), [expect.stringContaining('.value: lte needs a number') as string]],
    [condition('args.x', 'regex', '"("'), [expect.stringContaining('RE2 does not take') as string]],
    [condition('args.x', 'exists', '1'), [expect.stringContaining('must be true or false') as string]],
    [condition('x', 'eq', '1'), [expect.stringContaining('.path: must be args.<field>') as string]],
    [condition('state.t.n', 'eq', '1'), [expect.stringContaining('.path: no rule counts state.t.n') as string]],
    [rules('{}'), [expect.stringContaining('needs conditions or a rate_limit') as string]],
    [rules('{action: block}'), [expect.stringContaining('.action: must be one of evaluate, allow, deny') as string]],
    [rules('{rate_limit: 0/hour}'), [expect.stringContaining('must be like 10/minute') as string]],
    [rules('{rate_limit: 5/week}'), [expect.stringContaining('must be like 10/minute') as string]],
    [
      rules('{rate_limit: 5/hour, action: deny}'),
      [expect.stringContaining('cannot stand in a rule with action deny') as string],
    ],
    [
      rules('{rate_limit: 5/hour}, {rate_limit: 6/hour}'),
      [expect.stringContaining('counted by an earlier rule') as string],
    ],
    [
      rules('{action: deny, approval_timeout: 5m}'),
      [expect.stringContaining('needs the action require_approval') as string],
    ],
    [rules('{action: deny}', 'codex/comand'), [expect.stringContaining('there is no "codex/comand"') as string]],
    ['default: allow\ndefault: deny', [expect.stringMatching(/^p:2:1: Map keys must be unique/) as string]],
    ['tools: [', [expect.stringMatching(/^p:1:\d+: /) as string]],
    ['- a', [expect.stringMatching(/must be an object/) as string]],
    ['hide: [a, a]', ['p:1:11: hide[1]: "a" is hidden twice']],
    [
      'a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c]',
      [expect.stringContaining('Excessive alias count') as string],
    ],
  ])('%j is refused', (text, mistakes) => {
    expect(mistakesOf(text)).toEqual(mistakes);
  });

  it('in Intercept’s dialect and in the short one is read as it is', () => {
    const intercept = policyOf(`
version: "1"
description: "Example policies"
default: deny
hide:
  - transfer_repository
tools:
  create_charge:
    rules:
      - name: "max single charge"
        conditions:
          - path: "args.amount"
            op: "lte"
            value: 50000
        on_deny: "Too much at once"
      - name: "daily spend cap"
        conditions:
          - path: "state.create_charge.daily_spend"
            op: "lt"
            value: 1000000
        on_deny: "Daily cap reached"
        state:
          counter: "daily_spend"
          window: "day"
          increment_from: "args.amount"
  create_issue:
    rules:
      - name: "hourly issue limit"
        rate_limit: 5/hour
        on_deny: "Hourly limit reached"
  "*":
    rules:
      - name: "global rate limit"
        rate_limit: 60/minute
`);
    const charge = (amount: number): Decision =>
      evaluate(intercept, { tool: 'create_charge', args: { amount }, tasks: [] }, circumstances());
    expect([charge(50_000).kind, charge(50_001)]).toMatchObject(['allow', { reason: 'Too much at once' }]);
    const short =
      'tools:\n  cancel-task:\n    rules:\n      - action: deny\n        reason: "Blocked by default — enable with approval"\n';
    expect(decide(short, { tool: 'cancel-task' })).toMatchObject({
      kind: 'deny',
      reason: 'Blocked by default — enable with approval',
    });
  });
});

it('its form is told to editors that complete YAML', async () => {
  const schema = z.toJSONSchema(policySchema, { target: 'draft-7', io: 'input' });
  const path = join(import.meta.dirname, '../../media/policy.schema.json');
  await expect(`${JSON.stringify(schema, null, 2)}\n`).toMatchFileSnapshot(path);
});

describe('whatever is called', () => {
  const values = fc.integer({ min: 0, max: 3 });
  const ops = fc.constantFrom('lt', 'lte', 'gt', 'gte', 'eq', 'neq');
  const rule = fc.tuple(ops, values).map(([op, value]) => `{conditions: [{path: args.x, op: ${op}, value: ${value}}]}`);

  it('the order of evaluate rules never changes whether it is denied', () => {
    fc.assert(
      fc.property(fc.array(rule, { minLength: 1, maxLength: 5 }), values, (all, x) => {
        const [forward, backward] = [all, [...all].reverse()].map((some) =>
          decide(rules(some.join(', ')), { args: { x } }),
        );
        expect(backward!.kind).toBe(forward!.kind);
      }),
    );
  });
});

describe('on Windows', () => {
  it.each([
    ['**/.env', 'C:\\repo\\.env', true],
    ['**/.env', 'c:\\repo\\sub\\.ENV', true],
    ['C:/repo/*.ts', 'C:\\repo\\a.ts', true],
    ['C:\\repo\\*.ts', 'C:/repo/a.ts', true],
    ['C:/repo/*.ts', 'C:\\repo\\sub\\a.ts', false],
  ])('the glob %s takes %s: %s', (glob, path, matches) => {
    expect(globs(glob, 'win32')(path)).toBe(matches);
  });

  it('elsewhere a backslash is part of a name, and letters have their case', () => {
    expect([globs('**/.env', 'linux')('a\\.env'), globs('*.md', 'linux')('A.MD')]).toEqual([false, false]);
  });

  it('a program is known without its path and its end', () => {
    const programs = ['C:\\Windows\\PowerShell.EXE', '/usr/bin/bash.exe', 'npm.cmd', '/bin/rm', 'a\\b'];
    expect(programs.map(nameOf)).toEqual(['powershell', 'bash', 'npm', 'rm', 'a\\b']);
  });

  it('rules for what happens inside a task are refused by name, for nobody reads those shells', async () => {
    const rpc = { request: () => Promise.resolve({ config: {}, origins: {} }) } as unknown as RpcPeer;
    const gate = { ...noInnerGate, holds: true, refusesUnseen: true };
    const place = { cwd: tmpdir(), environment: 'one' };
    await expect(gatedSetup(rpc, place, gate, 'win32')).rejects.toMatchObject({
      code: 'policy_unenforceable',
      message: expect.stringContaining('on Windows commands run in PowerShell or cmd') as string,
    });
    await gatedSetup(rpc, place, { ...gate, refusesUnseen: false }, 'win32');
  });
});

describe('what restricts', () => {
  const value = fc.constantFrom('a', 'b', 'ab', 1, 2, '2', true, null, {}, undefined);
  const operand = fc.constantFrom(
    ['eq', '"a"'], ['neq', '"a"'], ['in', '[a, 2]'], ['not_in', '[a, 2]'], ['lt', '2'], ['gte', '2'], ['regex', '"^a"'],
    ['not_regex', '"^a"'], ['contains', '"a"'], ['glob', '"a*"'], ['exists', 'true'], ['exists', 'false'],
  ); // prettier-ignore
  const action = fc.constantFrom('deny', 'require_approval', 'evaluate');
  const ruleOn = (path: string, act: string, [op, operandText]: readonly string[]): string =>
    `tools: {t: {rules: [{action: ${act}, conditions: [{path: ${path}, op: ${op}, value: ${operandText}}]}]}}`;

  it('is not escaped by one element more', () => {
    fc.assert(
      fc.property(action, operand, fc.array(value, { minLength: 1, maxLength: 3 }), value, fc.nat(3), (act, op, few, one, at) => {
        const text = ruleOn('args.x', act, op);
        const before = decide(text, { args: { x: few } }).kind;
        const more = few.toSpliced(at, 0, one);
        // Where an array is one value, another one is another value.
        if (before === 'allow' || op[0] === 'contains' || (act === 'evaluate' && op[0] === 'exists')) return;
        expect(decide(text, { args: { x: more } }).kind).toBe(before);
      }),
    ); // prettier-ignore
  });

  it('is not escaped by one task more, known or not', () => {
    const task = fc.oneof(fc.constant({}), fc.record({ status: value, cwd: value }));
    fc.assert(
      fc.property(action, operand, operand, fc.array(task, { minLength: 1, maxLength: 3 }), task, (act, op, second, few, one) => {
        const text = ruleOn('task.status', act, op).replace(
          '}]}]}}',
          `}, {path: task.cwd, op: ${second[0]}, value: ${second[1]}}]}]}}`,
        );
        const before = decide(text, { tasks: few }).kind;
        if (before === 'allow') return;
        expect(decide(text, { tasks: [...few, one] }).kind).toBe(before);
        expect(decide(text, { tasks: [one, ...few] }).kind).toBe(before);
      }),
    ); // prettier-ignore
  });

  it('looks at all conditions of one task together, and at every task where the rule says so', () => {
    const rule = (any: string): string =>
      `tools: {t: {rules: [{action: deny, conditions: [{path: task.status, op: eq, value: working${any}}, {path: task.labels, op: contains, value: prod${any}}]}]}}`;
    const [a, b, both] = [
      { status: 'working', labels: ['dev'] },
      { status: 'completed', labels: ['dev', 'prod'] },
      { status: 'working', labels: ['prod'] },
    ];
    expect(decide(rule(''), { tasks: [a, b] }).kind).toBe('allow');
    expect(decide(rule(''), { tasks: [a, both, b] }).kind).toBe('deny');
    expect(decide(rule(', any: true'), { tasks: [a, b] }).kind).toBe('deny');
    expect(decide(rule(', any: false'), { tasks: [both, a] }).kind).toBe('allow');
    expect(decide(rule(', any: false'), { tasks: [both, both] }).kind).toBe('deny');
  });

  it('denies a program among others', () => {
    const rule =
      'tools: {codex/command: {rules: [{action: deny, conditions: [{path: args.programs, op: in, value: [rm]}]}]}}';
    expect(decide(rule, { tool: 'codex/command', args: { programs: ['ls', 'rm'] } }).kind).toBe('deny');
  });
});

describe('a pattern', () => {
  it.each(['(x{1,30}){1,30}$', '(x{0,100}){0,10}y', '(([a-z]*[0-9]*){1,20}){1,40}!'])(
    'that is too large when it is written out is a mistake: %s',
    (pattern) => {
      expect(mistakesOf(condition('args.x', 'regex', `"${pattern}"`))).toEqual([
        expect.stringContaining('repetitions are written out') as string,
      ]);
    },
  );

  it('that a text would keep too long holds for what restricts, and for nothing else', () => {
    const pattern = '(a|b|c)?'.repeat(40);
    const long = 'd'.repeat(100_000);
    for (const op of ['regex', 'not_regex']) {
      const rule = (action: string): string =>
        rules(`{action: ${action}, conditions: [{path: args.x, op: ${op}, value: "${pattern}"}]}`);
      expect(decide(rule('deny'), { args: { x: long } }).kind).toBe('deny');
      expect(decide(rule('require_approval'), { args: { x: long } }).kind).toBe('ask');
      expect(decide(rule('evaluate'), { args: { x: long } }).kind).toBe('deny');
      expect(decide(rule('deny'), { args: { x: 'd' } }).kind).toBe(op === 'regex' ? 'deny' : 'allow');
    }
  });
});
