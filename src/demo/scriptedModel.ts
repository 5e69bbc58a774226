import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { directives } from './directives';
import { type ModelRequest, parseRequest, scriptLine } from './modelRequest';
import { ModelResponse, pause } from './modelResponse';

/** A stand-in for the model's Responses API on loopback, which does what the lines of the prompt say. */
export interface ScriptedModel {
  readonly port: number;
  /** Base URL for Codex's `model_providers.<name>.base_url`. */
  readonly url: string;
  /** Requests that were made so far, oldest first; only the last 1,000 are kept. */
  readonly requests: readonly ModelRequest[];
  close(): Promise<void>;
}

export interface ScriptedModelOptions {
  /** Gives the script to play for a message; by default the message is the script. */
  readonly scriptOf?: (prompt: string) => string;
  /** How long the model seems to think before each answer, in ms. */
  readonly thinkMs?: number;
}

const keptRequests = 1_000;
const bodyLimit = 16 * 1024 * 1024;

export async function startScriptedModel({
  scriptOf = (prompt) => prompt,
  thinkMs = 0,
}: ScriptedModelOptions = {}): Promise<ScriptedModel> {
  const requests: ModelRequest[] = [];
  const tries = new Map<string, number>();
  const server = createServer((request, response) => {
    void answer(request, response).catch(() => response.destroy());
  });

  async function answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readBody(incoming);
    if (incoming.method === 'GET') {
      sendJson(response, 200, { object: 'list', data: [], models: [] });
      return;
    }
    if (!/\/responses(\?|$)/.test(incoming.url ?? '')) {
      sendJson(response, 404, { error: { message: 'no such route' } });
      return;
    }
    const request = parseRequest(body);
    requests.push(request);
    if (requests.length > keptRequests) requests.shift();
    await play(request, response, body.length);
  }

  async function play(request: ModelRequest, response: ServerResponse, size: number): Promise<void> {
    const script = scriptLine(request, scriptOf);
    const { line } = script;
    const [, word = '', rest = ''] = /^(\S+)\s*([\s\S]*)$/.exec(line) ?? [];
    const closed = new AbortController();
    response.on('close', () => closed.abort());
    if (word === 'hang') return pause(3_600_000, closed.signal);
    if (thinkMs > 0) await pause(thinkMs, closed.signal);
    const key = `${request.prompt_cache_key}|${script.prompt}|${script.step}`;
    const attempt = (tries.get(key) ?? 0) + 1;
    tries.set(key, attempt);
    if (word === 'fail' && fails(rest, attempt)) {
      sendFailure(response, rest);
      return;
    }
    const reply = new ModelResponse(response, request.model, closed.signal);
    await reply.begin();
    if (word === 'drop') return reply.drop();
    const cut = { incomplete_details: { reason: 'max_output_tokens' } };
    if (word === 'incomplete') return reply.endAs('incomplete', cut);
    if (word === 'failed') return reply.endAs('failed', { error: { code: rest, message: `scripted ${rest}` } });
    const directive = directives[word];
    if (directive) await directive(reply, rest, request);
    else await reply.message([`echo: ${line.slice(0, 200)}`]);
    if (!closed.signal.aborted) await reply.end(size);
  }

  await listen(server);
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http://127.0.0.1:${port}/v1`,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** `fail <status> [xN] [after=S] [code=C]`: whether this attempt fails; without xN every one does. */
function fails(rest: string, attempt: number): boolean {
  return attempt <= Number(/x(\d+)/.exec(rest)?.[1] ?? Infinity);
}

function sendFailure(response: ServerResponse, rest: string): void {
  const status = Number.parseInt(rest, 10) || 500;
  const after = /after=(\d+)/.exec(rest)?.[1];
  const code = /code=(\S+)/.exec(rest)?.[1] ?? (status === 429 ? 'rate_limit_exceeded' : 'server_error');
  const resetsAt = Math.floor(Date.now() / 1000) + 3600;
  const isUsedUp = code === 'usage_limit_reached';
  const limit = isUsedUp ? { plan_type: 'plus', resets_at: resetsAt } : {};
  const error = { message: `scripted ${status}`, type: code, code, ...limit };
  const headers = { ...(after === undefined ? {} : { 'retry-after': after }), ...(isUsedUp ? usedUp(resetsAt) : {}) };
  sendJson(response, status, { error }, headers);
}

/** How the service tells how much of a plan is used (read by Codex 0.169.0). */
function usedUp(resetsAt: number): Record<string, string> {
  const window = { 'used-percent': '100', 'window-minutes': '300', 'reset-at': String(resetsAt) };
  return Object.fromEntries(Object.entries(window).map(([name, value]) => [`x-codex-primary-${name}`, value]));
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > bodyLimit) throw new Error('The request is too large.');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function sendJson(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

function listen(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
}
