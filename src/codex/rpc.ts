import type { Readable, Writable } from 'node:stream';
import { LineSplitter, lineLimit } from '../base/lineSplitter';
import { BoundedMap } from '../core/boundedMap';
import { controlMark } from '../process/keeperProtocol';
import { envelopeSchema, type RequestId } from './protocol';

/** An error that the other side answered with. */
export class RpcError extends Error {
  override name = 'RpcError';

  readonly code: number;
  readonly method: string;

  constructor(code: number, message: string, method: string) {
    super(`${method}: ${message}`);
    this.code = code;
    this.method = method;
  }
}

/** No answer came: the request ran into its time limit, or the connection closed. */
export class RpcLostError extends Error {
  override name = 'RpcLostError';
}

export interface RpcHandlers {
  /** `position` is where the line stands in all that the server said; null when nobody counts. */
  onNotification(method: string, params: unknown, json: string, position: number | null): void;
  /** Must lead to one call of `respond`: an unanswered request hangs the turn. */
  onRequest(request: ServerRequest): void;
  /** A line that begins with `controlMark`: of whoever carries the messages. */
  onControl?(line: string): void;
  /** Any line was taken. */
  onPosition?(position: number): void;
  /** Input that is not JSON-RPC, and late answers. */
  onTrouble(message: string): void;
}

export interface ServerRequest {
  readonly id: RequestId;
  readonly method: string;
  readonly params: unknown;
  readonly json: string;
  readonly position: number | null;
  respond(answer: RpcAnswer): void;
}

export type RpcAnswer = { readonly result: unknown } | { readonly error: { code: number; message: string } };

export interface RpcOptions {
  readonly requestTimeoutMs: number;
  /** 300 pipelined requests were fine, at 3,000 hundreds never got a reply (measured with 0.169.0). */
  readonly maxInFlight: number;
  /** First pause before a request that met an overloaded server is sent again; it doubles each time. */
  readonly retryDelayMs: number;
  /** Makes ids that no earlier client of the same server used. */
  readonly idPrefix?: string;
  /** Whether `listen` starts the reading; otherwise it starts at once. */
  readonly waits?: boolean;
}

export const rpcDefaults: RpcOptions = { requestTimeoutMs: 30_000, maxInFlight: 100, retryDelayMs: 100 };

export const methodNotFound = -32601;
export const invalidRequest = -32600;
/** "Server overloaded; retry later": nothing was done. */
const overloaded = -32001;
const overloadedTries = 6;
const waitingLimit = 5_000;
const lateLimit = 100;
/** A chunk of this size or more says that there is more to come, in bytes. */
const floodBytes = 16 * 1024;

interface Call {
  readonly method: string;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/** JSON-RPC over two streams, a JSON object a line, both sides may ask. */
export class RpcPeer {
  private readonly calls = new Map<RequestId, Call>();
  private readonly waiting: (() => void)[] = [];
  /** What to do with answers that nobody waits for any more, oldest first. */
  private readonly late = new BoundedMap<RequestId, (result: unknown) => void>(lateLimit);
  private nextId = 1;
  private closedBy: RpcLostError | null = null;

  private readonly input: Readable;
  private readonly output: Writable;
  private readonly handlers: RpcHandlers;
  private readonly options: RpcOptions;

  constructor(input: Readable, output: Writable, handlers: RpcHandlers, options: RpcOptions = rpcDefaults) {
    this.input = input;
    this.output = output;
    this.handlers = handlers;
    this.options = options;
    if (options.waits !== true) this.listen();
  }

  /** Starts to read what the other side says. */
  listen(): void {
    const { input } = this;
    const splitter = new LineSplitter(
      (line) => this.take(line),
      () => this.handlers.onTrouble(`A line of more than ${lineLimit} characters was dropped.`),
    );
    input.on('data', (chunk: Buffer) => {
      splitter.push(chunk);
      if (chunk.length >= floodBytes) rest(input);
    });
    // It may have been left paused.
    input.resume();
  }

