import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import { z } from 'zod';
import { LineSplitter } from '../base/lineSplitter';
import { Signal } from '../base/signal';
import { type ChildProcess, startChild } from '../process/childProcess';
import type { Companion } from '../process/keeper';
import { KnownSandboxes } from './confinement';
import { type ExecMessage, execMessage } from './execMessages';
import { GatedEnvironment, Refusal } from './gatedEnvironment';
import {
  bindParams,
  closeParams,
  declinedReason,
  gateAnswer,
  gateMark,
  gateMethod,
  type GateQuestion,
  openParams,
} from './gateProtocol';
import { ServerWatch } from './serverWatch';

export interface ExecGateOptions {
  /** The program of Codex. */
  readonly file: string;
  /** Says a line to the worker, in the place of the app-server. */
  readonly say: (line: string) => void;
  /** Distinguishes the requests of this gate from those of an earlier one. */
  readonly begins: number;
}

/** Codex tells of a turn or a change before it does it, on another way: how long that may take longer, in ms. */
const toldLimitMs = 5_000;
const environmentsLimit = 1_000;
/** Bytes of one message; a patch of 1 MB has 1.3 MB. */
const messageLimit = 64 * 1024 * 1024;
/** Bytes that wait for Codex beyond which the executor is not read on. */
const waitingLimit = 16 * 1024 * 1024;
/** What the executor works on at once. */
const concurrentRequests = 16;

const workerMessage = z.looseObject({
  id: z.union([z.string(), z.number()]),
  method: z.string().optional(),
  params: z.unknown().optional(),
  result: z.unknown().optional(),
});

interface Environment {
  readonly token: Buffer;
  readonly gated: GatedEnvironment;
  connection: Connection | null;
}

interface Connection {
  readonly socket: WebSocket;
  readonly executor: ChildProcess;
}

interface Held {
  readonly threadId: string;
  readonly turnId: string;
  readonly settle: (accepted: boolean) => void;
}

/**
 * Stands between an app-server that has no executor of its own and one `codex exec-server` for each thread, and lets nothing
 * through that the worker did not accept. Without it nothing can run. Everything that Codex does on this machine for a thread
 * passes as one JSON-RPC message, in the form in which it will be done (seen with Codex 0.169.0).
 */
export class ExecGate implements Companion {
  private readonly environments = new Map<string, Environment>();
  private readonly held = new Map<string, Held>();
  private readonly changed = new Signal();
  private readonly watch = new ServerWatch({
    onLearnt: () => this.learnt(),
    onThreadClosed: (threadId) => this.threadClosed(threadId),
  });
  private readonly sandboxes = new KnownSandboxes();
  private asked = 0;
  private readonly options: ExecGateOptions;
  private readonly listener: WebSocketServer;

  private constructor(options: ExecGateOptions, listener: WebSocketServer) {
    this.options = options;
    this.listener = listener;
    listener.on('connection', (socket: WebSocket, request: IncomingMessage) => this.meet(socket, request));
  }

  /** Resolves when Codex can connect. Rejects when no port of this machine can be listened at. */
  static async open(options: ExecGateOptions): Promise<ExecGate> {
    let gate: ExecGate | null = null;
    const listener = new WebSocketServer({
      host: '127.0.0.1',
      port: 0,
      perMessageDeflate: false,
      maxPayload: messageLimit,
      verifyClient: ({ req }: { req: IncomingMessage }) => gate?.environmentOf(req) !== undefined,
    });
    await new Promise<void>((resolve, reject) => {
      listener.once('listening', resolve);
      listener.once('error', reject);
    });
    gate = new ExecGate(options, listener);
    listener.on('error', () => undefined);
    return gate;
  }

  fromServer(line: string): void {
    this.watch.fromServer(line);
  }

  fromClient(line: string): boolean {
    if (!line.includes(gateMark)) {
      this.watch.fromClient(line);
      return false;
    }
    const message = workerMessage.safeParse(parsed(line)).data;
    // A message of the app-server's that names it somewhere.
    if (!message || !isOurs(message)) {
      this.watch.fromClient(line);
      return false;
    }
    if (message.method === undefined) this.answered(String(message.id), message.result);
    else this.request(message.id, message.method, message.params);
    return true;
  }

  async close(): Promise<void> {
    for (const { settle } of this.held.values()) settle(false);
    const ending = [...this.environments.keys()].map((name) => this.closeEnvironment(name));
    this.listener.close();
    await Promise.all(ending);
  }

  private request(id: string | number, method: string, params: unknown): void {
    try {
      this.tell({ id, result: this.do(method, params) });
    } catch (error) {
      this.tell({ id, error: { code: -32602, message: error instanceof Error ? error.message : String(error) } });
    }
  }

  private do(method: string, params: unknown): unknown {
    switch (method) {
      case gateMethod.open:
        return this.openEnvironment(openParams.parse(params));
      case gateMethod.bind: {
        const { environment, threadId, sandbox } = bindParams.parse(params);
        const known = this.environments.get(environment);
        if (!known) throw new Error('There is no such environment.');
        known.gated.bind({ id: threadId, sandbox });
        return {};
      }
      case gateMethod.close:
        void this.closeEnvironment(closeParams.parse(params).environment);
        return {};
      default:
        throw new Error(`Method not found: ${method}`);
    }
  }

