import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js';
import type { z } from 'zod';
import { CallError, invalidArgument, messageOf } from '../core/errors';
import type { Log } from '../core/ports';
import { cut } from './fit';
import { toolFailure } from '../pipe/toolError';
import { scoreboardUri } from './uris';

/** The same JSON as structured content and as text: with the former, text does not reach the model (VS Code). */
export function success(value: Readonly<Record<string, unknown>>): CallToolResult {
  return { content: [{ type: 'text', text: JSON.stringify(value) }], structuredContent: { ...value } };
}

/** A refusal as the caller gets it. */
export function failure(error: CallError): CallToolResult {
  const message = cut(error.message, 3_000, scoreboardUri);
  const hint = cut(error.hint, 2_000, scoreboardUri);
  const { code, retryable, retryAfterMs } = error;
  return toolFailure({ code, message, hint, retryable, retryAfterMs });
}

/** Any thrown value as a refusal; what is no refusal is a bug, which is logged with its cause. */
export function failureOf(error: unknown, log: Log): CallToolResult {
  if (error instanceof CallError) return failure(error);
  log('error', `A call failed: ${error instanceof Error ? (error.stack ?? error.message) : messageOf(error)}`);
  return failure(
    new CallError('internal', `The worker failed: ${messageOf(error)}`, { hint: 'See its log.', retryable: true }),
  );
}

/** Parses a tool's arguments. Throws `invalid_argument` with each wrong field and what is allowed. */
export function parseArguments<S extends z.ZodObject>(schema: S, args: unknown): z.infer<S> {
  const parsed = schema.safeParse(args);
  if (parsed.success) return parsed.data;
  const fields = Object.keys(schema.shape).join(', ');
  const problems = parsed.error.issues.slice(0, 5).map((issue) => problemOf(issue));
  throw invalidArgument(problems.join('; '), `Fields: ${fields}.`);
}

function problemOf(issue: z.core.$ZodIssue): string {
  const path = issue.path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`)).join('');
  const field = path.replace(/^\./, '');
  switch (issue.code) {
    case 'unrecognized_keys':
      return `${field === '' ? '' : `${field}: `}unknown field ${issue.keys.map((key) => `"${key.slice(0, 100)}"`).join(', ')}`;
    case 'invalid_value':
      return `${field}: must be one of ${issue.values.map(String).join(', ')}`;
    case 'too_small':
      return `${field}: must have at least ${issue.minimum}${unitOf(issue.origin)}`;
    case 'too_big':
      return `${field}: must have at most ${issue.maximum}${unitOf(issue.origin)}`;
    case 'invalid_union':
      return field === 'task_id'
        ? `${field}: must be one task id or an array of 1 to 50`
        : `${field}: must be a text or an array of up to 20 texts`;
    default:
      return `${field}: ${issue.message.replace(/^Invalid input: /, '')}`;
  }
}

function unitOf(origin: string): string {
  if (origin === 'string') return ' characters';
  return origin === 'array' ? ' items' : '';
}
