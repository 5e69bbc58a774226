import type { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { PassThrough } from 'node:stream';
import type { Log } from '../core/ports';
import type { Identify } from './callers';
import type { TakeRoots } from './clientRoots';
import type { TaskManager } from '../core/taskManager';
import type { ToolGate } from '../core/toolGate';
import { LineSplitter, lineLimit } from '../base/lineSplitter';
import { createMcpServer, createTools } from './mcpServer';
import type { StdioClient } from '../pipe/stdioClient';

export interface StdioHostOptions {
  readonly tasks: TaskManager;
  readonly version: string;
  readonly log: Log;
  readonly elicitation: () => boolean;
  readonly gate: ToolGate;
  readonly takeRoots?: TakeRoots | undefined;
}

export const transportLimits = { maxBufferSize: 4 * lineLimit };

/** Serves one client until it goes away or `stopped` resolves. */
export async function serveStdio(
  options: StdioHostOptions,
  client: StdioClient,
  identify: Identify,
  stopped: Promise<unknown>,
): Promise<void> {
  return serveClient(createMcpServer({ ...options, tools: createTools() }, identify), client, stopped, options.log);
}

/** Has a client served by this server until it goes away or `stopped` resolves. */
export async function serveClient(
  server: Server,
  client: StdioClient,
  stopped: Promise<unknown>,
  log: Log,
): Promise<void> {
  const [input, output] = [new PassThrough(), new PassThrough()];
  const splitter = new LineSplitter(
    (line) => void client.hear(line),
    () => log('error', 'An answer was too long for a line.'),
  );
  output.on('data', (chunk: Buffer) => splitter.push(chunk));
  await server.connect(new StdioServerTransport(input, output, transportLimits));
  client.attach((line) => void input.write(`${line}\n`));
  await Promise.race([client.ended, stopped]);
  await server.close();
}
