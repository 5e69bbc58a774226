import fc from 'fast-check';
import { execa } from 'execa';
import { appendFile, link, mkdir, mkdtemp, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ApprovalChoice, GatedCall } from '../../src/core/toolGate';
import { GatedRequests } from '../../src/core/gatedRequests';
import type { Answer } from '../../src/core/pendingRequest';
import { AuditTrail, verifyAudit } from '../../src/policy/audit';
import { builtIn, scaffoldText } from '../../src/policy/builtIn';
import { Policies } from '../../src/policy/policies';
import type { PolicyGate } from '../../src/policy/policyGate';
import { readPolicy } from '../../src/policy/readPolicy';

let dir: string;
let path: string;
let policies: Policies;
let gate: PolicyGate;
let personPresent = true;
const lines: string[] = [];
const log = (_level: string, message: string): void => void lines.push(message);

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'codex-worker-gate-'));
  path = join(dir, 'user.yaml');
  personPresent = true;
  known = [];
  atWork = [];
  isRestored = true;
  lines.length = 0;
});
afterEach(async () => {
  await policies.close();
  await rm(dir, { recursive: true, force: true });
});

let known: string[] = [];
/** When the tasks at work were spawned. */
let atWork: number[] = [];
let isRestored = true;
let isTrusted = true;

async function open(text: string | null, silentWaitMs = 50): Promise<void> {
  if (text !== null) await writeFile(path, text);
  policies = await Policies.open({
    stateDir: dir,
    path: () => (text === null ? null : path),
    roots: () => [dir],
    trusted: () => isTrusted,
    log,
    isAtWork: (root, until) => (isRestored ? root === dir && atWork.some((since) => since <= until) : null),
    taskIds: (about, caller) => known.filter((id) => about === 'all' || id.startsWith(caller)),
    factsOf: (id, caller) => (id.startsWith('no-') ? undefined : { spawned_by_caller: id.startsWith(caller) }),
    personPresent: () => personPresent,
    silentWaitMs,
  });
  gate = policies.gate;
}

function callOf(more: Partial<GatedCall> = {}): GatedCall {
  const never = new AbortController().signal;
  return {
    tool: 't',
    args: {},
    caller: 'me',
    client: 'test 1',
    signal: never,
    progress: undefined,
    ask: undefined,
    ...more,
  };
}

const done = (): Promise<string> => Promise.resolve('done');
const pass = (more: Partial<GatedCall> = {}): Promise<string> => gate.pass(callOf(more), done);
/** The code of the refusal, or what the call gave. */
const outcome = (more: Partial<GatedCall> = {}): Promise<string> =>
  pass(more).catch((error: unknown) => (error as { code?: string }).code ?? String(error));
const patient = { progress: () => undefined };

async function answer(choice: ApprovalChoice): Promise<void> {
  const [question] = await vi.waitFor(() => {
    expect(gate.approvals.open).not.toEqual([]);
    return gate.approvals.open;
  });
  expect(gate.approvals.answer(question!.id, choice)).toBe(true);
}

const ask = 'tools: {t: {rules: [{action: require_approval, reason: sure?, name: careful}]}}';

describe('a call', () => {
  it('that is denied is told the reason, and when to try again', async () => {
    await open('tools: {t: {rules: [{action: deny, reason: no}]}, u: {rules: [{rate_limit: 1/hour}]}}');
    await expect(pass()).rejects.toMatchObject({ code: 'policy_denied', message: 'no', retryable: false });
    expect(await outcome({ tool: 'u' })).toBe('done');
    await expect(pass({ tool: 'u' })).rejects.toMatchObject({ code: 'policy_denied', retryable: true });
    const refused: unknown = await pass({ tool: 'u' }).catch((error: unknown) => error);
    const { retryAfterMs } = refused as { retryAfterMs: number };
    expect(retryAfterMs).toBeGreaterThan(0);
    expect(retryAfterMs).toBeLessThanOrEqual(3_600_000);
    expect(await outcome({ tool: 'T' })).toBe('done');
  });

  it('among a thousand at once passes a limit of ten with nine others', async () => {
    await open('tools: {t: {rules: [{rate_limit: 10/day}]}}');
    const outcomes = await Promise.all(Array.from({ length: 1_000 }, () => outcome()));
    expect(outcomes.filter((one) => one === 'done')).toHaveLength(10);
  });

  it('that fails uses up nothing', async () => {
    await open('tools: {t: {rules: [{rate_limit: 1/day}, {rate_limit: 1/hour}]}}');
    await expect(gate.pass(callOf(), () => Promise.reject(new Error('failed')))).rejects.toThrow('failed');
    expect([await outcome(), await outcome()]).toEqual(['done', 'policy_denied']);
  });

  it('that was given up while it waited, after it had its effect, is counted', async () => {
    await open('tools: {t: {rules: [{rate_limit: 1/day}]}}');
    const gone = new AbortController();
    const called = gate.pass(callOf({ signal: gone.signal }), () => {
      gone.abort();
      return Promise.reject(new Error('aborted'));
    });
    await expect(called).rejects.toThrow('aborted');
    expect(await outcome()).toBe('policy_denied');
  });

  it('that listens to tasks without naming them is one for each of them', async () => {
    known = ['me-task-1', 'no-task-1'];
    await open('tools: {wait-task: {rules: [{conditions: [{path: task.spawned_by_caller, op: eq, value: true}]}]}}');
    const wait = (args: object) => outcome({ tool: 'wait-task', args: { ...args } });
    expect(await wait({ task_id: 'me-task-1' })).toBe('done');
    expect(await wait({})).toBe('done');
    expect(await wait({ task_id: 'all' })).toBe('policy_denied');
    expect([gate.hidesTask('me-task-1', 'me'), gate.hidesTask('no-task-1', 'me')]).toEqual([false, true]);
    known = ['me-task-1'];
    expect(await wait({ task_id: 'all' })).toBe('done');
  });

  it('is counted over a restart', async () => {
    await open('tools: {t: {rules: [{rate_limit: 1/day}]}}');
    expect(await outcome()).toBe('done');
    await policies.close();
    await open('tools: {t: {rules: [{rate_limit: 1/day}]}}');
    expect(await outcome()).toBe('policy_denied');
  });
});

