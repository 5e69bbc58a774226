import { type ChildOptions, type ChildProcess, startChild } from './childProcess';
import { claimLineage } from './lineage';

/** A server that talks in lines over its standard streams, started by us or by a keeper. */
export interface ServerProcess extends ChildProcess {
  /** The mark of everything that it starts; see lineage.ts. */
  readonly lineage: Promise<number | null>;
  /** What its starter said that it works for; see `ServerOptions`. */
  readonly purpose: string;
  /** What it says has a higher position than this; what an earlier server said has none. */
  readonly begins: number;
  /** The keeper that owns it; undefined when we do. */
  readonly keeperPid: number | undefined;
  /** Takes a line of `stdout` that begins with `controlMark`. */
  control(line: string): void;
  /** The client has what the server said up to a position for good. */
  acknowledge(position: number): void;
  /** Resolves when everything that was missed has been said. */
  readonly caughtUp: Promise<void>;
  /** Leaves the server to its keeper; false when there is none. */
  detach(): Promise<boolean>;
}

export interface ServerOptions extends ChildOptions {
  /** What the server works for, in words of its client, which are told to the client that finds it. */
  readonly purpose: string;
}

/** Starts servers and finds those of an earlier run. */
export interface ServerHost {
  /** Whether a server goes on when this program ends. */
  readonly keeps: boolean;
  start(options: ServerOptions): Promise<ServerProcess>;
  find(): Promise<ServerProcess | null>;
  /** What a server that is gone said and nobody heard. */
  missed(): AsyncIterable<string>;
  /** Nobody needs what was missed any more. */
  forget(): Promise<void>;
}

/** Servers that end with this program. */
export const directHost: ServerHost = {
  keeps: false,
  start: (options) => Promise.resolve(startDirect(options)),
  find: () => Promise.resolve(null),
  missed: () => noLines(),
  forget: () => Promise.resolve(),
};

function startDirect(options: ServerOptions): ServerProcess {
  const child = startChild(options);
  return {
    ...child,
    lineage: claimLineage(child.pid ?? 0),
    purpose: options.purpose,
    begins: 0,
    keeperPid: undefined,
    control: () => undefined,
    acknowledge: () => undefined,
    caughtUp: Promise.resolve(),
    detach: () => Promise.resolve(false),
  };
}

function noLines(): AsyncIterable<string> {
  const next = () => Promise.resolve({ done: true, value: undefined } as const);
  return { [Symbol.asyncIterator]: () => ({ next }) };
}
