import { attachedClient, callerId, windowClient } from '../core/caller';
import { Emitter } from '../core/emitter';
import { messageOf } from '../core/errors';
import { Door, type Guest } from '../base/door';
import type { PipeHello, WindowWelcome } from '../pipe/attachedPipe';
import type { Identify } from './callers';
import { Guests } from './guests';
import type { StdioHostOptions } from './stdioHost';

export interface WindowDoorOptions extends StdioHostOptions {
  /** The directory of doors; see base/door.ts. */
  readonly doorsDir: string;
  /** Changes with the tools. */
  readonly tools: string;
  /** A program that is no harness of the editor works through the window for the first time since it was opened. */
  readonly onAttached: (client: string) => void;
}

/**
 * The door by which pipes come into this window: those of the editor's own harnesses, which are the window, and those of
 * programs that attach, each a client by the name that it gives itself. None owns anything: when it goes, its tasks go on.
 */
export class WindowDoor {
  private readonly guests: Guests;
  /** Programs that are attached now, by name. */
  private readonly attachedNow = new Map<string, number>();
  private readonly seen = new Set<string>();
  private readonly emitter = new Emitter<undefined>();
  /** Programs attached or went. */
  readonly onDidChangeAttached = this.emitter.event;
  private readonly options: WindowDoorOptions;
  private readonly door: Door;

  private constructor(options: WindowDoorOptions, door: Door) {
    this.options = options;
    this.door = door;
    this.guests = new Guests(options);
  }

  /** Rejects when there can be no door. */
  static async open(options: WindowDoorOptions): Promise<WindowDoor> {
    const welcome: WindowWelcome = { tools: options.tools };
    let window: WindowDoor | null = null;
    const door = await Door.open({
      doorsDir: options.doorsDir,
      welcome: () => ({ ...welcome }),
      // Nobody knows the address before it is there.
      onGuest: (guest) => window?.receive(guest),
    });
    window = new WindowDoor(options, door);
    return window;
  }

  get address(): string {
    return this.door.address;
  }

  get token(): string {
    return this.door.token;
  }

  /** The names of attached programs; a name that is there twice is one program in two sessions. */
  get attached(): readonly string[] {
    return [...this.attachedNow.keys()];
  }

  async close(): Promise<void> {
    await this.door.close();
    this.emitter.dispose();
  }

  private receive(guest: Guest): void {
    const { entrance, session } = guest.hello as Partial<PipeHello>;
    const label = typeof session === 'string' && session !== '' ? session : null;
    const visit = entrance === 'definition' ? { identify: asWindow(label) } : this.attach(label);
    this.guests.receive(guest, visit).catch((error: unknown) => {
      this.options.log('error', `A program that came in could not be served: ${messageOf(error)}`);
      guest.socket.destroy();
    });
  }

  private attach(label: string | null) {
    let name: string | null = null;
    return {
      identify: asAttached(label),
      onInitialized: (given: string) => {
        if (name !== null) return;
        name = attachedClient(given);
        this.count(name, 1);
      },
      onEnd: () => {
        if (name !== null) this.count(name, -1);
      },
    };
  }

  private count(name: string, by: number): void {
    const now = (this.attachedNow.get(name) ?? 0) + by;
    if (now > 0) this.attachedNow.set(name, now);
    else this.attachedNow.delete(name);
    if (!this.seen.has(name)) this.options.onAttached(name);
    this.seen.add(name);
    this.emitter.fire(undefined);
  }
}

function asWindow(label: string | null): Identify {
  return (_name, conversation) => callerId(windowClient, conversation ?? label);
}

function asAttached(label: string | null): Identify {
  return (name, conversation) => callerId(attachedClient(name ?? ''), conversation ?? label);
}
