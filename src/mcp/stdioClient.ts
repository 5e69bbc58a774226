import { ErrorCode, JSONRPCMessageSchema } from '@modelcontextprotocol/sdk/types.js';
import type { Readable, Writable } from 'node:stream';
import { CallError } from '../core/errors';
import { LineSplitter, lineLimit } from '../base/lineSplitter';
import { failure } from './results';

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
  /** Whether it may be said to the next worker, too: it does nothing. */
  readonly isRepeatable: boolean;
}

/** Messages that wait for the next worker. */
const waitingLimit = 1_000;

const opening = 'initialize';

const batch = 'A batch is not taken over stdio: send each message on a line of its own.';
const noMessage = 'This is no JSON-RPC 2.0 message.';

/**
 * A client over two streams, a message a line, which may outlive the worker that serves it: the next one is told how the
 * client opened its session, and what the last one had not answered is said to the next one where it only reads, and refused otherwise. A line that is no message is answered,
 * too; the SDK's transport drops it without a word (1.32.2).
 */
export class StdioClient {
  /** Resolves when the client says no more, or hears no more. */
  readonly ended: Promise<void>;
  private worker: ((line: string) => void) | null = null;
  private readonly waiting: string[] = [];
  /** Requests that no worker has answered. */
  private readonly open = new Map<Id, Request>();
  /** What each worker has to know of the session: how it was opened, and what the client subscribed to. */
  private readonly session = new Map<string, Request>();
  private initialized: string | null = null;
  /** Ids of what was told again, whose answers the client has. */
  private readonly retold = new Set<Id>();
  private readonly output: Writable;

  constructor(input: Readable, output: Writable) {
    this.output = output;
    const splitter = new LineSplitter(
      (line) => this.take(line),
      () => this.say(refusalFor(null, ErrorCode.InvalidRequest, `A line has more than ${lineLimit} characters.`)),
    );
    input.on('data', (chunk: Buffer) => splitter.push(chunk));
    this.ended = new Promise((resolve) => {
      input.once('end', resolve).once('close', resolve);
      output.once('error', () => resolve());
    });
  }

  /** From now on a worker gets what the client says, a line each. */
  attach(worker: (line: string) => void): void {
    this.worker = worker;
    for (const [key, { id, line }] of this.session) {
      if (this.open.has(id)) continue;
      this.retold.add(id);
      worker(line);
      if (key === opening && this.initialized !== null) worker(this.initialized);
    }
    for (const line of this.waiting.splice(0)) worker(line);
  }

  /** The worker is gone: what it did not answer is answered, and what the client says waits for the next one. */
  detach(): void {
    this.worker = null;
    this.retold.clear();
    const unanswered = [...this.open.values()];
    this.waiting.unshift(...unanswered.filter(({ isRepeatable }) => isRepeatable).map(({ line }) => line));
    for (const { id } of unanswered.filter(({ isRepeatable }) => !isRepeatable)) {
      this.open.delete(id);
      this.say({ jsonrpc: '2.0', id, result: failure(workerGone()) });
    }
  }

  /** Passes on a line of the worker. */
  hear(line: string): void {
    const { id, method } = JSON.parse(line) as Message;
    if (id !== undefined && method === undefined) {
      this.open.delete(id);
      if (this.retold.delete(id)) return;
    }
    this.output.write(`${line}\n`);
  }

  private take(line: string): void {
    const { refusal, message } = read(line);
    if (refusal) {
      this.say(refusal);
      return;
    }
    const { id, method, params } = message;
    if (id !== undefined && method !== undefined) {
      const isRepeatable = method !== 'tools/call' || params?.name === 'wait-task';
      const request = { id, line, isRepeatable };
      this.open.set(id, request);
      if (method === opening) this.session.set(opening, request);
      if (method === 'resources/subscribe') this.session.set(`of ${String(params?.uri)}`, request);
      if (method === 'resources/unsubscribe') this.session.delete(`of ${String(params?.uri)}`);
    }
    if (method === 'notifications/initialized') this.initialized = line;
    // A cancelled request is answered by nobody.
    if (method === 'notifications/cancelled') this.open.delete(params?.requestId as Id);
    if (this.worker) this.worker(line);
    else if (this.waiting.length < waitingLimit) this.waiting.push(line);
    else if (id !== undefined) this.say({ jsonrpc: '2.0', id, error: goneError });
  }

  private say(message: object): void {
    this.output.write(`${JSON.stringify(message)}\n`);
  }
}

const goneText = 'The program that served this call has ended, and its tasks are taken over.';
const goneError = { code: ErrorCode.ConnectionClosed, message: `${goneText} Try again.` };

function workerGone(): CallError {
  return new CallError('shutting_down', goneText, {
    hint: 'Read task:///all or call wait-task to see what was done, then call again.',
    retryable: true,
  });
}

/** A message, or the answer to what is none. */
function read(line: string): { readonly refusal: object | null; readonly message: Message } {
  const refuse = (id: Id | null, code: ErrorCode, text: string) => ({
    refusal: refusalFor(id, code, text),
    message: {},
  });
  let content: unknown;
  try {
    content = JSON.parse(line);
  } catch {
    return refuse(null, ErrorCode.ParseError, 'This line is no JSON.');
  }
  if (Array.isArray(content)) return refuse(null, ErrorCode.InvalidRequest, batch);
  const parsed = JSONRPCMessageSchema.safeParse(content);
  if (parsed.success) return { refusal: null, message: parsed.data as Message };
  const { id } = (typeof content === 'object' ? (content ?? {}) : {}) as { readonly id?: unknown };
  return refuse(typeof id === 'string' || typeof id === 'number' ? id : null, ErrorCode.InvalidRequest, noMessage);
}

function refusalFor(id: Id | null, code: ErrorCode, message: string): object {
  return { jsonrpc: '2.0', id, error: { code, message } };
}
