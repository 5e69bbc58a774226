import { mkdtemp, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Door, makeDoorsDir, type Guest, knock } from '../../src/base/door';
import { until } from '../rig/until';

let dir = '';
let door: Door;
let guests: Guest[] = [];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'codex-worker-door-'));
  guests = [];
  door = await Door.open({
    doorsDir: await makeDoorsDir(dir, []),
    welcome: () => ({ tools: 'x' }),
    onGuest: (guest) => guests.push(guest),
  });
});
afterEach(async () => {
  await door.close();
  await rm(dir, { recursive: true, force: true });
});

const at = (): { address: string; token: string } => ({ address: door.address, token: door.token });

/** Says lines as they are, each after the answer to the one before, and gives what the door said until it hung up. */
async function say(...lines: readonly (string | ((answer: string) => Promise<string>))[]): Promise<string[]> {
  const socket = connect(door.address);
  const heard: string[] = [];
  const next = [...lines];
  const go = async (answer: string): Promise<void> => {
    const line = next.shift();
    if (line === undefined) return;
    socket.write(`${typeof line === 'string' ? line : await line(answer)}\n`);
  };
  void go('');
  for await (const line of createInterface({ input: socket })) {
    heard.push(line);
    await go(line);
    if (next.length === 0 && heard.length >= lines.length) break;
  }
  socket.destroy();
  return heard;
}

const hello = (more: object = {}): string => JSON.stringify({ door: 1, token: door.token, hello: {}, ...more });
const refused = (reason: string): string => JSON.stringify({ refused: { reason } });

describe('a door', () => {
  it('lets in whoever has the token and can write where it says, and passes lines both ways', async () => {
    const way = await knock(at(), { entrance: 'attach' });
    if (way.kind !== 'in') throw new Error(way.kind);
    expect([way.welcome, guests[0]?.hello]).toEqual([{ tools: 'x' }, { entrance: 'attach' }]);
    const [inside, outside]: [string[], string[]] = [[], []];
    guests[0]!.onLine((line) => void inside.push(line));
    way.onLine((line) => void outside.push(line));
    way.socket.write('one\ntwo\n');
    guests[0]!.socket.write('three\n');
    await until('all is said', () => inside.length === 2 && outside.length === 1);
    expect([inside, outside]).toEqual([['one', 'two'], ['three']]);
    expect(await readdir(join(dir, 'doors'))).toEqual([]);
    way.socket.destroy();
  });

  it('is private', async () => {
    expect((await stat(join(dir, 'doors'))).mode & 0o777).toBe(0o700);
    expect((await stat(dirname(door.address))).mode & 0o777).toBe(0o700);
    expect((await stat(door.address)).mode & 0o777).toBe(0o600);
  });

  it.each([
    ['no JSON', 'x', 'version'],
    ['nothing', '{}', 'version'],
    ['another version', '{"door":2}', 'version'],
    ['an array', '[]', 'version'],
    ['no token', '{"door":1}', 'token'],
    ['a wrong token', '{"door":1,"token":"wrong"}', 'token'],
    ['a token of another type', '{"door":1,"token":[]}', 'token'],
  ])('refuses %s', async (_name, line, reason) => {
    expect(await say(line)).toEqual([refused(reason)]);
    expect(guests).toEqual([]);
  });

  it('refuses a token without the proof: what a sandboxed command can read is not enough', async () => {
    const [asked, answer] = await say(hello(), '{"written":true}');
    expect([Object.keys(JSON.parse(asked!) as object), answer]).toEqual([['write'], refused('proof')]);
    expect((await say(hello(), '{"written":false}')).at(-1)).toBe(refused('proof'));
    const elsewhere = async (): Promise<string> => {
      await writeFile(join(dir, 'elsewhere'), '');
      return '{"written":true}';
    };
    expect((await say(hello(), elsewhere)).at(-1)).toBe(refused('proof'));
    expect(guests).toEqual([]);
    expect(await readdir(join(dir, 'doors'))).toEqual([]);
  });

  it('hangs up on whoever says too much, or nothing, before it is let in', async () => {
    expect(await say(hello({ hello: { text: 'x'.repeat(20_000) } }))).toEqual([]);
    const socket = connect(door.address);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    await closed;
    expect(guests).toEqual([]);
  }, 20_000);

  it('lets go of whom it refuses, so that nobody can keep it full', async () => {
    const sockets = Array.from({ length: 210 }, () => connect({ path: door.address, allowHalfOpen: true }));
    for (const socket of sockets) socket.on('error', () => undefined).resume().write('{"door":1,"token":"wrong"}\n');
    const way = await until('somebody is let in', async () => {
      const knocked = await knock(at(), {});
      return knocked.kind === 'in' ? knocked : undefined;
    });
    for (const socket of [way.socket, ...sockets]) socket.destroy();
  }, 20_000); // prettier-ignore

  it('does not receive a guest that has gone while its proof was looked at', async () => {
    const socket = connect(door.address);
    for await (const line of createInterface({ input: socket.setEncoding('utf8').on('connect', () => socket.write(`${hello()}\n`)) })) {
      const { write } = JSON.parse(line) as { write: string };
      await writeFile(write, '', { mode: 0o600 });
      socket.write('{"written":true}\n', () => socket.destroy());
      break;
    }
    await until('what it wrote is gone', async () => (await readdir(join(dir, 'doors'))).length === 0);
    await until('it is gone', () => guests.every((guest) => guest.socket.destroyed));
    expect(guests.filter((guest) => !guest.socket.destroyed)).toEqual([]);
  }); // prettier-ignore

  it('removes what an earlier door left', async () => {
    const left = join(dir, 'doors', 'a'.repeat(64));
    await writeFile(left, '');
    await utimes(left, new Date(1_000), new Date(1_000));
    const again = await Door.open({
      doorsDir: await makeDoorsDir(dir, []),
      welcome: () => ({}),
      onGuest: () => undefined,
    });
    expect(await readdir(join(dir, 'doors'))).toEqual([]);
    await again.close();
  });

  it('loses nothing of what is said right behind the welcome, also when that is all', async () => {
    const said = `${'x'.repeat(100_000)}\nand more\n`;
    await door.close();
    door = await Door.open({
      doorsDir: await makeDoorsDir(dir, []),
      welcome: () => ({}),
      onGuest: ({ socket }) => void socket.end(said),
    });
    const [read, passed] = [await knock(at(), {}), await knock(at(), {})];
    // Whoever came in may take its time.
    await delay(100);
    expect(read.kind === 'in' && (await text(read.leave()))).toBe(said);
    const lines: string[] = [];
    if (passed.kind === 'in') passed.onLine((line) => void lines.push(line));
    await until('all lines are there', () => lines.length === 2);
    expect(lines.map((line) => line.length)).toEqual([100_000, 8]);
  });

  it('tells who knocks why it is not let in', async () => {
    expect(await knock({ ...at(), token: 'wrong' }, {})).toEqual({ kind: 'refused', reason: 'token' });
    expect(await knock({ ...at(), address: join(dir, 'nobody.sock') }, {})).toEqual({ kind: 'nobody' });
    // As in a sandbox, where the directory of doors cannot be written.
    await rm(join(dir, 'doors'), { recursive: true });
    expect(await knock(at(), {})).toEqual({ kind: 'refused', reason: 'proof' });
    await door.close();
    expect(await knock(at(), {})).toEqual({ kind: 'nobody' });
  });
});
