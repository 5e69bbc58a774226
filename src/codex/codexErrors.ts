import { z } from 'zod';
import type { TaskError, TaskErrorCode } from '../core/errors';
import type { TurnError } from './protocol';

type Known = readonly [code: TaskErrorCode, retryable: boolean, hint: string];

const later = 'Wait a while, then send the task a message to go on.';
const unreachable: Known = [
  'model_unreachable',
  true,
  'Check the network and the model provider, then send a message to go on.',
];

/** Codex's error names (`CodexErrorInfo` of 0.169.0; an open set) in our words. */
const known: Readonly<Record<string, Known>> = {
  contextWindowExceeded: ['context_window', false, 'Spawn a new task with less input; this thread is full.'],
  sessionBudgetExceeded: [
    'usage_limit',
    false,
    'The budget of this session is used up; raise it in the Codex configuration.',
  ],
  usageLimitExceeded: [
    'usage_limit',
    true,
    'The plan of the account is used up: wait for its reset, then send a message to go on.',
  ],
  rateLimitExceeded: ['rate_limited', true, later],
  serverOverloaded: ['model_error', true, later],
  modelNotFound: ['bad_request', false, 'Choose a model that this account has, with the field "model".'],
  unauthorized: ['unauthorized', false, 'Log in again: run "codex login" in a terminal.'],
  badRequest: ['bad_request', false, 'Read the message; the model refused the request as it is.'],
  internalServerError: ['model_error', true, later],
  sandboxError: ['sandbox_error', false, 'The sandbox could not run the command; see "Sandbox" in the README.'],
  httpConnectionFailed: unreachable,
  responseStreamConnectionFailed: unreachable,
  responseStreamDisconnected: unreachable,
  responseTooManyFailedAttempts: ['model_error', true, later],
};
const other: Known = ['model_error', true, 'Read the message and the log of the task, then send a message to go on.'];

/** A failed turn's error in our words. */
export function taskErrorOf(error: TurnError): TaskError {
  const [name, status] = nameOf(error);
  const refusal = refusalOf(error.message);
  const [code, retryable, hint] = byStatus(status) ?? known[name] ?? (refusal && byRefusal(refusal)) ?? other;
  return { code, message: refusal?.message ?? error.message, retryable, hint };
}

/** What a model provider answers to a request that it does not take. */
const refusalSchema = z.object({
  error: z.object({ message: z.string(), type: z.string().nullish(), code: z.string().nullish() }),
});
type ProviderError = z.infer<typeof refusalSchema>['error'];

const refusalLimit = 10_000;

/** Codex hands on a provider's refusal as the text of its body, and names it "other" (seen with 0.169.0). */
function refusalOf(message: string): ProviderError | null {
  if (!message.startsWith('{') || message.length > refusalLimit) return null;
  try {
    return refusalSchema.safeParse(JSON.parse(message)).data?.error ?? null;
  } catch {
    return null;
  }
}

function byRefusal({ type, code }: ProviderError): Known | undefined {
  const names = [type ?? '', code ?? ''];
  if (names.includes('invalid_json_schema')) return ['bad_request', false, schemaHint];
  return names.some((name) => name.startsWith('invalid_')) ? known.badRequest : undefined;
}

const schemaHint =
  'The model does not take this output_schema: give each object additionalProperties false and name all its properties in required; then spawn the task again.';

function nameOf({ codexErrorInfo: info }: TurnError): [name: string, httpStatus: number | null] {
  if (typeof info === 'string') return [info, null];
  const [name, details] = Object.entries(info ?? {})[0] ?? ['other', null];
  const status = (details as { httpStatusCode?: unknown } | null)?.httpStatusCode;
  return [name, typeof status === 'number' ? status : null];
}

function byStatus(status: number | null): Known | undefined {
  if (status === 429) return known.rateLimitExceeded;
  if (status === 401 || status === 403) return known.unauthorized;
  if (status !== null && status >= 500) return known.internalServerError;
  return undefined;
}

export const crashed: TaskError = {
  code: 'codex_crashed',
  message: 'Codex stopped while this task was running.',
  retryable: true,
  hint: 'Codex starts again with the next task. Send this task a message to go on with its thread.',
};