describe('an approval', () => {
  it('shows who asks for what and why, and lets the call through once', async () => {
    await open(ask);
    const waiting = outcome({ ...patient, args: { task_id: 'x' } });
    await vi.waitFor(() => {
      expect(gate.approvals.open).toMatchObject([
        { caller: 'me', client: 'test 1', tool: 't', args: { task_id: 'x' }, rule: 'careful', reason: 'sure?' },
      ]);
    });
    await answer('once');
    expect(await waiting).toBe('done');
    const again = outcome({ ...patient, args: { task_id: 'x' } });
    await answer('deny');
    expect(await again).toBe('policy_denied');
  });

  it('is picked up by the same call, once, when nobody answered in time', async () => {
    await open(ask);
    await expect(pass()).rejects.toMatchObject({ code: 'approval_required', retryable: true });
    expect(gate.approvals.open).toHaveLength(1);
    await answer('once');
    expect([await outcome(), await outcome()]).toEqual(['done', 'approval_required']);
  });

  it.each<[what: string, more: Partial<GatedCall>]>([
    ['other arguments', { args: { a: 2 } }],
    ['more arguments', { args: { a: 1, b: 1 } }],
    ['another caller', { caller: 'somebody else' }],
    ['another tool', { tool: 'u' }],
  ])('is of no use to a call with %s', async (_, more) => {
    await open('tools: {"*": {rules: [{action: require_approval}]}}');
    expect(await outcome({ args: { a: 1 } })).toBe('approval_required');
    await answer('once');
    expect(await outcome({ args: { a: 1 }, ...more })).toBe('approval_required');
    expect(await outcome({ args: { a: 1 } })).toBe('done');
  });

  it('for the session holds for its caller, tool and rule', async () => {
    await open('tools: {t: {rules: [{action: require_approval}]}, u: {rules: [{action: require_approval}]}}');
    const first = outcome(patient);
    await answer('session');
    expect(await first).toBe('done');
    expect(await outcome({ args: { other: 1 } })).toBe('done');
    expect(await outcome({ caller: 'else' })).toBe('approval_required');
    expect(await outcome({ tool: 'u' })).toBe('approval_required');
  });

  it('for the session is one for all the rules that wanted it, as they were', async () => {
    const danger =
      '{action: require_approval, name: any}, {action: require_approval, name: danger, conditions: [{path: args.x, op: eq, value: 1}]}';
    await open(`tools: {t: {rules: [${danger}]}}`);
    const first = outcome(patient);
    await answer('session');
    expect([await first, await outcome()]).toEqual(['done', 'done']);
    expect(await outcome({ args: { x: 1 } })).toBe('approval_required');
    gate.approvals.answer(gate.approvals.open[0]!.id, 'deny');
    await outcome({ args: { x: 1 } });
    // Another rule of the same name is another rule.
    await writeFile(path, 'tools: {t: {rules: [{action: require_approval, name: any, reason: another}]}}');
    await vi.waitFor(async () => expect(await outcome()).toBe('approval_required'), 3_000);
  });

  it('lets one of two equal calls through', async () => {
    await open(ask);
    const both = [outcome(), outcome()];
    await answer('once');
    expect((await Promise.all(both)).sort()).toEqual(['approval_required', 'done']);
  });

  it('does not outrank a denial, nor a limit that was reached meanwhile', async () => {
    await open('tools: {t: {rules: [{action: require_approval}, {rate_limit: 1/day}]}}');
    const both = [outcome({ ...patient, args: { a: 1 } }), outcome({ ...patient, args: { a: 2 } })];
    await vi.waitFor(() => expect(gate.approvals.open).toHaveLength(2));
    await answer('once');
    await answer('once');
    expect((await Promise.all(both)).sort()).toEqual(['done', 'policy_denied']);
  });

  it('is withdrawn with its call', async () => {
    await open(ask);
    const gone = new AbortController();
    const waiting = pass({ ...patient, signal: gone.signal });
    await vi.waitFor(() => expect(gate.approvals.open).toHaveLength(1));
    gone.abort(new Error('cancelled'));
    await expect(waiting).rejects.toThrow('cancelled');
    expect(gate.approvals.open).toEqual([]);
  });

  it('ends at its time limit', async () => {
    await open('tools: {t: {rules: [{action: require_approval, approval_timeout: 1s}]}}');
    await expect(pass(patient)).rejects.toMatchObject({ code: 'approval_timeout', retryable: true });
    expect(gate.approvals.open).toEqual([]);
  });

  it('is asked of the person behind the caller where there is no editor', async () => {
    personPresent = false;
    await open(ask);
    await expect(pass()).rejects.toMatchObject({ code: 'approval_required', retryable: false });
    expect(await outcome({ ...patient, ask: () => Promise.resolve('once') })).toBe('done');
    expect(await outcome({ ...patient, ask: () => Promise.resolve('deny') })).toBe('policy_denied');
    expect(await outcome({ ...patient, ask: () => Promise.reject(new Error('gone')) })).toBe('policy_denied');
  });
});

