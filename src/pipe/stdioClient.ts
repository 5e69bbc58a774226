import type { Readable, Writable } from 'node:stream';
import { LineSplitter, lineLimit } from '../base/lineSplitter';
import { type ToolError, toolFailure } from './toolError';

type Id = string | number;
interface Message {
  readonly id?: Id;
  readonly method?: string;
  readonly params?: { readonly name?: unknown; readonly uri?: unknown; readonly requestId?: unknown };
}

/** A request of the client. */
interface Request {
  readonly id: Id;
  readonly line: string;
  readonly method: string;
  /** Of the call, where it is one. */
  readonly tool: unknown;
}

/** What waits for a worker, and since when, on the clock of `performance`. */
interface Waiting {
  readonly line: string;
  readonly request: Request | null;
  readonly since: number;
}

export interface StdioClientOptions {
  /** Whether a call of this tool is said to the next worker when the last one went without an answer. */
  readonly repeats: (tool: unknown) => boolean;
}

/** Messages that wait for the next worker. */
const waitingLimit = 1_000;

const opening = 'initialize';
const opened = 'notifications/initialized';
const cancelled = 'notifications/cancelled';
/** Codes of JSON-RPC 2.0, and of the MCP SDK for a connection that is gone. */
const codes = { parse: -32_700, invalid: -32_600, gone: -32_000 } as const;

const batch = 'A batch is not taken over stdio: send each message on a line of its own.';
const noMessage = 'This is no JSON-RPC 2.0 message.';

/**
 * An MCP client over two streams, one message per line, which may outlive the worker that serves it. The next worker is told
 * how the client opened its session and what it subscribed to; what the last one had not answered is said again where it
 * only reads, and refused otherwise. A line that is no message is answered, too: the SDK's transport drops it without a word
 * (1.32.2).
 */
export class StdioClient {
  /** Resolves when the client says no more, or hears no more. */
  readonly ended: Promise<void>;
  private worker: ((line: string) => void) | null = null;
  private waiting: Waiting[] = [];
  /** Requests that no worker has answered. */
  private readonly open = new Map<Id, Request>();
  /** What each worker has to know of the session: how it was opened, and what the client subscribed to. */
  private readonly session = new Map<string, Request>();
  private initialized: string | null = null;
  /** Ids of what was told again, whose answers the client has. */
  private readonly retold = new Set<Id>();
  /** What the worker asked the client and has no answer to. */
  private readonly asked = new Set<Id>();
  private readonly output: Writable;
  private readonly options: StdioClientOptions;

  constructor(input: Readable, output: Writable, options: StdioClientOptions) {
    this.output = output;
    this.options = options;
    const splitter = new LineSplitter(
      (line) => this.take(line),
      () => this.say(refusalFor(null, codes.invalid, `A line has more than ${lineLimit} characters.`)),
    );
    input.on('data', (chunk: Buffer) => splitter.push(chunk));
    this.ended = new Promise((resolve) => {
      input.once('end', resolve).once('close', resolve);
      output.once('error', () => resolve());
    });
  }

  /** From now on a worker gets what the client says, line by line. */
  attach(worker: (line: string) => void): void {
    this.worker = worker;
    for (const { id, line } of this.session.values()) {
      if (this.open.has(id)) continue;
      this.retold.add(id);
      worker(line);
    }
    for (const { line } of this.waiting.splice(0)) worker(line);
  }

  /** The worker is gone: what it did not answer is said to the next one, or refused with `error`. */
  detach(error: ToolError = workerGone): void {
    this.worker = null;
    this.retold.clear();
    for (const id of this.asked) this.notify(cancelled, { requestId: id, reason: error.message });
    this.asked.clear();
    const again: Waiting[] = [];
    for (const request of [...this.open.values()]) {
      const isRepeatable = request.method !== 'tools/call' || this.options.repeats(request.tool);
      if (isRepeatable) again.push({ line: request.line, request, since: performance.now() });
      else this.refuse(request, error);
    }
    this.waiting = [...again, ...this.waiting];
  }

  /** Refuses what has waited for a worker for that many ms. */
  refuseWaiting(limitMs: number, error: ToolError): void {
    const late = performance.now() - limitMs;
    const isLate = ({ request, since }: Waiting): boolean => request !== null && since <= late;
    for (const { request } of this.waiting.filter(isLate)) if (request) this.refuse(request, error);
    this.waiting = this.waiting.filter((one) => !isLate(one));
  }

  /** Tells the client something of our own. */
  notify(method: string, params?: object): void {
    this.say({ jsonrpc: '2.0', method, ...(params ? { params } : {}) });
  }

