import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import type { CallError } from '../core/errors';
import { createTools, listedTool } from './mcpServer';
import { failure } from './results';

/** Serves a client that may see the tools and use none of them, until it goes away or `stopped` resolves. */
export async function refuseStdio(version: string, error: CallError, stopped: Promise<unknown>): Promise<void> {
  const server = new Server(
    { name: 'codex-worker', title: 'Codex Worker', version },
    { capabilities: { tools: {} }, instructions: `${error.message} ${error.hint}` },
  );
  server.setRequestHandler(ListToolsRequestSchema, () => ({ tools: createTools().map(listedTool) }));
  server.setRequestHandler(CallToolRequestSchema, () => failure(error));
  const gone = new Promise<void>((resolve) => process.stdin.once('end', resolve).once('close', resolve));
  await server.connect(new StdioServerTransport());
  await Promise.race([gone, stopped]);
  await server.close();
}
