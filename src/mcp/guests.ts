import type { Server as McpServer } from '@modelcontextprotocol/sdk/server/index.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import type { Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import type { Guest } from '../base/door';
import type { Identify } from './callers';
import { createMcpServer, createTools } from './mcpServer';
import { type StdioHostOptions, transportLimits } from './stdioHost';

export interface Visit {
  readonly identify: Identify;
  /** The client has said who it is. */
  readonly onInitialized?: (name: string) => void;
  readonly onEnd?: () => void;
}

/** Serves MCP to programs that came in by a door, each a session of its own over the same tasks. */
export class Guests {
  private readonly sessions = new Map<Socket, McpServer>();
  private readonly host: StdioHostOptions;

  constructor(host: StdioHostOptions) {
    this.host = host;
  }

  /** How many there are now. */
  get count(): number {
    return this.sessions.size;
  }

  /** Serves a guest until it goes away. */
  async receive({ socket, onLine }: Guest, { identify, onInitialized, onEnd }: Visit): Promise<void> {
    const server = createMcpServer({ ...this.host, tools: createTools() }, identify);
    if (socket.destroyed) return;
    this.sessions.set(socket, server);
    // A pipe tells it in one breath with the request before, which the SDK answers a moment later.
    server.oninitialized = () => setImmediate(() => onInitialized?.(server.getClientVersion()?.name ?? ''));
    socket.once('close', () => {
      this.sessions.delete(socket);
      onEnd?.();
      server.close().catch((error: unknown) => this.host.log('debug', `MCP: ${String(error)}`));
    });
    const messages = new PassThrough();
    await server.connect(new StdioServerTransport(messages, socket, transportLimits));
    onLine((line) => void messages.write(`${line}\n`));
  }
}
