import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import {
  type ElicitRequestFormParams,
  ElicitRequestSchema,
  type ElicitResult,
} from '@modelcontextprotocol/sdk/types.js';
import { Agent, fetch as undiciFetch } from 'undici';
import { z } from 'zod';
import { type HttpHost, type McpTransport, newToken, startHttpHost } from '../../src/mcp/httpHost';
import {
  cancelResult,
  errorResult,
  messageResult,
  respondResult,
  spawnResult,
  taskListResult,
  taskResult,
} from '../../src/mcp/schemas';
import { version } from '../../src/version';
import type { Worker } from '../../src/worker';
import { bundled } from './bundled';
import type { CodexRig } from './codexRig';

export interface TestHost extends HttpHost {
  readonly token: string;
}

export async function startTestHost(
  worker: Worker,
  transport: McpTransport,
  limits: { idleLimitMs?: number; keepAliveMs?: number; heartbeatMs?: number } = {},
): Promise<TestHost> {
  const token = newToken();
  const host = await startHttpHost({
    tasks: worker.tasks,
    gate: worker.policies.gate,
    version,
    log: () => undefined,
    elicitation: () => true,
    transport,
    token,
    ...limits,
  });
  return Object.assign(host, { token });
}

/** A fetch that reaches `unix:///path#/mcp` the way VS Code's MCP client does. */
export function fetchFor(uri: string): { url: string; fetch: typeof fetch } {
  const match = /^unix:\/\/([^#]+)#(.*)$/.exec(uri);
  if (!match?.[1]) return { url: uri, fetch };
  const dispatcher = new Agent({ connect: { socketPath: match[1] } });
  const overSocket = ((url: string, init: object) =>
    undiciFetch(url, { ...init, dispatcher })) as unknown as typeof fetch;
  return { url: `http://localhost${match[2] ?? ''}`, fetch: overSocket };
}

/** Answers what a server asks the person behind the client; the signal aborts when the server asks no more. */
export type ElicitHandler = (params: ElicitRequestFormParams, signal: AbortSignal) => Promise<ElicitResult>;

export async function connectHttp(host: { uri: string; token: string }, elicit?: ElicitHandler): Promise<Client> {
  const { url, fetch } = fetchFor(host.uri);
  const headers = { Authorization: `Bearer ${host.token}` };
  return connect(new StreamableHTTPClientTransport(new URL(url), { fetch, requestInit: { headers } }), elicit);
}

export async function connectStdio(
  rig: CodexRig,
  more: readonly string[] = [],
  elicit?: ElicitHandler,
  { fullAccess = true } = {},
): Promise<{ client: Client; pid: number }> {
  const args = [
    bundled('stdio'),
    '--state-dir',
    rig.stateDir,
    '--codex-path',
    rig.codexPath,
    '--root',
    rig.workspace,
    '--policy',
    rig.policyPath,
  ];
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [...args, ...(fullAccess ? ['--allow-full-access'] : []), ...more],
    env: { PATH: process.env.PATH ?? '', ...rig.env },
    stderr: 'ignore',
  });
  const client = await connect(transport, elicit);
  return { client, pid: transport.pid ?? 0 };
}

export async function connect(transport: Transport, elicit?: ElicitHandler, name = 'test'): Promise<Client> {
  const capabilities = elicit ? { elicitation: {} } : {};
  const client = new Client({ name, version: '1.0.0' }, { capabilities });
  if (elicit) {
    client.setRequestHandler(ElicitRequestSchema, ({ params }, { signal }) =>
      elicit(params as ElicitRequestFormParams, signal),
    );
  }
  await client.connect(transport);
  // The client checks structured content against the output schemas that it has listed; `call` checks all of it.
  await client.listTools();
  return client;
}

export type Json = Record<string, unknown>;

/** All that a result of a tool may hold: the schemas that clients list name the outermost fields only. */
const forms: Readonly<Record<string, z.ZodType>> = {
  'spawn-task': z.union([spawnResult, taskResult]),
  'wait-task': z.union([taskResult, taskListResult]),
  'respond-task': z.union([respondResult, taskResult]),
  'message-task': z.union([messageResult, taskResult]),
  'cancel-task': cancelResult,
};

/** Calls a tool and gives its structured content, which must equal its text; a refusal throws. */
export async function call(
  client: Client,
  name: string,
  args: Json,
  options?: Parameters<Client['callTool']>[2],
): Promise<Json> {
  const result = await client.callTool({ name, arguments: args }, undefined, options);
  const content = result.structuredContent as Json;
  const [text] = result.content as { text: string }[];
  if (Buffer.byteLength(JSON.stringify(content)) >= 8_192) throw new Error(`${name} gave more than 8 KiB.`);
  if (result.isError) throw new Error(text?.text);
  if (text?.text !== JSON.stringify(content)) throw new Error(`${name}: text and structured content differ.`);
  forms[name]?.parse(content);
  return content;
}

/** Calls a tool that refuses, and gives the error and its text. */
export async function callRefused(client: Client, name: string, args: Json): Promise<{ error: Json; text: string }> {
  const result = await client.callTool({ name, arguments: args });
  const [text] = result.content as { text: string }[];
  if (!result.isError) throw new Error(`${name} was not refused: ${text?.text ?? ''}`);
  errorResult.parse(result.structuredContent);
  return { ...(result.structuredContent as { error: Json }), text: text?.text ?? '' };
}
