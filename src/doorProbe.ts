import { request } from 'node:http';
import { LineSplitter } from './base/lineSplitter';
import { messageOf } from './core/errors';
import type { Finding } from './doctor';
import { startChild } from './process/childProcess';

/** How the editor is told to reach the MCP server of a window, as plain data. */
export type ServerDefinition =
  | {
      readonly kind: 'stdio';
      readonly command: string;
      readonly args: readonly string[];
      readonly env: Readonly<Record<string, string>>;
    }
  /** `unix:///….sock#/mcp`, `pipe:…#/mcp` or `http://127.0.0.1:PORT/mcp`. */
  | { readonly kind: 'http'; readonly uri: string; readonly headers: Readonly<Record<string, string>> };

type Json = Readonly<Record<string, unknown>>;

const limitMs = 25_000;
const part = 'MCP';
const initialize = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: {
    protocolVersion: '2025-11-25',
    capabilities: {},
    clientInfo: { name: 'codex-worker-doctor', version: '1' },
  },
};
const listTools = { jsonrpc: '2.0', id: 2, method: 'tools/list' };

/** Goes through the door as a harness does: starts what the definition says, and asks for the tools. Never rejects. */
export async function probeDoor(definition: ServerDefinition): Promise<Finding> {
  const started = performance.now();
  try {
    const tools = await (definition.kind === 'stdio' ? throughPipe(definition) : throughHttp(definition));
    const ms = Math.round(performance.now() - started);
    return { part, state: 'ok', text: `${describe(definition)}: ${tools} tools in ${ms} ms` };
  } catch (error) {
    return {
      part,
      state: 'error',
      text: `Agents cannot come in by ${describe(definition)}: ${messageOf(error)}`,
      advice: 'Reload the window. If it stays like this, look at the log of Codex Worker.',
    };
  }
}

function describe(definition: ServerDefinition): string {
  if (definition.kind === 'stdio') return 'the pipe that every harness can start';
  if (definition.uri.startsWith('http:')) return definition.uri;
  return "a socket, which only the editor's local agent understands (codexWorker.mcp.transport)";
}

/** The number of tools. */
async function throughPipe({ command, args, env }: ServerDefinition & { kind: 'stdio' }): Promise<number> {
  const child = startChild({ file: command, args, env });
  const errors: string[] = [];
  child.stderr.on('data', (chunk: Buffer) => errors.push(String(chunk).slice(0, 500)));
  const answers = new Promise<number>((resolve, reject) => {
    const splitter = new LineSplitter(
      (line) => {
        const { id, result, error } = JSON.parse(line) as { id?: number; result?: Json; error?: Json };
        if (error) reject(new Error(String(error.message)));
        else if (id === listTools.id) resolve(toolsIn(result));
      },
      () => reject(new Error('It said too much.')),
    );
    child.stdout.on('data', (chunk: Buffer) => splitter.push(chunk));
    void child.exited.then(({ exitCode, startError }) => {
      reject(new Error(startError ?? `it ended with exit code ${exitCode ?? '?'}. ${errors.join('').trim()}`));
    });
  });
  for (const message of [initialize, { jsonrpc: '2.0', method: 'notifications/initialized' }, listTools]) {
    child.stdin.write(`${JSON.stringify(message)}\n`);
  }
  try {
    return await inTime(answers);
  } finally {
    await child.stop();
  }
}

async function throughHttp({ uri, headers }: ServerDefinition & { kind: 'http' }): Promise<number> {
  const opened = await post(uri, headers, initialize);
  const session = String(opened.session ?? '');
  const listed = await post(uri, { ...headers, 'mcp-session-id': session }, listTools);
  return toolsIn(listed.message.result as Json | undefined);
}

function toolsIn(result: Json | undefined): number {
  return Array.isArray(result?.tools) ? result.tools.length : 0;
}

interface Answer {
  readonly session: string | string[] | undefined;
  readonly message: Json;
}

function post(uri: string, headers: Readonly<Record<string, string>>, body: object): Promise<Answer> {
  const [place = '', path = ''] = uri.split('#');
  const socket = /^(?:unix:\/\/|pipe:)(.*)$/.exec(place)?.[1];
  const url = socket === undefined ? new URL(uri) : null;
  const where = url
    ? { host: url.hostname, port: url.port, path: url.pathname }
    : { socketPath: decodeURIComponent(socket ?? ''), path };
  const accept = { accept: 'application/json, text/event-stream', 'content-type': 'application/json' };
  return inTime(
    new Promise((resolve, reject) => {
      const call = request({ ...where, method: 'POST', headers: { ...accept, ...headers } }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('end', () => {
          const json = text.startsWith('{') ? text : (/^data: (\{.*)$/m.exec(text)?.[1] ?? '');
          if (json === '') reject(new Error(`it answered ${response.statusCode ?? '?'}.`));
          else resolve({ session: response.headers['mcp-session-id'], message: JSON.parse(json) as Json });
        });
      });
      call.on('error', reject);
      call.end(JSON.stringify(body));
    }),
  );
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing came within ${limitMs / 1_000} s.`)), limitMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
