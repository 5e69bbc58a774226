import { ErrorCode, JSONRPCMessageSchema } from '@modelcontextprotocol/sdk/types.js';
import { type Readable, PassThrough, type Writable } from 'node:stream';
import { LineSplitter, lineLimit } from '../process/lineSplitter';

const batch = 'A batch is not taken over stdio: send each message on a line of its own.';
const noMessage = 'This is no JSON-RPC 2.0 message.';

/**
 * The lines of a client that are messages; every other one is answered, because whoever sent it may wait. The SDK's
 * transport drops them without a word (1.32.2).
 */
export function messagesOf(input: Readable, output: Writable): Readable {
  const messages = new PassThrough();
  const refuse = (refusal: object): void => void output.write(`${JSON.stringify(refusal)}\n`);
  const splitter = new LineSplitter(
    (line) => {
      const refusal = refusalOf(line);
      if (refusal) refuse(refusal);
      else messages.write(`${line}\n`);
    },
    () => refuse(refusalFor(null, ErrorCode.InvalidRequest, `A line has more than ${lineLimit} characters.`)),
  );
  input.on('data', (chunk: Buffer) => splitter.push(chunk));
  input.once('end', () => messages.end());
  return messages;
}

/** The answer to a line that is no message; null for one that is. */
function refusalOf(line: string): object | null {
  let content: unknown;
  try {
    content = JSON.parse(line);
  } catch {
    return refusalFor(null, ErrorCode.ParseError, 'This line is no JSON.');
  }
  if (Array.isArray(content)) return refusalFor(null, ErrorCode.InvalidRequest, batch);
  if (JSONRPCMessageSchema.safeParse(content).success) return null;
  const { id } = (typeof content === 'object' ? (content ?? {}) : {}) as { readonly id?: unknown };
  const known = typeof id === 'string' || typeof id === 'number' ? id : null;
  return refusalFor(known, ErrorCode.InvalidRequest, noMessage);
}

function refusalFor(id: string | number | null, code: ErrorCode, message: string): object {
  return { jsonrpc: '2.0', id, error: { code, message } };
}
