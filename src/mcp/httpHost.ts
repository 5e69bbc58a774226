import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { listen, newLocalAddress } from '../base/localSocket';
import { messageOf } from '../core/errors';
import { windowClient } from '../core/caller';
import type { Log } from '../core/ports';
import type { TaskManager } from '../core/taskManager';
import type { ToolGate } from '../core/toolGate';
import { bodyLimit, endpointPath, type Refusal, refusalOf, tooLarge } from './httpGuard';
import { HttpSessions, SessionError } from './httpSessions';
import { createTools } from './mcpServer';

export const transports = ['socket', 'tcp'] as const;
/** A Unix socket or a Windows named pipe, or a port on the loopback address. */
export type McpTransport = (typeof transports)[number];

export interface HttpHostOptions {
  readonly tasks: TaskManager;
  readonly version: string;
  readonly log: Log;
  readonly transport: McpTransport;
  readonly token: string;
  /** Whether waiting callers are asked what their tasks ask; see `McpParts`. */
  readonly elicitation: () => boolean;
  readonly gate: ToolGate;
  readonly idleLimitMs?: number;
  readonly keepAliveMs?: number;
  /** See `McpParts`. */
  readonly heartbeatMs?: number;
}

export interface HttpHost {
  /** `unix:///….sock#/mcp`, `pipe:…#/mcp` or `http://127.0.0.1:PORT/mcp`: what VS Code's MCP client takes. */
  readonly uri: string;
  readonly sessions: number;
  close(): Promise<void>;
}

const idleLimitMs = 30 * 60_000;
const keepAliveMs = 15_000;

/** A new bearer token: 256 bits. */
export function newToken(): string {
  return randomBytes(32).toString('base64url');
}

/** Serves MCP over streamable HTTP. Rejects when it cannot listen. */
export async function startHttpHost(options: HttpHostOptions): Promise<HttpHost> {
  const { tasks, version, log, token, transport } = options;
  const sessions = new HttpSessions({
    parts: {
      tasks,
      version,
      log,
      gate: options.gate,
      elicitation: options.elicitation,
      tools: createTools(),
      ...(options.heartbeatMs === undefined ? {} : { heartbeatMs: options.heartbeatMs }),
    },
    // Only the editor itself finds the socket; over TCP each session is a client of its own.
    client: transport === 'socket' ? windowClient : null,
    idleLimitMs: options.idleLimitMs ?? idleLimitMs,
    keepAliveMs: options.keepAliveMs ?? keepAliveMs,
  });
  let port: number | null = null;
  const server = createServer((request, response) => {
    serve(request, response, sessions, { token, port }).catch((error: unknown) => answerError(response, error, log));
  });
  const address = transport === 'tcp' ? await listenTcp(server) : await listenSocket(server);
  port = address.port;
  return {
    uri: address.uri,
    get sessions() {
      return sessions.size;
    },
    async close() {
      sessions.dispose();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await address.cleanUp();
    },
  };
}

interface Address {
  readonly uri: string;
  readonly port: number | null;
  cleanUp(): Promise<void>;
}

async function listenTcp(server: Server): Promise<Address> {
  await listen(server, { host: '127.0.0.1', port: 0 });
  const { port } = server.address() as AddressInfo;
  return { uri: `http://127.0.0.1:${port}${endpointPath}`, port, cleanUp: () => Promise.resolve() };
}

async function listenSocket(server: Server): Promise<Address> {
  const { address, cleanUp } = await newLocalAddress();
  await listen(server, { path: address });
  const uri = process.platform === 'win32' ? pipeUri(address) : `unix://${address}#${endpointPath}`;
  return { uri, port: null, cleanUp };
}

/** VS Code connects to the decoded path of a `pipe:` URI (read from its source). */
export function pipeUri(path: string): string {
  return `pipe:${path.replaceAll('\\', '%5C')}#${endpointPath}`;
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  sessions: HttpSessions,
  guard: { readonly token: string; readonly port: number | null },
): Promise<void> {
  const refusal = refusalOf(request, guard);
  if (refusal) {
    refuse(request, response, refusal);
    return;
  }
  if (request.method !== 'POST') return sessions.handle(request, response, undefined);
  const body = await readBody(request);
  if (body === null) {
    refuse(request, response, tooLarge);
    return;
  }
  await sessions.handle(request, response, parseBody(body));
}

/** The body as text; null when it is too large. */
async function readBody(request: IncomingMessage): Promise<string | null> {
  const chunks: Buffer[] = [];
  let size = 0;
  // Leaving the loop early must not close the connection, which still carries the refusal.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > bodyLimit) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseBody(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    throw new SessionError(400, -32700, 'The body is not JSON.');
  }
}

function refuse(request: IncomingMessage, response: ServerResponse, { status, message, headers }: Refusal): void {
  response.writeHead(status, { 'content-type': 'application/json', connection: 'close', ...headers });
  response.end(errorBody(-32000, message));
  // The rest of a body that nobody will read would keep the connection open.
  request.resume();
}

function answerError(response: ServerResponse, error: unknown, log: Log): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const known = error instanceof SessionError;
  if (!known) log('error', `MCP host: ${messageOf(error)}`);
  response.writeHead(known ? error.status : 500, { 'content-type': 'application/json' });
  response.end(known ? errorBody(error.code, error.message) : errorBody(-32603, 'The worker failed; see its log.'));
}

function errorBody(code: number, message: string): string {
  return JSON.stringify({ jsonrpc: '2.0', error: { code, message }, id: null });
}