  /** Passes on a line of the worker; false when the client takes no more for now, until `untilRoom`. */
  hear(line: string): boolean {
    const { id, method } = JSON.parse(line) as Message;
    if (id !== undefined && method !== undefined) this.asked.add(id);
    if (id !== undefined && method === undefined) {
      const opens = this.session.get(opening)?.id === id;
      this.open.delete(id);
      // Not before the worker knows its client, whether the client waited for that or not.
      if (opens && this.initialized !== null) this.worker?.(this.initialized);
      if (this.retold.delete(id)) return true;
    }
    return this.output.write(`${line}\n`);
  }

  /** Calls back when the client takes more. */
  untilRoom(listener: () => void): void {
    this.output.once('drain', listener);
  }

  private take(line: string): void {
    const { refusal, message } = read(line);
    if (refusal) {
      this.say(refusal);
      return;
    }
    const { id, method, params } = message;
    // An answer to what a worker asked that is gone would be taken for the answer to something else.
    if (method === undefined && (id === undefined || !this.asked.delete(id))) return;
    const request = id === undefined || method === undefined ? null : { id, line, method, tool: params?.name };
    if (request) this.note(request, params);
    if (method === opened) {
      this.initialized = line;
      const first = this.session.get(opening);
      if (first && this.open.has(first.id)) return;
    }
    // A cancelled request is answered by nobody.
    if (method === cancelled) this.cancel(params?.requestId as Id);
    if (this.worker) this.worker(line);
    // The next worker is told by itself that the session is open, and knows nothing of what is cancelled.
    else if (request === null && (method === opened || method === cancelled)) return;
    else if (this.waiting.length < waitingLimit) this.waiting.push({ line, request, since: performance.now() });
    else if (request) this.refuse(request, tooMany);
  }

  private note(request: Request, params: Message['params']): void {
    this.open.set(request.id, request);
    if (request.method === opening) this.session.set(opening, request);
    if (request.method === 'resources/subscribe') this.session.set(`of ${String(params?.uri)}`, request);
    if (request.method === 'resources/unsubscribe') this.session.delete(`of ${String(params?.uri)}`);
  }

  private cancel(id: Id): void {
    this.open.delete(id);
    this.waiting = this.waiting.filter(({ request }) => request?.id !== id);
  }

  private refuse({ id, method }: Request, error: ToolError): void {
    this.open.delete(id);
    if (method === 'tools/call') this.say({ jsonrpc: '2.0', id, result: toolFailure(error) });
    else this.say(refusalFor(id, codes.gone, `${error.message} ${error.hint}`));
  }

  private say(message: object): void {
    this.output.write(`${JSON.stringify(message)}\n`);
  }
}

const workerGone: ToolError = {
  code: 'shutting_down',
  message: 'The program that served this call has ended, and its tasks are taken over.',
  hint: 'Read task:///all or call wait-task to see what was done, then call again.',
  retryable: true,
};

const tooMany: ToolError = {
  code: 'not_available',
  message: 'Too many messages wait for the worker, which is not there.',
  hint: 'Call again in a moment.',
  retryable: true,
};

/** A message, or the answer to what is none. */
function read(line: string): { readonly refusal: object | null; readonly message: Message } {
  const refuse = (id: Id | null, code: number, text: string) => ({ refusal: refusalFor(id, code, text), message: {} });
  let content: unknown;
  try {
    content = JSON.parse(line);
  } catch {
    return refuse(null, codes.parse, 'This line is no JSON.');
  }
  if (Array.isArray(content)) return refuse(null, codes.invalid, batch);
  if (isMessage(content)) return { refusal: null, message: content };
  const { id } = (typeof content === 'object' ? (content ?? {}) : {}) as { readonly id?: unknown };
  return refuse(isId(id) ? id : null, codes.invalid, noMessage);
}

/** A request, a notification or an answer of JSON-RPC 2.0. */
function isMessage(content: unknown): content is Message {
  if (typeof content !== 'object' || content === null) return false;
  const { jsonrpc, id, method, params, result, error } = content as Readonly<Record<string, unknown>>;
  if (jsonrpc !== '2.0' || (id !== undefined && !isId(id))) return false;
  if (method === undefined) return id !== undefined && [result, error].filter(isObject).length === 1;
  return typeof method === 'string' && (params === undefined || isObject(params));
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** As the SDK has it: a number is an integer. */
function isId(id: unknown): id is Id {
  return typeof id === 'string' || Number.isSafeInteger(id);
}

function refusalFor(id: Id | null, code: number, message: string): object {
  return { jsonrpc: '2.0', id, error: { code, message } };
}