  /**
   * Rejects with `RpcError` for the other side's refusal, and with `RpcLostError` when no answer came in time, the wait for a
   * slot included; `onLate` gets a result that comes all the same.
   */
  async request(
    method: string,
    params: unknown,
    timeoutMs = this.options.requestTimeoutMs,
    onLate?: (result: unknown) => void,
  ): Promise<unknown> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.send(method, params, timeoutMs, onLate);
      } catch (error) {
        const retry = error instanceof RpcError && error.code === overloaded && attempt < overloadedTries;
        if (!retry) throw error;
        await new Promise((resolve) => setTimeout(resolve, this.options.retryDelayMs * 2 ** (attempt - 1)));
      }
    }
  }

  /** Whether the connection is gone. */
  get closed(): boolean {
    return this.closedBy !== null;
  }

  notify(method: string): void {
    this.write({ method });
  }

  /** Rejects everything that waits for an answer. Later requests are rejected too. */
  close(reason: string): void {
    this.closedBy ??= new RpcLostError(reason);
    for (const [id, call] of [...this.calls])
      this.settle(id, () => call.reject(this.closedBy ?? new RpcLostError(reason)));
    for (const wake of this.waiting.splice(0)) wake();
  }

  private async send(
    method: string,
    params: unknown,
    timeoutMs: number,
    onLate?: (result: unknown) => void,
  ): Promise<unknown> {
    const started = performance.now();
    if (this.calls.size >= this.options.maxInFlight) await this.untilFree(method, timeoutMs);
    const leftMs = Math.max(0, timeoutMs - (performance.now() - started));
    if (this.closedBy) throw this.closedBy;
    const { idPrefix } = this.options;
    const id = idPrefix === undefined ? this.nextId++ : `${idPrefix}${this.nextId++}`;
    return new Promise((resolve, reject) => {
      const onTimeout = (): void => {
        if (onLate) this.late.set(id, onLate);
        this.settle(id, () => reject(new RpcLostError(`Codex did not answer ${method} within ${timeoutMs} ms.`)));
      };
      this.calls.set(id, { method, resolve, reject, timer: setTimeout(onTimeout, leftMs) });
      this.write({ id, method, params });
    });
  }

  private untilFree(method: string, timeoutMs: number): Promise<void> {
    if (this.waiting.length >= waitingLimit) throw new RpcLostError(`Too many requests wait for Codex: ${method}.`);
    return new Promise((resolve, reject) => {
      const wake = (): void => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        this.waiting.splice(this.waiting.indexOf(wake), 1);
        reject(new RpcLostError(`Codex had no time for ${method} within ${timeoutMs} ms.`));
      }, timeoutMs);
      this.waiting.push(wake);
    });
  }

  private settle(id: RequestId, how: () => void): void {
    clearTimeout(this.calls.get(id)?.timer);
    this.calls.delete(id);
    this.waiting.shift()?.();
    how();
  }

  private write(message: unknown): void {
    if (this.output.writable) this.output.write(`${JSON.stringify(message)}\n`);
  }

  /** Takes a line of the other side. A bug in a handler must not cost the other lines of the chunk. */
  take(line: string): void {
    try {
      this.receive(line);
    } catch (error) {
      this.handlers.onTrouble(`Could not take ${line.slice(0, 200)}: ${String(error)}`);
    }
  }

  private receive(text: string): void {
    if (text.startsWith(controlMark)) return this.handlers.onControl?.(text);
    const { line, position } = positioned(text);
    if (position !== null) this.handlers.onPosition?.(position);
    const message = parseEnvelope(line);
    if (!message) {
      this.handlers.onTrouble(`Not JSON-RPC: ${line.slice(0, 200)}`);
      return;
    }
    const { id, method, params } = message;
    // The server's ids start at 0: test for presence, never for truth.
    if (method !== undefined && id !== undefined) this.receiveRequest({ id, method, params, json: line, position });
    else if (method !== undefined) this.handlers.onNotification(method, params, line, position);
    else if (id !== undefined) this.receiveAnswer(id, message);
  }

  private receiveRequest(request: Omit<ServerRequest, 'respond'>): void {
    let open = true;
    this.handlers.onRequest({
      ...request,
      respond: (answer) => {
        if (open) this.respond(request.id, answer);
        open = false;
      },
    });
  }

  /** Answers a request of the server. */
  respond(id: RequestId, answer: RpcAnswer): void {
    this.write({ id, ...answer });
  }

  private receiveAnswer(
    id: RequestId,
    answer: { result?: unknown; error?: { code: number; message: string } | undefined },
  ): void {
    const call = this.calls.get(id);
    if (!call) {
      const onLate = this.late.take(id);
      if (onLate && !answer.error) {
        onLate(answer.result);
        return;
      }
      this.handlers.onTrouble(`An answer came too late or to nothing, id ${id}.`);
      return;
    }
    const { error } = answer;
    this.settle(id, () =>
      error ? call.reject(new RpcError(error.code, error.message, call.method)) : call.resolve(answer.result),
    );
  }
}

/** Lets the rest of the program run before the next chunk: a flood of 16,000 events a second must not block it. */
function rest(input: Readable): void {
  input.pause();
  setImmediate(() => input.resume());
}

/** A line of a keeper begins with its position: `123 {…}`. */
function positioned(text: string): { line: string; position: number | null } {
  const end = text.startsWith('{') ? -1 : text.indexOf(' ');
  const position = end > 0 ? Number(text.slice(0, end)) : Number.NaN;
  return Number.isSafeInteger(position) ? { line: text.slice(end + 1), position } : { line: text, position: null };
}

/** A notification or a request as it was kept; null for anything else. */
export function parseMessage(json: string): { id?: RequestId; method: string; params?: unknown } | null {
  const message = parseEnvelope(json);
  if (message?.method === undefined) return null;
  const { id, method, params } = message;
  return { method, params, ...(id === undefined ? {} : { id }) };
}

function parseEnvelope(line: string): ReturnType<typeof envelopeSchema.parse> | null {
  try {
    return envelopeSchema.safeParse(JSON.parse(line)).data ?? null;
  } catch {
    return null;
  }
}
