import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import type { CallError } from '../core/errors';
import type { Log } from '../core/ports';
import type { StdioClient } from '../pipe/stdioClient';
import { createTools, listedTool } from './mcpServer';
import { failure } from './results';
import { serveClient } from './stdioHost';

export interface Refusal {
  readonly version: string;
  readonly error: CallError;
  readonly log: Log;
}

/** Serves a client that may see the tools and use none of them, until it goes away or `stopped` resolves. */
export function refuseStdio(
  client: StdioClient,
  { version, error, log }: Refusal,
  stopped: Promise<unknown>,
): Promise<void> {
  const server = new Server(
    { name: 'codex-worker', title: 'Codex Worker', version },
    { capabilities: { tools: {} }, instructions: `${error.message} ${error.hint}` },
  );
  server.setRequestHandler(ListToolsRequestSchema, () => ({ tools: createTools().map(listedTool) }));
  server.setRequestHandler(CallToolRequestSchema, () => failure(error));
  return serveClient(server, client, stopped, log);
}