  private openEnvironment({ environment, token, ...options }: z.infer<typeof openParams>): unknown {
    void this.closeEnvironment(environment);
    if (this.environments.size >= environmentsLimit) throw new Error('There are too many environments.');
    const gated = new GatedEnvironment(options, {
      watch: this.watch,
      sandboxes: this.sandboxes,
      settled: (holds) => this.changed.until(holds, toldLimitMs),
      ask: (question) => this.ask(question),
    });
    this.environments.set(environment, { token: digest(token), gated, connection: null });
    return { url: `ws://127.0.0.1:${(this.listener.address() as AddressInfo).port}` };
  }

  private async closeEnvironment(name: string): Promise<void> {
    const environment = this.environments.get(name);
    this.environments.delete(name);
    if (environment) await this.disconnect(environment);
  }

  private async disconnect(environment: Environment): Promise<void> {
    const { connection } = environment;
    environment.connection = null;
    connection?.socket.terminate();
    await connection?.executor.stop();
  }

  private environmentOf({ headers }: IncomingMessage): Environment | undefined {
    const shown = digest(/^Bearer (\S+)$/.exec(headers.authorization ?? '')?.[1] ?? '');
    return [...this.environments.values()].find(({ token }) => timingSafeEqual(token, shown));
  }

  /** Codex came; an older connection of it is of no use any more. */
  private meet(socket: WebSocket, request: IncomingMessage): void {
    socket.on('error', () => undefined);
    const environment = this.environmentOf(request);
    if (!environment) {
      socket.terminate();
      return;
    }
    void this.disconnect(environment);
    const executor = startChild({
      file: this.options.file,
      args: ['exec-server', '--listen', 'stdio', '--concurrent-requests', String(concurrentRequests)],
      env: { CODEX_EXEC_SERVER_URL: undefined },
    });
    const connection = { socket, executor };
    environment.connection = connection;
    this.passDown(connection);
    socket.on('message', (data, isBinary) => {
      void this.passUp(connection, environment.gated, isBinary ? '' : dataText(data));
    });
    socket.once('close', () => {
      void executor.stop();
      // Codex does not wait for the answers any more.
      for (const held of this.held.values()) if (held.threadId === environment.gated.threadId) held.settle(false);
    });
    void executor.exited.then(() => socket.close());
  }

  private passDown({ socket, executor }: Connection): void {
    const send = (line: string): void => {
      if (line.trim() === '' || socket.readyState !== socket.OPEN) return;
      socket.send(line, () => {
        if (socket.bufferedAmount < waitingLimit) executor.stdout.resume();
      });
      if (socket.bufferedAmount >= waitingLimit) executor.stdout.pause();
    };
    const splitter = new LineSplitter(send, () => socket.close());
    executor.stdout.on('data', (chunk: Buffer) => splitter.push(chunk));
    // A full pipe would stall it; what it says there is of no use.
    executor.stderr.resume();
  }

  private async passUp({ socket, executor }: Connection, gated: GatedEnvironment, text: string): Promise<void> {
    const message = execMessage.safeParse(parsed(text)).data;
    if (!message) {
      socket.close();
      return;
    }
    try {
      const passed = await gated.judge(message);
      // It may have been held for long.
      if (socket.readyState === socket.OPEN) executor.stdin.write(`${JSON.stringify(passed)}\n`);
    } catch (error) {
      const reason = error instanceof Refusal ? error.message : 'It has a shape that this version does not know.';
      this.refuse(socket, message, gated.threadId, reason);
    }
  }

  private refuse(socket: WebSocket, { id, method }: ExecMessage, threadId: string | null, reason: string): void {
    const message = reason === declinedReason ? reason : `[POLICY DENIED] ${reason}`;
    const answer = { id, error: { code: -32000, message } };
    if (id !== undefined && socket.readyState === socket.OPEN) socket.send(JSON.stringify(answer));
    this.tell({ method: gateMethod.refused, params: { threadId, what: method ?? 'a message', reason } });
  }

  private ask({ method, params }: GateQuestion): Promise<boolean> {
    const id = `${gateMark}${this.options.begins}/${++this.asked}`;
    const { threadId, turnId } = params;
    return new Promise((resolve) => {
      const settle = (accepted: boolean): void => {
        this.held.delete(id);
        this.tell({ method: 'serverRequest/resolved', params: { threadId, requestId: id } });
        resolve(accepted);
      };
      this.held.set(id, { threadId, turnId, settle });
      this.tell({ method, id, params });
    });
  }

  private answered(id: string, result: unknown): void {
    const held = this.held.get(id);
    held?.settle(gateAnswer.safeParse(result).data?.accepted === true && this.isOpen(held));
  }

  private isOpen({ threadId, turnId }: Held): boolean {
    return this.watch.turnOf(threadId) === turnId;
  }

  private threadClosed(threadId: string): void {
    for (const [name, { gated }] of this.environments)
      if (gated.threadId === threadId) void this.closeEnvironment(name);
  }

  private learnt(): void {
    this.changed.fire();
    for (const held of [...this.held.values()]) if (!this.isOpen(held)) held.settle(false);
  }

  private tell(message: unknown): void {
    this.options.say(JSON.stringify(message));
  }
}

function isOurs({ id, method }: z.infer<typeof workerMessage>): boolean {
  return method === undefined ? String(id).startsWith(gateMark) : method.startsWith(gateMark);
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function dataText(data: Buffer | ArrayBuffer | readonly Buffer[]): string {
  if (Array.isArray(data)) return Buffer.concat(data).toString('utf8');
  return Buffer.from(data as ArrayBuffer).toString('utf8');
}