describe('policies', () => {
  it('of a workspace tighten and never loosen', async () => {
    const rule = fc.constantFrom('{action: allow}', '{action: deny}', '{action: require_approval}');
    const sample = (text: string) => fc.sample(fc.array(rule, { maxLength: 3 }), { numRuns: 15, seed: text.length });
    const root = join(dir, '.codex-worker');
    const strictness = ['allow', 'ask', 'deny'];
    for (const own of sample('user')) {
      await open(`tools: {t: {rules: [${own.join(', ')}]}}`);
      const alone = gate.judgeCall(callOf()).kind;
      await policies.close();
      for (const workspace of sample('workspace').slice(0, 4)) {
        await mkdir(root, { recursive: true });
        await writeFile(join(root, 'policy.yaml'), `tools: {t: {rules: [${workspace.join(', ')}]}}`);
        await open(`tools: {t: {rules: [${own.join(', ')}]}}`);
        const both = gate.judgeCall(callOf()).kind;
        expect(strictness.indexOf(both)).toBeGreaterThanOrEqual(strictness.indexOf(alone));
        await policies.close();
        await rm(root, { recursive: true });
      }
    }
    await open('');
  });

  it('are read again within half a second; a bad one leaves the last good one in force, and is told', async () => {
    await open('tools: {t: {rules: [{action: deny}]}}');
    expect(await outcome()).toBe('policy_denied');
    await writeFile(path, 'hide: [t]');
    await vi.waitFor(() => expect(gate.isHidden('t')).toBe(true), { timeout: 5_000 });
    await writeFile(path, 'hide: {}');
    await vi.waitFor(() => expect(policies.troubles).toEqual([expect.stringContaining('user.yaml:1:7: hide: ')]), {
      timeout: 5_000,
    });
    expect(gate.isHidden('t')).toBe(true);
    expect(lines.join('\n')).toContain('The policy is bad, and what was good before it stays in force');
    await writeFile(path, '');
    await vi.waitFor(() => expect(gate.isHidden('t')).toBe(false), { timeout: 5_000 });
  });

  it.each([
    ['truncates it and writes slowly', async () => {
      await writeFile(path, '');
      await delay(350);
    }],
    ['stops in the middle', async () => {
      await writeFile(path, 'tools:\n');
      await delay(300);
    }],
    ['removes it first', async () => {
      await rm(path);
      await delay(250);
      await writeFile(path, 'tools:\n');
      await delay(250);
    }],
    ['renames it to a backup', async () => {
      await rename(path, `${path}~`);
      await delay(300);
    }],
  ])('hold while a writer %s', async (_, disturb) => {
    const text = 'tools: {t: {rules: [{action: deny}]}}';
    await open(text);
    const over = new AbortController();
    const seen = new Set<string>();
    const watching = (async () => {
      while (!over.signal.aborted) {
        seen.add(await outcome());
        await delay(10);
      }
    })();
    for (let round = 0; round < 2; round++) {
      await disturb();
      await writeFile(path, text);
      await delay(250);
    }
    over.abort();
    await watching;
    expect([...seen]).toEqual(['policy_denied']);
  }); // prettier-ignore

  it('that are bad from the first on deny everything, and so does one that is missing', async () => {
    await open('tool: {}');
    await expect(pass()).rejects.toMatchObject({
      code: 'policy_denied',
      message: expect.stringContaining('is bad') as string,
    });
    await policies.close();
    await rm(path);
    policies = await Policies.open({
      stateDir: dir,
      path: () => path,
      roots: () => [],
      trusted: () => true,
      log,
      isAtWork: () => false,
      taskIds: () => [],
      factsOf: () => undefined,
      personPresent: () => true,
    });
    gate = policies.gate;
    expect(await outcome()).toBe('policy_denied');
  });

  it('without a file ask before tasks of others are cancelled, and limit what costs', async () => {
    await open(null);
    const cancel = (task_id: unknown) => outcome({ tool: 'cancel-task', args: { task_id } });
    expect(await cancel('me-1')).toBe('done');
    expect(await cancel('no-such-task')).toBe('done');
    expect(await cancel('others-1')).toBe('approval_required');
    expect(await cancel(['me-1', 'others-1'])).toBe('approval_required');
    const many = await Promise.all(Array.from({ length: 31 }, () => outcome({ tool: 'spawn-task' })));
    expect(many.filter((one) => one === 'policy_denied')).toHaveLength(1);
    expect(await outcome({ tool: 'wait-task' })).toBe('done');
    expect(builtIn.tools.size).toBe(4);
  });

  it('come with a scaffold that is right', () => {
    expect(readPolicy(scaffoldText).mistakes).toBeUndefined();
    return open('');
  });
});

