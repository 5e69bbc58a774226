import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

/** Why a request is not served. */
export interface Refusal {
  readonly status: number;
  readonly message: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface GuardOptions {
  readonly token: string;
  /** The port of a loopback address, where a browser could reach us; null behind a socket or a pipe. */
  readonly port: number | null;
}

/** Bytes of a body: the largest arguments and their envelope. */
export const bodyLimit = 8 * 1024 * 1024;

export const endpointPath = '/mcp';

/** Checks everything about a request that does not need its body. */
export function refusalOf(request: IncomingMessage, { token, port }: GuardOptions): Refusal | null {
  const { host, origin, authorization } = request.headers;
  const path = (request.url ?? '').split('?', 1)[0];
  if (path !== endpointPath) return { status: 404, message: `There is only ${endpointPath} here.` };
  if (port !== null && !isOurs(host, port)) return { status: 403, message: 'The Host header is not this server.' };
  if (origin !== undefined && !isOurOrigin(origin, port)) return { status: 403, message: 'The Origin is not allowed.' };
  if (!isBearer(authorization, token)) {
    const message = 'The bearer token is missing or wrong. Take it from "Codex Worker: Connect Another Client".';
    return { status: 401, message, headers: { 'www-authenticate': 'Bearer' } };
  }
  if (Number(request.headers['content-length'] ?? 0) > bodyLimit) return tooLarge;
  return null;
}

export const tooLarge: Refusal = { status: 413, message: `A body may have ${bodyLimit} bytes.` };

function isOurs(host: string | undefined, port: number): boolean {
  return host === `127.0.0.1:${port}` || host === `localhost:${port}`;
}

function isOurOrigin(origin: string, port: number | null): boolean {
  return port !== null && (origin === `http://127.0.0.1:${port}` || origin === `http://localhost:${port}`);
}

/** Compares digests, so that neither the length nor the beginning of the token shows in the time it takes. */
function isBearer(authorization: string | undefined, token: string): boolean {
  const [, given = ''] = /^Bearer (.+)$/i.exec(authorization ?? '') ?? [];
  return timingSafeEqual(digest(given), digest(token));
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
