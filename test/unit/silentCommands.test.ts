import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LineOrder } from '../../src/codex/lineOrder';
import { isSandboxRefusal } from '../../src/codex/sandboxProbe';
import { SilentCommands } from '../../src/codex/silentCommands';

let dir: string;
let path: string;
let silent: SilentCommands;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'codex-worker-session-'));
  path = join(dir, 'rollout.jsonl');
  silent = new SilentCommands();
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const call = (id: string, args: unknown, name = 'exec_command'): unknown => ({
  type: 'response_item',
  payload: { type: 'function_call', name, arguments: JSON.stringify(args), call_id: id },
});
const output = (id: string, text: unknown): unknown => ({
  type: 'response_item',
  payload: { type: 'function_call_output', call_id: id, output: text },
});
const linesOf = (...lines: unknown[]): string =>
  lines.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join('');
const denied = 'Wall time: 0.0 seconds\nProcess exited with code 1\nOutput:\nno sandbox\n';

async function turn(
  text: string,
  told: readonly string[] = [],
): Promise<readonly (readonly [string, unknown])[] | undefined> {
  silent.turnStarted();
  for (const id of told) silent.commandTold(id);
  await appendFile(path, text);
  const found = await silent.turnEnds('thread', 'turn', '/work');
  return found?.map(({ method, params }) => [method, (params as { item: unknown }).item]);
}

it.each([
  ['error building bubblewrap command: Fatal error: cannot enforce sandbox read-only path /w/.codex', true],
  ['bwrap: No permissions to create new namespace', true],
  ['touch: cannot touch x: Read-only file system', false],
  ['', false],
  [null, false],
])('%j: says that the sandbox does not start: %s', (output, refused) => {
  expect(isSandboxRefusal(output)).toBe(refused);
});

describe('silent commands', () => {
  it('are those with an output and without an item, each told once', async () => {
    await writeFile(path, linesOf(call('old', { cmd: 'old' }), output('old', denied)));
    await silent.follow(path);
    const text = linesOf(call('a', { cmd: 'a' }), output('a', denied), call('b', { cmd: 'b', workdir: '/else' }));
    const rest = linesOf(output('b', denied), call('open', { cmd: 'never answered' }));
    const item = { type: 'commandExecution', id: 'b', command: 'b', cwd: '/else', durationMs: null };
    expect(await turn(text + rest, ['a'])).toEqual([
      ['item/started', { ...item, status: 'inProgress', aggregatedOutput: null, exitCode: null }],
      ['item/completed', { ...item, status: 'failed', aggregatedOutput: 'no sandbox\n', exitCode: 1 }],
    ]);
    expect(await turn('')).toEqual([]);
  });

  it('are told as failed with all that the model was told, where that has no exit code', async () => {
    await silent.follow(path);
    const refused = 'exec_command failed: Rejected("forbidden by a rule")\nProcess exited with code 0';
    const parts = [{ type: 'input_text', text: 're' }, { type: 'input_image' }, { type: 'input_text', text: 'fused' }];
    const text = linesOf(
      call('a', { cmd: 'a' }),
      output('a', refused),
      call('b', { command: ['ls', '-l'] }, 'shell'),
      output('b', parts),
    );
    expect((await turn(text))?.filter(([method]) => method === 'item/completed')).toMatchObject([
      ['item/completed', { command: 'a', cwd: '/work', status: 'failed', exitCode: null, aggregatedOutput: refused }],
      ['item/completed', { command: 'ls -l', status: 'failed', exitCode: null, aggregatedOutput: 'refused' }],
    ]);
  });

  it.each([
    ['calls of other tools', linesOf(call('a', { chars: 'y' }, 'write_stdin'), output('a', 'x'))],
    ['lines that are no JSON', linesOf('{"function_call', 'x'.repeat(2_000_000))],
    ['arguments that are no JSON', linesOf(call('a', 0), output('a', 'x'))],
    ['outputs of no call', linesOf(output('a', 'x'))],
    ['other shapes', linesOf({ type: 'response_item', payload: { type: 'function_call', call_id: 7 } })],
  ])('are no %s', async (_, text) => {
    await silent.follow(path);
    expect(await turn(text)).toEqual([]);
  });

  it('are not looked for where the session file or the begin of the turn is not known', async () => {
    await silent.follow(undefined);
    silent.turnStarted();
    expect(silent.turnEnds('thread', 'turn', '/work')).toBeNull();
    await silent.follow(path);
    expect(silent.turnEnds('thread', 'turn', '/work')).toBeNull();
  });

  it('are none where the session file is gone', async () => {
    await silent.follow(path);
    silent.turnStarted();
    expect(await silent.turnEnds('thread', 'turn', '/work')).toEqual([]);
  });
});

describe('the order of lines', () => {
  it('holds a line and those after it, again where one of them is held', async () => {
    const order = new LineOrder();
    const told: string[] = [];
    const say = (text: string) => () => void told.push(text);
    const hold = (text: string, position: number): (() => void) => {
      let done!: () => void;
      const before = new Promise<void>((resolve) => (done = resolve));
      order.hold(before, say(text), position);
      return done;
    };
    order.take(say('a'));
    const first = hold('b', 7);
    let second: (() => void) | undefined;
    order.take(() => (second = hold('c', 9)));
    order.take(say('d'));
    expect([told, order.heldFrom]).toEqual([['a'], 7]);
    first();
    await setImmediate();
    expect([told, order.heldFrom]).toEqual([['a', 'b'], 9]);
    order.release();
    expect([told, order.heldFrom]).toEqual([['a', 'b', 'c', 'd'], null]);
    second?.();
    await setImmediate();
    expect(told).toEqual(['a', 'b', 'c', 'd']);
  });
});