describe('what Codex wants to do inside a task', () => {
  const task = { id: 'me-1', cwd: '/', spawnedBy: 'me' };
  const ls = { type: 'command_approval', command: 'ls', cwd: '/', reason: null, rules: [] } as const;
  const allowLs = 'codex/command: {rules: [{action: allow, conditions: [{path: args.program, op: eq, value: ls}]}]}';
  const page = {
    type: 'elicitation',
    serverName: 's',
    mode: 'url',
    message: 'm',
    schema: null,
    url: 'u',
    toolCall: null,
  } as const;

  it.each<[what: string, rules: string, question: Parameters<PolicyGate['judge']>[0], kind: string]>([
    ['what a rule allows', allowLs, ls, 'accept'],
    ['more than the command', allowLs, { ...ls, grantsMore: true }, 'silent'],
    ['another command', allowLs, { ...ls, command: 'ls -la; id' }, 'silent'],
    [
      'a change without its files',
      'codex/file-change: {rules: [{action: allow}]}',
      { type: 'file_approval', changes: [], reason: null },
      'silent',
    ],
    [
      'a page',
      'codex/elicitation: {rules: [{action: allow}]}',
      { ...page, forPerson: true, forSession: false, rules: [] },
      'silent',
    ],
    ['what "*" denies', '"*": {rules: [{action: deny}]}', ls, 'silent'],
    ['a question', 'codex/command: {rules: [{action: deny}]}', { type: 'recovery', message: 'm' }, 'silent'],
  ])('%s: by %s', async (_, text, question, kind) => {
    await open(`tools: {${text}}`);
    expect(gate.judge(question, task).kind).toBe(kind);
  });

  const deniedRm = `codex/command: {rules: [
    {action: deny, conditions: [{path: args.programs, op: contains, value: rm}]},
    {action: allow, conditions: [{path: args.cwd, op: under, value: /}]}]}`;

  it.each([
    ['rm x', 'decline'],
    ['/bin/rm x', 'decline'],
    ['rm x 2>err.log', 'decline'],
    ['A=1 rm x', 'decline'],
    ['rm x; $Y', 'decline'],
    ['nice rm x', 'decline'],
    ['timeout 1 rm x', 'decline'],
    ['sudo rm x', 'decline'],
    ['busybox rm x', 'decline'],
    ['taskset 1 rm x', 'decline'],
    ['for PATH in bad; do ls; done', 'person'],
    ['$Y x', 'person'],
    ['ls -la', 'accept'],
  ])('%s: is by a rule against rm and one that allows the rest', async (command, kind) => {
    await open(`tools: {${deniedRm}}`);
    expect(gate.judge({ ...ls, command }, task).kind).toBe(kind);
  });

  it('is for anybody where it cannot be understood and nothing restricts programs, or a rule decides that', async () => {
    const kindBy = async (rules: string): Promise<string> => {
      await open(`tools: {codex/command: {rules: [${rules}]}}`);
      const { kind } = gate.judge({ ...ls, command: '$Y x' }, task);
      await policies.close();
      return kind;
    };
    const unparsed = '{path: args.unparsed, op: eq, value: true}';
    const noRm = '{action: deny, conditions: [{path: args.programs, op: contains, value: rm}]}';
    expect(await kindBy('{action: allow, conditions: [{path: args.programs, op: in, value: [ls]}]}')).toBe('silent');
    expect(await kindBy(noRm)).toBe('person');
    expect(await kindBy(`${noRm}, {action: allow, conditions: [${unparsed}]}`)).toBe('accept');
    expect(await kindBy(`${noRm}, {action: deny, conditions: [${unparsed}]}`)).toBe('decline');
    await open('tools: {}');
  });

  describe('by the policy that README shows', () => {
    beforeEach(async () => {
      const readme = await readFile(join(import.meta.dirname, '../../README.md'), 'utf8');
      const [text = ''] = [...readme.matchAll(/^ *```yaml\n([\s\S]*?)^ *```$/gm)].flatMap(([, one = '']) =>
        one.includes('codex/command') ? [one] : [],
      );
      await open(text);
      await mkdir(join(dir, 'src', 'deep'), { recursive: true });
      await mkdir(join(dir, '.codex'));
      await symlink(join(dir, '.codex'), join(dir, 'src', 'conf'));
      await symlink('/tmp', join(dir, 'src', 'out'));
    });

    it.each([
      ['ls src', 'accept'],
      ['cat a.txt | grep -n x 2>/dev/null', 'accept'],
      ['npm test', 'accept'],
      ['npm run lint', 'accept'],
      ['git push', 'decline'],
      ['git  push', 'decline'],
      ['/usr/bin/git -C . push origin', 'decline'],
      ['ls && git push', 'decline'],
      ['A=1 git push', 'decline'],
      ['sh -c "git push"', 'decline'],
      ['git status', 'silent'],
      ['npm exec -c "touch pwned"', 'silent'],
      ['npm test; touch pwned', 'silent'],
      ['npm test --script-shell=./x', 'silent'],
      ['rg --pre ./x y', 'silent'],
      ['ls; touch pwned', 'silent'],
      ['./ls', 'silent'],
      ['ls $(touch pwned)', 'person'],
      ['ls > pwned', 'person'],
      ['ls "`touch pwned`"', 'person'],
      ['$X push', 'person'],
      ['g$()it push', 'person'],
    ])('%s: %s', (command, kind) => {
      expect(gate.judge({ ...ls, command }, { ...task, cwd: dir }).kind).toBe(kind);
    });

    it.each([
      ['src/a.ts', 'accept'],
      ['src/../src/deep/b.ts', 'accept'],
      ['package.json', 'silent'],
      ['src/../package.json', 'silent'],
      ['src/out/x', 'silent'],
      ['src/conf/config.toml', 'person'],
      ['.codex-worker/policy.yaml', 'person'],
      ['src/.git/hooks/x', 'person'],
    ])('a change of %s: %s', (path, kind) => {
      const question = { type: 'file_approval', changes: [{ path, kind: 'add', patch: 'x' }], reason: null } as const;
      expect(gate.judge(question, { ...task, cwd: dir }).kind).toBe(kind);
    });
  });

  it('is not accepted in a directory that decides what is done next', async () => {
    await open('tools: {codex/file-change: {rules: [{action: allow}]}}');
    const change = (path: string) =>
      ({ type: 'file_approval', changes: [{ path, kind: 'add', patch: 'x' }], reason: null }) as const;
    await mkdir(join(dir, '.git', 'hooks'), { recursive: true });
    await symlink(join(dir, '.git'), join(dir, 'docs'));
    const paths = [
      'src/a.ts',
      '.gitignore',
      '.codex/rules/x.rules',
      '/w/.CODEX/config.toml',
      '.codex-worker/policy.yaml',
      'sub/.git/config',
      join(dir, 'docs', 'hooks', 'post-commit'),
      '../.codex/config.toml',
    ];
    const kinds = paths.map((path) => gate.judge(change(path), task).kind);
    expect(kinds).toEqual(['accept', 'accept', ...paths.slice(2).map(() => 'person')]);
    const moved = { path: 'a', movedTo: '.git/hooks/pre-commit', kind: 'update', patch: 'x' } as const;
    expect(gate.judge({ type: 'file_approval', changes: [moved], reason: null }, task).kind).toBe('person');
    await writeFile(path, 'tools: {codex/file-change: {rules: [{action: deny}]}}');
    await vi.waitFor(() => expect(gate.judge(change('.git/config'), task).kind).toBe('decline'), { timeout: 5_000 });
  });

  it('counts against a limit whoever accepted it', async () => {
    await open('tools: {codex/command: {rules: [{rate_limit: 3/hour}, {action: require_approval}]}}');
    const answers: Answer[] = [];
    const gated = new GatedRequests(gate, task);
    const ask = (decision: 'accept' | 'accept_for_session' | 'reject'): string => {
      const { kind } = gated.judge(ls);
      const source = { key: '0', turnId: 't', question: ls, answer: (given: Answer) => void answers.push(given) };
      if (kind === 'person') gated.guarded(source).answer({ kind: 'decision', decision });
      return kind;
    };
    const kinds = (['reject', 'accept', 'accept_for_session', 'accept', 'accept'] as const).map(ask);
    expect(kinds).toEqual(['person', 'person', 'person', 'session', 'decline']);
    expect(answers.map((one) => one.kind === 'decision' && one.decision)).toEqual(['reject', 'accept', 'accept']);
  });

  it('that allows more than it shows is asked each time, whatever was accepted for the session', async () => {
    await open('tools: {codex/command: {rules: [{action: require_approval}]}}');
    const gated = new GatedRequests(gate, task);
    const wide = { ...ls, command: 'make', reason: 'It also wants to write /w/out.', grantsMore: true } as const;
    const source = { key: '0', turnId: 't', question: wide, answer: () => undefined };
    gated.guarded(source).answer({ kind: 'decision', decision: 'accept_for_session' });
    expect(gated.judge(wide).kind).toBe('person');
    expect(gated.judge({ ...wide, reason: 'It also wants to write /.' }).kind).toBe('person');
  });

  it('is accepted by no workspace, which can only tighten', async () => {
    const root = join(dir, '.codex-worker');
    await mkdir(root, { recursive: true });
    await writeFile(join(root, 'policy.yaml'), `tools: {${allowLs}}`);
    await open('');
    expect([gate.holds, gate.judge(ls, task).kind]).toEqual([true, 'silent']);
    await policies.close();
    await writeFile(join(root, 'policy.yaml'), 'tools: {codex/command: {rules: [{action: deny}]}}');
    await open(`tools: {${allowLs}}`);
    expect(gate.judge(ls, task).kind).toBe('decline');
  });
});

