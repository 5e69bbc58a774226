import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { isInitializeRequest } from '@modelcontextprotocol/sdk/types.js';
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Disposable } from '../core/disposable';
import { callerId } from '../core/caller';
import { whileDelivering } from './delivery';
import { createMcpServer, type McpParts } from './mcpServer';

export interface SessionOptions {
  readonly parts: McpParts;
  /** The client that all sessions are; null makes each session a client of its own. */
  readonly client: string | null;
  /** How long a session without a request or an open stream is kept, in ms. */
  readonly idleLimitMs: number;
  /** How often a silent answer is kept alive, in ms; a client gives up after 300 s of silence. */
  readonly keepAliveMs: number;
}

interface Session {
  readonly transport: StreamableHTTPServerTransport;
  /** Requests and streams that are open. */
  open: number;
  lastUsed: number;
}

const sessionLimit = 100;
const sweepEveryMs = 30_000;

/** An answer that no session gives: HTTP status, JSON-RPC code and text. */
export class SessionError extends Error {
  readonly status: number;
  readonly code: number;

  constructor(status: number, code: number, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** The MCP sessions of one host, each its own server object over the shared worker. */
export class HttpSessions implements Disposable {
  private readonly sessions = new Map<string, Session>();
  private readonly sweeper: NodeJS.Timeout;
  private readonly options: SessionOptions;

  constructor(options: SessionOptions) {
    this.options = options;
    this.sweeper = setInterval(() => this.sweep(), Math.min(sweepEveryMs, options.idleLimitMs)).unref();
  }

  get size(): number {
    return this.sessions.size;
  }

  /** Serves one request. Throws a `SessionError` when no session can take it. */
  async handle(request: IncomingMessage, response: ServerResponse, body: unknown): Promise<void> {
    const id = request.headers['mcp-session-id'];
    const session = typeof id === 'string' ? this.find(id) : await this.create(body);
    session.open++;
    const delivered = new Promise<boolean>((resolve) => {
      response.once('close', () => {
        session.open--;
        session.lastUsed = performance.now();
        resolve(response.writableFinished);
      });
    });
    await whileDelivering(delivered, () => session.transport.handleRequest(request, response, body));
    // The transport gives itself its id when it takes the initialize; one that it refused began nothing.
    if (session.transport.sessionId === undefined) void session.transport.close();
  }

  dispose(): void {
    clearInterval(this.sweeper);
    for (const id of [...this.sessions.keys()]) this.close(id);
  }

  private find(id: string): Session {
    const session = this.sessions.get(id);
    // MCP: 404 tells the client to initialize anew.
    if (!session)
      throw new SessionError(404, -32001, 'Session not found: it ended or never was. Initialize a new one.');
    return session;
  }

  private async create(body: unknown): Promise<Session> {
    if (!isInitializeRequest(body)) {
      throw new SessionError(
        400,
        -32000,
        'The first request of a session must be initialize; later ones carry its Mcp-Session-Id.',
      );
    }
    this.makeRoom();
    const id = randomUUID();
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: () => id,
      keepAliveMs: this.options.keepAliveMs,
    });
    const client = this.options.client ?? `session ${id}`;
    const server = createMcpServer(this.options.parts, (_name, conversation) => callerId(client, conversation));
    const session = { transport, open: 0, lastUsed: performance.now() };
    this.sessions.set(id, session);
    const closed = server.onclose;
    server.onclose = () => {
      closed?.();
      this.sessions.delete(id);
    };
    // The SDK's transport class declares its callbacks as possibly undefined, which its own interface does not.
    await server.connect(transport);
    return session;
  }

  private makeRoom(): void {
    if (this.sessions.size < sessionLimit) return;
    const idle = [...this.sessions].filter(([, session]) => session.open === 0);
    const [oldest] = idle.sort(([, a], [, b]) => a.lastUsed - b.lastUsed);
    if (!oldest) throw new SessionError(503, -32000, `There are ${sessionLimit} sessions in use already.`);
    this.close(oldest[0]);
  }

  private sweep(): void {
    const limit = performance.now() - this.options.idleLimitMs;
    for (const [id, session] of this.sessions) if (session.open === 0 && session.lastUsed < limit) this.close(id);
  }

  private close(id: string): void {
    const session = this.sessions.get(id);
    this.sessions.delete(id);
    void session?.transport.close();
  }
}
