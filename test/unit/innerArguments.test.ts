import { mkdir, mkdtemp, realpath, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { innerCallOf } from '../../src/policy/innerArguments';
import { commandsIn } from '../../src/policy/shellWords';

let dir: string;
beforeAll(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), 'codex-worker-inner-')));
  await mkdir(join(dir, 'packages', 'a'), { recursive: true });
  await symlink(join(dir, 'packages', 'a'), join(dir, 'link'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

function factsOf(command: string): Readonly<Record<string, unknown>> {
  const question = { type: 'command_approval', command, cwd: '', reason: null, rules: [] } as const;
  return innerCallOf(question, dir)?.args ?? {};
}

describe('the facts of a command', () => {
  it.each([
    ['npm test', { programs: ['npm'], program: 'npm', argv: ['npm', 'test'] }],
    ['npm test 2>&1 | tail -20', { programs: ['npm', 'tail'] }],
    ['CI=1 npm test\n', { program: 'npm', argv: ['npm', 'test'] }],
    ['ls src/*.ts', { program: 'ls', argv: ['ls', 'src/*.ts'] }],
    ["find . -name '*.ts'", { program: 'find' }],
    ['timeout 10 env nice -n 5 npm test', { programs: ['timeout', 'env', 'nice', 'npm'] }],
  ])('%s: are all that runs', (command, expected) => {
    expect(factsOf(command)).toMatchObject({ ...expected, cwd: dir, unparsed: false });
  });

  it.each([
    ['cd packages/a && npm test', 'packages/a'],
    ['cd ./packages/../packages && npm test | tail -1', 'packages'],
    ['cd link && npm test', 'packages/a'],
  ])('%s: have the directory in which it runs', (command, place) => {
    expect(factsOf(command)).toMatchObject({ cwd: join(dir, place), unparsed: false });
  });

  it('have no directory where a part may run in another one', () => {
    expect(factsOf('cd packages && npm test; ls')).toMatchObject({ unparsed: false, programs: ['npm', 'ls'] });
    expect(factsOf('cd packages && npm test; ls')).not.toHaveProperty('cwd');
  });

  it.each([
    'cd missing && npm test',
    'cd link/.. && npm test',
    'sh -c ls',
    'find . -delete',
    'find . -exec ls',
    'xargs ls',
    'timeout -k 5 10 ls',
    'env A=1 ls',
    'env -i ls',
    'env l*',
    'sudo ls',
    '/usr/bin/env bash x',
    'nice -5 ls',
    'busybox ls',
    '/lib64/ld-linux-x86-64.so.2 /bin/ls',
  ])('%s: do not tell what runs, where that is not certain', (command) => {
    const facts = factsOf(command);
    expect(facts).toMatchObject({ unparsed: true, cwd: dir });
    expect(Object.keys(facts)).not.toEqual(expect.arrayContaining(['programs']));
    expect(Object.keys(facts)).not.toEqual(expect.arrayContaining(['argv']));
  });
});

it.each([
  ['ls; rm x', 'rm x'],
  ['$(rm x)', 'rm x'],
  ['timeout -k 5 10 rm -rf x', 'rm -rf x'],
  ['xargs -n1 rm -f', 'rm -f'],
  ['sh -c "rm -f x"', 'rm -f x'],
  ['watch "rm x"', 'rm x'],
  ["find . -exec sh -c 'rm x' \\;", 'rm x'],
  ['sudo -u root rm x', 'rm x'],
  ['A=1 env B=2 rm x >y', 'rm x'],
  ['for x in a; do rm x; done', 'rm x'],
])('%s: a rule that restricts sees what may run', (command, argv) => {
  expect(commandsIn(command).map((one) => one.join(' '))).toContain(argv);
});
