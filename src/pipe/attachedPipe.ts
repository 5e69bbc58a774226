import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { knock, type Knocked, type Refusal } from '../base/door';
import type { StdioClient } from './stdioClient';
import type { ToolError } from './toolError';
import { readWindow, type UnreadableWindow } from './windows';

/** How a client came to the window: by the definition that the editor hands to its harnesses, or as `--attach`. */
export type Entrance = 'definition' | 'attach';

/** What a pipe says of itself at the window's door. */
export interface PipeHello {
  readonly entrance: Entrance;
  /** The conversation that all of it belongs to, where the harness names it in the environment. */
  readonly session?: string;
}

/** What a window says of itself. */
export interface WindowWelcome {
  /** Changes with the tools. */
  readonly tools: string;
}

export interface AttachedPipeOptions {
  readonly dataDir: string;
  /** The id of the window. */
  readonly window: string;
  readonly client: StdioClient;
  readonly hello: PipeHello;
  /** Resolves when this program shall end. */
  readonly stopped: Promise<unknown>;
  readonly log: (message: string) => void;
  /** How long a call waits for the window, in ms; a reload takes some seconds. */
  readonly waitMs?: number;
}

const defaultWaitMs = 20_000;
const lookEveryMs = 100;
const sweepEveryMs = 200;

/**
 * Has a client served by a window for as long as the client is there, over reloads of the window: harnesses do not start a
 * dead server again. While the window is away calls wait; what it had not answered is refused as retryable.
 */
export async function pipeInto(options: AttachedPipeOptions): Promise<void> {
  const { client, log, stopped, waitMs = defaultWaitMs } = options;
  const over = Promise.race([client.ended, stopped]).then(() => 'over' as const);
  let away: ToolError = notThere;
  const sweep = setInterval(() => client.refuseWaiting(waitMs, away), sweepEveryMs);
  let tools: unknown = null;
  try {
    for (;;) {
      const way = await enter(options);
      if (way.kind === 'in') {
        if (tools !== null && way.welcome.tools !== tools) client.notify('notifications/tools/list_changed');
        tools = way.welcome.tools;
        if ((await serve(way, client, over)) === 'over') return;
        log('The window has gone; waiting for it to come back.');
        away = notThere;
      } else away = errorOf(way);
      if ((await Promise.race([delay(lookEveryMs), over])) === 'over') return;
    }
  } finally {
    clearInterval(sweep);
  }
}

type Way = Knocked | { readonly kind: 'unreadable'; readonly why: UnreadableWindow['why'] };

async function enter({ dataDir, window, hello }: AttachedPipeOptions): Promise<Way> {
  const record = await readWindow(dataDir, window);
  if (!record) return { kind: 'nobody' };
  return 'why' in record ? { kind: 'unreadable', why: record.why } : knock(record, { ...hello });
}

/** Until the window or the client goes. */
async function serve(
  { socket, onLine }: Knocked & { kind: 'in' },
  client: StdioClient,
  over: Promise<'over'>,
): Promise<'lost' | 'over'> {
  const lost = new Promise<'lost'>((resolve) => socket.once('close', () => resolve('lost')));
  onLine((line) => {
    if (!client.hear(line)) pauseFor(socket, client);
  });
  client.attach((line) => void socket.write(`${line}\n`));
  const end = await Promise.race([lost, over]);
  client.detach(windowGone);
  socket.destroySoon();
  return end;
}

function pauseFor(socket: Socket, client: StdioClient): void {
  socket.pause();
  client.untilRoom(() => socket.resume());
}

const windowGone: ToolError = {
  code: 'shutting_down',
  message: "The editor's window went away during this call; its tasks go on.",
  hint: 'Call again: the same spawn-task gives the same task.',
  retryable: true,
};

const notThere: ToolError = {
  code: 'not_available',
  message: "The editor's window that this works through is not there.",
  hint: 'It may be reloading: call again in a moment, or ask the person to open its folder in the editor.',
  retryable: true,
};

const whyNot: Readonly<Record<Refusal | UnreadableWindow['why'], string>> = {
  version: 'The window runs another version of Codex Worker. Ask the person to update both, and to reload the window.',
  token: 'The window took no notice of its own token. Ask the person to reload it.',
  proof: 'The proof for its door could not be given. Ask the person to run "Codex Worker: Doctor".',
  closing: 'The window is closing. Call again in a moment.',
  full: 'Too many programs are connected to the window. Ask the person to close some of them.',
  private: 'The file that names the window is of another user, or can be read by others. Ask the person to remove it.',
  damaged: 'The file that names the window is damaged. Ask the person to reload the window.',
};

function errorOf(way: Exclude<Way, { kind: 'in' }>): ToolError {
  if (way.kind === 'nobody') return notThere;
  const hint = whyNot[way.kind === 'unreadable' ? way.why : way.reason];
  return { ...notThere, message: "The editor's window cannot be worked through.", hint };
}
