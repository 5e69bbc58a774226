import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { Door, type Guest, knock } from '../base/door';
import { readPrivate, writePrivate } from '../base/privateFile';
import { callerId } from '../core/caller';
import { messageOf } from '../core/errors';
import { insideUnknownTask } from '../core/nesting';
import type { StdioClient } from '../pipe/stdioClient';
import { Guests } from './guests';
import type { StdioHostOptions } from './stdioHost';

/** How another program finds the worker of a store, in `worker.json` of the state directory. */
const recordSchema = z.object({
  version: z.literal(1),
  /** A Unix socket or a Windows named pipe. */
  address: z.string(),
  token: z.string(),
  /** A hash of everything that was chosen for this worker: only a program that wants the same works through it. */
  choices: z.string(),
});
export type SharedWorker = z.infer<typeof recordSchema>;

/** Who comes in. */
const helloSchema = z.object({
  caller: z.string().min(1).max(100),
  session: z.string().min(1).optional(),
  /** Codex of this worker started it, in a command of that task where one is named. */
  inside: z.object({ task: z.string().max(100).nullable() }).optional(),
});

const fileName = 'worker.json';
const fileLimit = 64 * 1024;

export interface SharingOptions extends StdioHostOptions {
  readonly stateDir: string;
  /** The directory of doors; see base/door.ts. */
  readonly doorsDir: string;
  readonly choices: string;
}

/** Lets other programs on the same store work through this worker: the same tasks, and one writer. */
export class Sharing {
  private readonly guests: Guests;
  private closing = false;
  /** Programs that Codex itself started. */
  private inner = 0;
  private readonly options: SharingOptions;
  private readonly door: Door;

  private constructor(options: SharingOptions, door: Door) {
    this.options = options;
    this.door = door;
    this.guests = new Guests(options);
  }

  static async start(options: SharingOptions): Promise<Sharing> {
    let sharing: Sharing | null = null;
    const door = await Door.open({
      doorsDir: options.doorsDir,
      welcome: () => ({}),
      onGuest: (guest) => sharing?.receive(guest),
    });
    sharing = new Sharing(options, door);
    const { address, token } = door;
    const record: SharedWorker = { version: 1, address, token, choices: options.choices };
    await writePrivate(join(options.stateDir, fileName), JSON.stringify(record));
    return sharing;
  }

  /** How many programs work through this one now, and could take over. */
  get count(): number {
    return this.guests.count - this.inner;
  }

  /** Lets go of the other programs; what they began stays. */
  async close(): Promise<void> {
    this.closing = true;
    await rm(join(this.options.stateDir, fileName), { force: true });
    await this.door.close();
  }

  private receive(guest: Guest): void {
    const hello = helloSchema.safeParse(guest.hello).data;
    if (!hello) {
      guest.socket.destroy();
      return;
    }
    const { caller: client, session = null, inside } = hello;
    if (inside) {
      // It owns nothing and takes over nothing: what it started is its task's.
      const caller = (inside.task === null ? null : this.options.tasks.callerInside(inside.task)) ?? insideUnknownTask;
      this.inner++;
      const onEnd = (): void => {
        this.inner--;
      };
      this.guests.receive(guest, { identify: () => caller, onEnd }).catch(() => guest.socket.destroy());
      return;
    }
    const identify = (_name: string | undefined, conversation: string | null) =>
      callerId(client, conversation ?? session);
    this.guests.receive(guest, { identify, onEnd: () => void this.ended(client) }).catch(() => guest.socket.destroy());
  }

  /** A program that goes away takes its tasks along, as one that works for itself does. */
  private async ended(client: string): Promise<void> {
    if (this.closing) return;
    await this.options.tasks.cancelAllOf(client).catch((error: unknown) => {
      this.options.log('error', `Not all tasks of a program that went away were ended: ${messageOf(error)}`);
    });
  }
}

/** The worker of a store that wants what this program wants; null when there is none. */
export async function findSharedWorker(stateDir: string, choices: string): Promise<SharedWorker | null> {
  const record = await findWorkerOf(stateDir);
  return record?.choices === choices ? record : null;
}

/** The worker of a store, whatever it wants. */
export async function findWorkerOf(stateDir: string): Promise<SharedWorker | null> {
  const text = await readPrivate(join(stateDir, fileName), fileLimit).catch(() => null);
  return text === null ? null : parse(text);
}

function parse(text: string): SharedWorker | null {
  try {
    return recordSchema.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}

/** Why a client is not served by a shared worker any more; `unreachable` when it never was. */
export type SharedEnd = 'clientGone' | 'workerGone' | 'unreachable';

/** Who works through another program. */
export interface SharedCaller {
  readonly caller: string;
  readonly session: string | undefined;
  /** Codex of that worker started this program. */
  readonly inside?: { readonly task: string | null };
}

/** Has a client served by a shared worker until one of them goes away or `stopped` resolves. */
export async function serveThrough(
  worker: SharedWorker,
  client: StdioClient,
  { caller, session, inside }: SharedCaller,
  stopped: Promise<unknown>,
): Promise<SharedEnd> {
  const hello = { caller, ...(session === undefined ? {} : { session }), ...(inside ? { inside } : {}) };
  const way = await knock(worker, hello);
  if (way.kind !== 'in') return 'unreachable';
  const { socket, onLine } = way;
  const lost = new Promise<SharedEnd>((resolve) => socket.once('close', () => resolve('workerGone')));
  const gone = Promise.race([client.ended, stopped]).then((): SharedEnd => 'clientGone');
  onLine((line) => void client.hear(line));
  client.attach((line) => void socket.write(`${line}\n`));
  const end = await Promise.race([lost, gone]);
  client.detach();
  socket.destroySoon();
  return end;
}
