import { describe, expect, it } from 'vitest';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toolFields } from '../../src/mcp/mcpServer';
import { builtInText, scaffoldText } from '../../src/policy/builtIn';
import { advicesFor, describeMistake, readPolicy } from '../../src/policy/readPolicy';

const advices = (text: string): readonly string[] =>
  advicesFor(text, toolFields()).map((one) => describeMistake('p', one));
const rule = (tool: string, text: string): string => `tools: {${tool}: {rules: [${text}]}}`;
const inCommands = (action: string, path: string, op: string, value: string, more = ''): string =>
  rule(
    'codex/command',
    `{action: deny, conditions: [{path: args.unparsed, op: eq, value: true}]}, {action: ${action}, conditions: [{path: ${path}, op: ${op}, value: ${value}}${more}]}`,
  );

describe('a policy is warned of', () => {
  it.each([
    ['a tool that is not there', rule('cancel_task', '{action: deny}'), 'there is no tool "cancel_task"'],
    ['a hidden tool that is not there', 'hide: [spawn]', 'there is no tool "spawn"'],
    ['a field that is not there', rule('spawn-task', '{action: deny, conditions: [{path: args.sandbx, op: eq, value: x}]}'), 'there is no args.sandbx'],
    ['a field of a task that is not there', rule('wait-task', '{action: deny, conditions: [{path: task.owner, op: eq, value: x}]}'), 'there is no task.owner'],
    ['a task of spawn-task', rule('spawn-task', '{action: deny, conditions: [{path: task.cwd, op: eq, value: x}]}'), 'names no task'],
    ['a value that a field never has', rule('spawn-task', '{action: deny, conditions: [{path: args.sandbox, op: eq, value: full-access}]}'), 'sandbox is never "full-access"; it is one of read-only, workspace-write'],
    ['one value of several that a field never has', rule('message-task', '{action: deny, conditions: [{path: args.mode, op: in, value: [steer, now]}]}'), 'mode is never "now"'],
    ['a program that runs others', inCommands('allow', 'args.programs', 'in', '[ls, npm, /usr/bin/env]'), 'npm, /usr/bin/env can run other programs'],
    ['an interpreter', inCommands('allow', 'args.program', 'eq', 'python3'), 'python3 can run other programs'],
    ['a command accepted by a part', inCommands('allow', 'args.command', 'regex', '"npm test"'), 'accepts every command with such a part'],
    ['a command accepted by its beginning', inCommands('allow', 'args.command', 'regex', '"^npm test.*$"'), 'accepts every command with such a part'],
    ['a part of a command', inCommands('deny', 'args.command', 'contains', 'git push'), 'a command can be written in many ways'],
    ['one element of a list', inCommands('allow', 'args.programs', 'contains', 'ls'), 'contains is met by one element of programs'],
    ['one element of a list that must hold', rule('spawn-task', '{conditions: [{path: args.labels, op: contains, value: x}]}'), 'contains is met by one element of labels'],
    ['no word on what is not understood', rule('codex/command', '{action: deny, conditions: [{path: args.programs, op: contains, value: rm}]}'), 'what cannot be understood'],
  ])('%s', (_, text, said) => {
    expect(readPolicy(text).mistakes).toBeUndefined();
    expect(advices(text)).toEqual([expect.stringContaining(said)]);
  }); // prettier-ignore

  it.each([
    ['what is exact', inCommands('allow', 'args.command', 'in', '[npm test]')],
    ['a pattern of a whole command', inCommands('allow', 'args.command', 'regex', '"^npm (test|run lint)$"')],
    ['harmless programs', inCommands('allow', 'args.programs', 'in', '[ls, cat]')],
    ['a program with its arguments', inCommands('allow', 'args.program', 'eq', 'git', ', {path: args.argv, op: in, value: [git, status]}')],
    ['every tool', rule('"*"', '{action: deny, conditions: [{path: args.anything, op: eq, value: x}]}')],
    ['the built-in policy', builtInText],
    ['the file to begin with', scaffoldText],
    ['the file to begin with, all of it used', scaffoldText.replace(/^ {2}# (?= |codex\/)/gm, '  ').replace('# hide', 'hide').replace('hide: [cancel-task]', '# hide')],
  ])('nothing, with %s', (what, text) => {
    expect(readPolicy(text).mistakes).toBeUndefined();
    expect(advices(text)).toEqual([]);
    if (what.includes('all of it')) expect(readPolicy(text).policy?.tools.get('codex/file-change')).toHaveLength(2);
  }); // prettier-ignore

  it('where it stands, and not while it has mistakes', () => {
    const [advice] = advicesFor('tools:\n  cancel_task:\n    rules: []\n', toolFields());
    expect(advice).toMatchObject({ line: 2, column: 3, path: 'tools.cancel_task' });
    expect(advices('tools:\n  cancel_task:\n    rules: [{action: x}]\n')).toEqual([]);
  });
});

/** The policies that README shows. */
async function recipes(): Promise<readonly string[]> {
  const text = await readFile(join(import.meta.dirname, '../../README.md'), 'utf8');
  return [...text.matchAll(/^ *```yaml\n([\s\S]*?)^ *```$/gm)]
    .map((match) => match[1] ?? '')
    .filter((one) => one.includes('tools:'));
}

it('no policy of README is warned of', async () => {
  const found = await recipes();
  expect(found.length).toBeGreaterThan(1);
  for (const text of found) expect([readPolicy(text).mistakes, advices(text)]).toEqual([undefined, []]);
});