describe('the audit trail', () => {
  const file = (): string => join(dir, 'audit.jsonl');
  const entries = async (): Promise<Record<string, unknown>[]> =>
    (await readFile(file(), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);

  it('has every decision, who made it and no argument', async () => {
    await open(`${ask.slice(0, -1)}, u: {rules: [{action: deny, name: never}]}}`);
    const waiting = outcome({ ...patient, args: { task_id: 'bold-fox-1', prompt: 'secret words' } });
    await answer('once');
    await waiting;
    await outcome({ tool: 'u' });
    gate.noteMalformed('me', null, 'v', '[1]');
    gate.notePerson('cancel-task', { task_id: ['bold-fox-1'] });
    await policies.audit.flush();
    expect(policies.status).toBe('policy: 2 rules, 1 denial today');
    expect(await entries()).toMatchObject([
      {
        decision: 'asked',
        rule: 'careful',
        tool: 't',
        keys: ['task_id', 'prompt'],
        tasks: ['bold-fox-1'],
        caller: 'me',
      },
      { decision: 'allowed', rule: 'careful', by: 'person' },
      { decision: 'denied', rule: 'never', tool: 'u' },
      { decision: 'malformed', tool: 'v' },
      { decision: 'person', tool: 'cancel-task', tasks: ['bold-fox-1'], by: 'person' },
    ]);
    expect(await readFile(file(), 'utf8')).not.toContain('secret words');
    expect((await stat(file())).mode & 0o777).toBe(0o600);
  });

  it('holds no text of an argument, however it is called, and goes on after a torn line', async () => {
    await open('');
    await outcome({ args: { task_id: ['SECRET PASSWORD', 'bold-fox-1'], ['k'.repeat(10_000)]: 1 } });
    await policies.close();
    expect(await entries()).toMatchObject([{ tasks: ['bold-fox-1'], keys: ['task_id', 'k'.repeat(100)] }]);
    await appendFile(file(), '{"t":1,"torn');
    await open('');
    await outcome();
    await policies.audit.flush();
    expect(await verifyAudit(dir)).toEqual({ lines: 3, broken: null });
    expect((await readFile(file(), 'utf8')).split('\n').map((line) => line.slice(0, 4))).toEqual([
      '{"t"',
      '{"t"',
      '{"t"',
      '',
    ]);
  });

  it('goes on over restarts, and shows a line that is missing or was changed', async () => {
    await open('');
    for (let run = 0; run < 3; run++) {
      await outcome();
      await policies.close();
      await open('');
    }
    expect(await verifyAudit(dir)).toEqual({ lines: 3, broken: null });
    const whole = await readFile(file(), 'utf8');
    const [first = '', second = '', third = ''] = whole.split('\n');
    for (const [changed, line] of [
      [[first, third], 2],
      [[second, third], 1],
      [[first.replace('allowed', 'denied'), second, third], 2],
      [[first, second, 'no line'], 3],
      [[first, second, third, third], 4],
      [[first, second], 0],
      [[first], 0],
      [[], 0],
      [[first, second, third.replace('allowed', 'denied')], 0],
    ] as const) {
      await writeFile(file(), `${changed.join('\n')}\n`);
      expect(await verifyAudit(dir), changed.join()).toMatchObject({ broken: { line } });
    }
    await rm(file());
    expect(await verifyAudit(dir)).toMatchObject({ lines: 0, broken: { line: 0 } });
    await writeFile(file(), whole);
    const head = join(dir, 'audit-head.json');
    await rename(head, join(dir, 'away'));
    expect(await verifyAudit(dir)).toMatchObject({ lines: 3, broken: { line: 0 } });
    await rename(join(dir, 'away'), head);
    expect(await verifyAudit(dir)).toEqual({ lines: 3, broken: null });
  });

  it.each([
    ['cut', async () => writeFile(file(), `${(await readFile(file(), 'utf8')).split('\n')[0]}\n`)],
    ['removed', () => rm(file())],
    ['without what it is compared with', () => rm(join(dir, 'audit-head.json'))],
  ])('that was %s while nobody wrote it shows that for ever', async (_, change) => {
    await open('');
    await outcome();
    await outcome();
    await policies.close();
    await change();
    await open('');
    await outcome();
    await policies.close();
    await open('');
    const { broken } = await verifyAudit(dir);
    expect(broken?.why).toMatch(/missing/);
    expect(lines.join()).toContain('was changed while nobody wrote it');
  });

  it('lets no call through that it cannot record, but for a wait and a cancel, and records them later', async () => {
    await open('tools: {t: {rules: [{rate_limit: 5/day}]}, codex/command: {rules: [{action: allow}]}}');
    await outcome();
    await policies.audit.flush();
    const whole = await readFile(file(), 'utf8');
    await rm(file());
    // Takes no byte, as a full disk does.
    await symlink('/dev/full', file());
    const question = { type: 'command_approval', command: 'ls', cwd: '', reason: null, rules: [] } as const;
    const inside = { id: 'me-1', cwd: dir, spawnedBy: 'me' };
    expect(await outcome()).toBe('store_unavailable');
    expect(gate.judge(question, inside).kind).toBe('person');
    expect(await outcome({ tool: 'wait-task' })).toBe('done');
    expect(await outcome({ tool: 'cancel-task' })).toBe('done');
    await rm(file());
    await writeFile(file(), whole);
    expect(await outcome()).toBe('done');
    expect(gate.judge(question, inside).kind).toBe('accept');
    await policies.close();
    expect((await entries()).map(({ tool, decision }) => `${String(decision)} ${String(tool)}`)).toEqual([
      'allowed t',
      'allowed t',
      'denied t',
      'asked codex/command',
      'allowed wait-task',
      'allowed cancel-task',
      'allowed t',
      'allowed codex/command',
    ]);
    expect(await verifyAudit(dir)).toEqual({ lines: 8, broken: null });
    // What was refused counts for nothing.
    const counted = JSON.parse(await readFile(join(dir, 'policy-counters.json'), 'utf8')) as { user: string };
    expect(JSON.parse(counted.user)).toMatchObject({ aligned: { 't._rate_day': { value: 2 } } });
    await open('');
  });

  it('and what is counted are on the disk before a call runs', async () => {
    await open('tools: {t: {rules: [{rate_limit: 5/day}]}}');
    await gate.pass(callOf(), async () => {
      expect(await entries()).toMatchObject([{ decision: 'allowed' }]);
      expect(await readFile(join(dir, 'policy-counters.json'), 'utf8')).toContain('\\"value\\":1');
      return 'done';
    });
  });

  it('is known again after a restart: what was decided last, and what was denied today', async () => {
    await open('');
    const event = { caller: 'c', client: null, keys: [], hash: 'x', rule: null, by: null, tasks: [] };
    const yesterday = JSON.stringify({
      t: Date.now() - 86_400_000,
      ...event,
      tool: 'old',
      decision: 'denied',
      previous: '0',
    });
    await appendFile(file(), `${yesterday}\n`);
    const before = await AuditTrail.open(dir, log);
    for (let index = 0; index < 205; index++) before.record({ ...event, tool: `t${index}`, decision: 'allowed' });
    before.record({ ...event, tool: 'last', decision: 'denied' });
    await before.flush();
    const after = await AuditTrail.open(dir, log);
    expect([after.recent.length, after.recent.at(-1)?.tool, after.deniedToday]).toEqual([200, 'last', 1]);
    const seen = (trail: AuditTrail) => trail.recent.map(({ t, tool, decision }) => [t, tool, decision]);
    expect(seen(after)).toEqual(seen(before));
  });

  it('begins a new file at its limit, and the chain goes on', async () => {
    await open('');
    await appendFile(file(), '');
    const trail = await AuditTrail.open(dir, log);
    const event = { caller: 'c', client: null, tool: 't', keys: [], hash: 'x', rule: null, by: null, tasks: [] };
    const long = 'x'.repeat(1024 * 1024);
    for (let index = 0; index < 18; index++) trail.record({ ...event, decision: 'allowed', hash: long });
    await trail.flush();
    expect((await stat(join(dir, 'audit.1.jsonl'))).size).toBeGreaterThan(16 * 1024 * 1024);
    expect(await verifyAudit(dir)).toEqual({ lines: 18, broken: null });
  });
});

describe('the policy of a workspace in which a task is at work', () => {
  const deny = 'tools: {t: {rules: [{action: deny, reason: Never.}]}}';
  const file = (): string => join(dir, '.codex-worker', 'policy.yaml');
  const denied = async (): Promise<boolean> => (await outcome()) === 'policy_denied';
  const changes: [name: string, change: () => Promise<unknown>][] = [
    ['loosened', () => writeFile(file(), 'description: mine')],
    ['emptied', () => writeFile(file(), '')],
    ['removed', () => rm(file())],
    ['moved away with its directory', () => rename(join(dir, '.codex-worker'), join(dir, 'gone'))],
    ['changed through a hard link', async () => {
      await link(file(), join(dir, 'other'));
      await writeFile(join(dir, 'other'), 'description: mine and longer than what stood there before, to be sure of that');
    }],
  ]; // prettier-ignore

  beforeEach(async () => {
    isTrusted = true;
    await mkdir(join(dir, '.codex-worker'), { recursive: true });
    await writeFile(file(), deny);
    await open('');
    expect(await denied()).toBe(true);
    atWork = [Date.now()];
  });

  it.each(changes)('goes on holding when it is %s, until the task ends', async (_, change) => {
    await change();
    await vi.waitFor(() => expect(policies.held.roots).toEqual([dir]), { timeout: 5_000 });
    expect(await denied()).toBe(true);
    expect(lines.join()).toContain('what it said before holds beside it');
    atWork = [];
    await vi.waitFor(() => expect(policies.held.roots).toEqual([]), { timeout: 5_000 });
    expect(await denied()).toBe(false);
  });

  it.each(changes)('goes on holding when it is %s while nobody looks', async (_, change) => {
    await policies.close();
    await change();
    await open('');
    expect([await denied(), policies.held.roots]).toEqual([true, [dir]]);
    await policies.close();
    await open('');
    expect([await denied(), policies.held.roots]).toEqual([true, [dir]]);
    atWork = [];
    expect(await denied()).toBe(false);
  });

  it('that the person changed while nobody was there is held until it is known that no task is at work, and told to nobody', async () => {
    await policies.close();
    await writeFile(file(), 'description: mine');
    [atWork, isRestored] = [[], false];
    await open('');
    const told: string[] = [];
    policies.held.onDidHold((root) => told.push(root));
    expect([await denied(), policies.held.roots, policies.held.told]).toEqual([true, [dir], []]);
    isRestored = true;
    expect([await denied(), policies.held.roots, told]).toEqual([false, [], []]);
    expect(lines.join()).not.toContain('while tasks are at work');
  });

  it('that is held is counted for itself, and goes on with what was counted', async () => {
    atWork = [];
    await writeFile(file(), 'tools: {t: {rules: [{rate_limit: 2/day}]}}');
    await vi.waitFor(async () => expect(await outcome()).toBe('done'), { timeout: 5_000 });
    atWork = [Date.now()];
    await writeFile(file(), 'description: mine, and longer than what stood there before, to be sure of that');
    await vi.waitFor(() => expect(policies.held.told).toEqual([dir]), { timeout: 5_000 });
    expect([await outcome(), await outcome()]).toEqual(['done', 'policy_denied']);
    policies.held.release();
    await outcome();
    await policies.close();
    expect(await readFile(join(dir, 'policy-counters.json'), 'utf8')).not.toContain(' before ');
    await open('');
  });

  it('is let go at once when the person wants that, and not by a task that begins later', async () => {
    await writeFile(file(), 'description: mine, and longer than what stood there before, to be sure of that');
    await vi.waitFor(() => expect(policies.held.roots).toEqual([dir]), { timeout: 5_000 });
    expect(policies.status).toContain('an older one holds too');
    policies.held.release();
    expect([await denied(), policies.held.roots]).toEqual([false, []]);
    expect(policies.status).not.toContain('older');
  });

  it('holds for those who began under it only', async () => {
    await writeFile(file(), 'description: mine, and longer than what stood there before, to be sure of that');
    await vi.waitFor(() => expect(policies.held.roots).toEqual([dir]), { timeout: 5_000 });
    atWork = [Date.now() + 1];
    expect(await denied()).toBe(false);
  });

  it('is exchanged at once when no task is at work', async () => {
    atWork = [];
    await writeFile(file(), 'description: mine, and longer than what stood there before, to be sure of that');
    await vi.waitFor(async () => expect(await denied()).toBe(false), { timeout: 5_000 });
    expect(policies.held.roots).toEqual([]);
  });

  it('that is changed again and again denies everything', async () => {
    for (let round = 0; round < 10; round++) policies.held.follow(dir, `${deny} # ${round}`);
    policies.held.follow(dir, null);
    const { message } = (await pass({ tool: 'other' }).catch((error: unknown) => error as Error)) as Error;
    expect(message).toContain('changed too often');
    policies.held.release();
    expect(await outcome({ tool: 'other' })).toBe('done');
  });
});

describe('the policy file of a workspace', () => {
  const file = (): string => join(dir, '.codex-worker', 'policy.yaml');
  const deny = 'tools: {t: {rules: [{action: deny}]}}';

  beforeEach(async () => {
    isTrusted = true;
    await mkdir(join(dir, '.codex-worker'), { recursive: true });
  });

  it('is not read before the workspace is trusted', async () => {
    isTrusted = false;
    await writeFile(file(), deny);
    await open('');
    expect(await outcome()).toBe('done');
    isTrusted = true;
    expect(await outcome()).toBe('policy_denied');
  });

  it.each([
    ['a device that never ends', () => symlink('/dev/zero', file())],
    ['a pipe that nobody writes to', () => execa('mkfifo', [file()])],
    ['a directory', () => mkdir(file())],
    ['a link out of the workspace', async () => {
      await writeFile(join(tmpdir(), 'codex-worker-outside.yaml'), deny);
      await symlink(join(tmpdir(), 'codex-worker-outside.yaml'), file());
    }],
    ['a directory that leads out of the workspace', async () => {
      await rm(join(dir, '.codex-worker'), { recursive: true });
      await symlink(tmpdir(), join(dir, '.codex-worker'));
      await writeFile(join(tmpdir(), 'policy.yaml'), deny);
    }],
    ['larger than any policy', () => writeFile(file(), 'k0: 1\n'.repeat(100_000))],
  ])('that is %s denies everything, says why, and holds nobody up', async (_name, make) => {
    await make();
    await open('');
    expect(await outcome()).toBe('policy_denied');
    expect(policies.troubles.join()).toMatch(/cannot be read|has more than/);
    await Promise.all([join(tmpdir(), 'policy.yaml'), join(tmpdir(), 'codex-worker-outside.yaml')].map((path) => rm(path, { force: true })));
  }); // prettier-ignore
});

it('a policy file of the most keys is looked through once, and of its mistakes the first hundred are told', () => {
  const many = Array.from({ length: 6_000 }, (_, index) => `k${index}: 1`).join('\n');
  expect(readPolicy(many).mistakes).toHaveLength(100);
  expect(readPolicy('tools: {}\nx: 1\ntools: {}').mistakes).toMatchObject([{ line: 3, message: 'Map keys must be unique' }]);
  expect(readPolicy(`# ${'x'.repeat(70_000)}`).mistakes).toMatchObject([{ message: 'has more than 65536 bytes, which is the most' }]);
}); // prettier-ignore

describe('a call that waits as well', () => {
  const waits = { task_id: 'me-task-1', until: 'any', timeout_ms: 5_000 };
  const mayWait = (more: Partial<GatedCall> = {}): Promise<boolean> =>
    gate.pass(callOf({ waits, ...more }), (may) => Promise.resolve(may));
  const onWait = (rule: string): string => `tools: {wait-task: {rules: [${rule}]}}`;

  it.each([
    ['is denied', '{action: deny}'],
    ['would need an approval', '{action: require_approval}'],
    ['is denied for such a task', '{action: deny, conditions: [{path: task.spawned_by_caller, op: eq, value: true}]}'],
    ['is denied for so long', '{conditions: [{path: args.timeout_ms, op: lte, value: 4000}]}'],
  ])('runs without the wait where that %s', async (_name, rule) => {
    await open(onWait(rule));
    expect(await mayWait()).toBe(false);
    expect(await mayWait({ waits: null })).toBe(true);
    expect(policies.audit.recent.map(({ tool, decision }) => [tool, decision])).toEqual([
      ['t', 'allowed'],
      ['wait-task', 'denied'],
      ['t', 'allowed'],
    ]);
  });

  it('is counted as the wait that it is, and not when the call fails', async () => {
    await open(onWait('{rate_limit: 2/hour}'));
    const failing = gate.pass(callOf({ waits }), () => Promise.reject(new Error('failed')));
    await expect(failing).rejects.toThrow('failed');
    expect([await mayWait(), await mayWait(), await mayWait()]).toEqual([true, true, false]);
    expect(await outcome({ tool: 'wait-task' })).toBe('policy_denied');
  });

  it('is judged by the task that it is about to spawn', async () => {
    await open(onWait('{action: deny, conditions: [{path: task.labels, op: contains, value: secret}]}'));
    const spawning = { waits: { until: 'any', timeout_ms: 5_000 } };
    expect(await mayWait({ ...spawning, judged: { cwd: '/ws', labels: ['secret'] } })).toBe(false);
    expect(await mayWait({ ...spawning, judged: { cwd: '/ws', labels: ['open'] } })).toBe(true);
  });

  it('hides no task where only so long a wait is denied', async () => {
    await open(onWait('{conditions: [{path: args.timeout_ms, op: lte, value: 4000}]}'));
    expect([gate.hidesTasks, gate.hidesTask('me-task-1', 'me')]).toEqual([false, false]);
  });

  it('is judged by what it will do, and asked about with what it said', async () => {
    await open('tools: {t: {rules: [{action: deny, conditions: [{path: args.model, op: eq, value: gpt-5.5}]}]}}');
    const judged = { model: 'gpt-5.5', reasoning: 'low' };
    expect(await outcome({ args: { model: 'gpt-5.5(low)' }, judged })).toBe('policy_denied');
    expect(policies.audit.recent.at(-1)).toMatchObject({ keys: ['model'] });
  });
});
