import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { ExecGate } from './execGate/execGate';
import { Keeper, type KeeperOptions } from './process/keeper';

/**
 * The program that owns Codex over the lives of its windows; see process/keeper.ts. Its options come as JSON on standard
 * input, because others can read a command line.
 */
async function main(): Promise<void> {
  const options = JSON.parse(await text(process.stdin)) as KeeperOptions;
  // It made us Node inside the editor's program, and is not for what Codex runs.
  delete process.env.ELECTRON_RUN_AS_NODE;
  // Nobody reads us any more when the window is gone, and a terminal's signals are not for us.
  process.stdout.on('error', () => undefined);
  for (const signal of ['SIGHUP', 'SIGINT'] as const) process.on(signal, () => undefined);
  const { file, gated } = options;
  const keeper = await Keeper.start(options, async (host) => (gated ? ExecGate.open({ ...host, file }) : null));
  process.on('SIGTERM', () => void keeper.end('stop'));
  process.on('uncaughtException', (error) => {
    appendFileSync(
      join(options.stateDir, 'keeper.log'),
      `${new Date().toISOString()} ${error.stack ?? error.message}\n`,
    );
    void keeper.end('stop');
  });
  process.stdout.write('ready\n');
  await keeper.ended();
}

main().then(
  () => process.exit(),
  (error: unknown) => {
    process.stdout.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  },
);
