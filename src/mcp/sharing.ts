import type { Server as McpServer } from '@modelcontextprotocol/sdk/server/index.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { z } from 'zod';
import { newAddress } from '../process/keeperFiles';
import { LineSplitter } from '../base/lineSplitter';
import { callerId } from '../core/caller';
import { createMcpServer, createTools } from './mcpServer';
import type { StdioClient } from './stdioClient';
import { type StdioHostOptions, transportLimits } from './stdioHost';

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

/** The first line of a connection; then it is MCP, a message a line. */
const helloSchema = z.object({ token: z.string(), caller: z.string().min(1).max(100) });

const helloLimitMs = 5_000;
const connectLimitMs = 3_000;
const fileName = 'worker.json';

export interface SharingOptions extends StdioHostOptions {
  readonly stateDir: string;
  readonly choices: string;
}

/** Lets other programs on the same store work through this worker: the same tasks, and one writer. */
export class Sharing {
  private readonly sessions = new Map<Socket, McpServer>();
  private closing = false;
  private readonly options: SharingOptions;
  private readonly listener: Server;
  private readonly token: string;
  private readonly cleanUp: () => Promise<void>;

  private constructor(options: SharingOptions, listener: Server, token: string, cleanUp: () => Promise<void>) {
    this.options = options;
    this.listener = listener;
    this.token = token;
    this.cleanUp = cleanUp;
    listener.on('connection', (socket) => this.meet(socket));
  }

  static async start(options: SharingOptions): Promise<Sharing> {
    const { address, cleanUp } = await newAddress();
    const token = randomBytes(32).toString('base64url');
    const listener = createServer();
    const sharing = new Sharing(options, listener, token, cleanUp);
    await new Promise<void>((resolve, reject) => {
      listener.once('error', reject);
      listener.listen(address, resolve);
    });
    const path = join(options.stateDir, fileName);
    const record: SharedWorker = { version: 1, address, token, choices: options.choices };
    await writeFile(`${path}.new`, JSON.stringify(record), { mode: 0o600 });
    await rename(`${path}.new`, path);
    return sharing;
  }

  /** How many programs work through this one now. */
  get count(): number {
    return this.sessions.size;
  }

  /** Lets go of the other programs; what they began stays. */
  async close(): Promise<void> {
    this.closing = true;
    await rm(join(this.options.stateDir, fileName), { force: true });
    this.listener.close();
    for (const socket of this.sessions.keys()) socket.destroy();
    await this.cleanUp();
  }

  private meet(socket: Socket): void {
    const messages = new PassThrough();
    let welcome = false;
    const late = setTimeout(() => socket.destroy(), helloLimitMs);
    const onLine = (line: string): void => {
      if (welcome) {
        messages.write(`${line}\n`);
        return;
      }
      clearTimeout(late);
      const hello = parse(helloSchema, line);
      welcome = hello !== null && isEqual(hello.token, this.token) && !this.closing;
      if (hello && welcome) void this.serve(socket, messages, hello.caller);
      else socket.destroy();
    };
    const splitter = new LineSplitter(onLine, () => socket.destroy());
    socket.on('data', (chunk: Buffer) => splitter.push(chunk));
    socket.on('error', () => undefined);
    socket.once('close', () => clearTimeout(late));
  }

  private async serve(socket: Socket, messages: PassThrough, caller: string): Promise<void> {
    const server = createMcpServer({ ...this.options, tools: createTools() }, (_name, conversation) =>
      callerId(caller, conversation),
    );
    this.sessions.set(socket, server);
    socket.once('close', () => void this.ended(socket, caller));
    await server.connect(new StdioServerTransport(messages, socket, transportLimits));
  }

  /** A program that goes away takes its tasks along, as one that works for itself does. */
  private async ended(socket: Socket, caller: string): Promise<void> {
    const server = this.sessions.get(socket);
    this.sessions.delete(socket);
    await server?.close();
    if (this.closing) return;
    await this.options.tasks.cancelAllOf(caller).catch((error: unknown) => {
      this.options.log('error', `Not all tasks of a program that went away were ended: ${String(error)}`);
    });
  }
}

/** The worker of a store that wants what this program wants; null when there is none. */
export async function findSharedWorker(stateDir: string, choices: string): Promise<SharedWorker | null> {
  const text = await readFile(join(stateDir, fileName), 'utf8').catch(() => '');
  const record = parse(recordSchema, text);
  return record?.choices === choices ? record : null;
}

/** Why a client is not served by a shared worker any more; `unreachable` when it never was. */
export type SharedEnd = 'clientGone' | 'workerGone' | 'unreachable';

/** Has a client served by a shared worker until one of them goes away or `stopped` resolves. */
export async function serveThrough(
  worker: SharedWorker,
  client: StdioClient,
  caller: string,
  stopped: Promise<unknown>,
): Promise<SharedEnd> {
  const socket = await reach(worker.address);
  if (!socket) return 'unreachable';
  const lost = new Promise<SharedEnd>((resolve) => socket.once('close', () => resolve('workerGone')));
  const gone = Promise.race([client.ended, stopped]).then((): SharedEnd => 'clientGone');
  const splitter = new LineSplitter(
    (line) => client.hear(line),
    () => socket.destroy(),
  );
  socket.on('data', (chunk: Buffer) => splitter.push(chunk));
  socket.write(`${JSON.stringify({ token: worker.token, caller })}\n`);
  client.attach((line) => void socket.write(`${line}\n`));
  const end = await Promise.race([lost, gone]);
  client.detach();
  socket.destroySoon();
  return end;
}

function reach(address: string): Promise<Socket | null> {
  return new Promise((resolve) => {
    const socket = connect(address);
    const late = setTimeout(() => socket.destroy(new Error('It does not answer.')), connectLimitMs);
    socket.on('error', () => {
      clearTimeout(late);
      resolve(null);
    });
    socket.once('connect', () => {
      clearTimeout(late);
      resolve(socket);
    });
  });
}

function parse<T>(schema: z.ZodType<T>, text: string): T | null {
  try {
    return schema.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}

function isEqual(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
