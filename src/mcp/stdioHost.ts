import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import type { Log } from '../core/ports';
import type { TaskManager } from '../core/taskManager';
import type { ToolGate } from '../core/toolGate';
import { lineLimit } from '../process/lineSplitter';
import { createMcpServer, createTools } from './mcpServer';
import { messagesOf } from './stdioInput';

export interface StdioHostOptions {
  readonly tasks: TaskManager;
  readonly version: string;
  readonly log: Log;
  readonly elicitation: () => boolean;
  readonly gate: ToolGate;
}

/** Serves one client over stdin and stdout; resolves when stdin closes or the process is told to end. */
export async function serveStdio(options: StdioHostOptions): Promise<void> {
  const server = createMcpServer({ ...options, tools: createTools() }, 'stdio');
  const ended = new Promise<void>((resolve) => {
    process.stdin.once('end', resolve).once('close', resolve);
    process.stdout.once('error', () => resolve());
    // Not `once`: execa's clean-up ends the process at a signal that has no other listener left.
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => resolve());
  });
  await server.connect(
    new StdioServerTransport(messagesOf(process.stdin, process.stdout), process.stdout, {
      maxBufferSize: 4 * lineLimit,
    }),
  );
  await ended;
  await server.close();
}
