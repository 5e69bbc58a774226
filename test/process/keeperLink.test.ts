import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { writeRecord } from '../../src/process/keeperFiles';
import { KeeperHost } from '../../src/process/keeperLink';
import { identity, processTable } from '../../src/process/processTable';
import { isAlive } from '../rig/processes';
import { until } from '../rig/until';

/** Closes the connection that comes, and is gone some moments later, as a program that was killed on a busy machine. */
const dying = `
  const server = require('node:net').createServer((socket) => {
    socket.once('data', () => {
      socket.end('{"welcome":{}}\\n');
      setTimeout(() => process.exit(), 400);
    });
  });
  server.listen(process.argv[1], () => process.stdout.write('ready'));
`;

it('does not say that a server ended before it has, when its keeper dies slowly', async () => {
  const stateDir = await mkdtemp(join(tmpdir(), 'codex-worker-keeper-'));
  onTestFinished(() => rm(stateDir, { recursive: true, force: true }));
  const address = join(stateDir, 'k.sock');
  const keeper = started(process.execPath, ['-e', dying, address]);
  const server = started('sleep', ['60']);
  await new Promise((resolve) => keeper.stdout.once('data', resolve));
  await writeRecord(stateDir, {
    version: 1,
    keeper: await identityOf(keeper.pid!),
    server: await identityOf(server.pid!),
    address,
    token: 'token',
    begins: 0,
    purpose: '',
  });
  const kept = await new KeeperHost({ program: '', doorsDir: stateDir, stateDir, keepMs: () => 1_000 }).find();
  // As a client does that listens.
  kept!.stdout.resume();
  expect(await kept!.exited).toMatchObject({ startError: 'its keeper is gone' });
  expect(isAlive(server.pid!)).toBe(false);
});

function started(file: string, args: readonly string[]) {
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  return child;
}

async function identityOf(pid: number): Promise<string> {
  return until('the process is there', async () => {
    const entry = (await processTable().list()).find((one) => one.pid === pid);
    return entry ? identity(entry) : null;
  });
}
