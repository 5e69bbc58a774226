import { z } from 'zod';
import { taskErrorCodes } from '../core/errors';
import { answerers } from '../core/pendingRequest';
import { redactJson } from '../base/redaction';
import { approvalPolicies, sandboxes, type StoredRequest, type StoredTask, type Unsaid } from '../core/ports';
import { taskTypes } from '../core/taskSnapshot';
import type { TaskSnapshot } from '../core/taskSnapshot';
import { isTerminalStatus } from '../core/taskState';
import { formatVersion } from './meta';
import { migrate } from './migration';

/** What a file of a task must hold to be a task again, to its last field; what is only shown may be missing. */

const time = z.number().nullable().default(null);
const text = z.string();
const count = z.number();
const error = z.object({ code: z.enum(taskErrorCodes), message: text, retryable: z.boolean(), hint: text });

const outcome = z.enum(['completed', 'failed', 'declined']);
const changedFile = z.looseObject({
  path: text,
  kind: z.enum(['add', 'update', 'delete']),
  added: count,
  removed: count,
});
const workItem = z.discriminatedUnion('kind', [
  z.looseObject({
    kind: z.literal('command'),
    id: text,
    command: text,
    exitCode: count.nullable(),
    outcome: outcome.nullable(),
  }),
  z.looseObject({ kind: z.literal('files'), id: text, files: z.array(changedFile), outcome: outcome.nullable() }),
  z.looseObject({ kind: z.literal('tool'), id: text, tool: text, outcome: outcome.nullable() }),
  z.looseObject({ kind: z.literal('message'), id: text, text }),
]);
const usage = z.looseObject({
  totalTokens: count,
  inputTokens: count,
  cachedInputTokens: count,
  outputTokens: count,
  reasoningTokens: count,
  lastTokens: count,
  contextWindow: count.nullable(),
});

const object = z.record(z.string(), z.unknown());
const rules = z.array(
  z.discriminatedUnion('kind', [
    z.looseObject({ kind: z.literal('command'), prefix: z.array(text) }),
    z.looseObject({ kind: z.literal('network'), host: text, access: z.enum(['allow', 'deny']) }),
    z.looseObject({ kind: z.literal('tool'), server: text, tool: text }),
  ]),
);
const question = z.discriminatedUnion('type', [
  z.looseObject({ type: z.literal('command_approval'), command: text, cwd: text, reason: text.nullable(), rules }),
  z.looseObject({
    type: z.literal('file_approval'),
    changes: z.array(
      z.looseObject({
        path: text,
        kind: z.enum(['add', 'update', 'delete']),
        patch: text,
        movedTo: text.optional(),
      }),
    ),
    reason: text.nullable(),
  }),
  z.looseObject({
    type: z.literal('permission_approval'),
    permissions: object,
    summary: z.array(text),
    reason: text.nullable(),
  }),
  z.looseObject({
    type: z.literal('user_input'),
    forPerson: z.boolean(),
    questions: z.array(
      z.looseObject({
        id: text,
        header: text,
        text,
        options: z.array(z.looseObject({ label: text, description: text })),
        allowFreeform: z.boolean(),
        isSecret: z.boolean(),
      }),
    ),
  }),
  z.looseObject({
    type: z.literal('elicitation'),
    serverName: text,
    mode: z.enum(['form', 'url']),
    message: text,
    schema: object.nullable(),
    url: text.nullable(),
    toolCall: z.looseObject({ tool: text, description: text.nullable() }).nullable(),
    forPerson: z.boolean(),
    forSession: z.boolean(),
    rules,
  }),
  z.looseObject({ type: z.literal('dynamic_tool'), toolName: text }),
  z.looseObject({ type: z.literal('recovery'), message: text, goesOnAt: count.optional() }),
]);
const pending = z.looseObject({
  id: text,
  question,
  askedAt: count,
  expiresAt: count.nullable(),
  heldBy: text.optional(),
});

const metaSchema = z.looseObject({
  version: z.literal(formatVersion),
  id: text,
  status: z.enum(['submitted', 'working', 'input_required', 'completed', 'failed', 'cancelled']),
  title: text,
  labels: z.array(text).default([]),
  type: z.enum(taskTypes),
  cwd: text,
  sandbox: z.enum(sandboxes),
  approvalPolicy: z.enum(approvalPolicies),
  dependsOn: z.array(text).default([]),
  model: text.nullable().default(null),
  reasoning: text.nullable().default(null),
  spawnedBy: text,
  unansweredCall: text.nullable().default(null),
  threadId: text.nullable().default(null),
  gated: z.boolean().default(false),
  turns: z.int().min(0),
  createdAt: z.number(),
  startedAt: time,
  endedAt: time,
  updatedAt: z.number().default(0),
  activity: text.default(''),
  heldBy: text.nullable().default(null),
  usage: usage.nullable().default(null),
  plan: z.array(z.looseObject({ step: text, status: z.enum(['pending', 'in_progress', 'completed']) })).default([]),
  items: z.array(workItem).default([]),
  changedFiles: z.array(changedFile).default([]),
  outputTail: text.default(''),
  finalMessage: text.nullable().default(null),
  lastCommand: text.nullable().default(null),
  diff: text.default(''),
  pending: z.array(pending).default([]),
  answers: z
    .array(z.object({ id: text, type: text, by: z.enum(answerers), outcome: text, answeredAt: z.number() }))
    .default([]),
  error: error.nullable().default(null),
  leftovers: z.array(z.looseObject({ pid: count, command: text })).default([]),
  stopping: z.boolean().default(false),
  stopReason: z
    .discriminatedUnion('kind', [
      z.object({ kind: z.literal('cancelled') }),
      z.object({ kind: z.literal('failed'), error }),
    ])
    .nullable()
    .default(null),
});

const outputSchema = z.record(z.string(), z.unknown()).nullable();
const turnInput = z.object({
  text,
  model: text.nullable(),
  reasoning: text.nullable(),
  planMode: z.boolean(),
  outputSchema,
  isRedacted: z.boolean().optional(),
});
const unsaidSchema = z.object({ next: turnInput.nullable(), queue: z.array(turnInput) });

/** A torn file costs the messages that were not said, and not the task. */
function parseUnsaid(json: string | null): Pick<StoredTask, 'unsaid' | 'lostMessages'> {
  try {
    const { next, queue } = unsaidSchema.parse(JSON.parse(json ?? ''));
    const kept = queue.filter(isWhole);
    const unsaid = { next: next && isWhole(next) ? next : null, queue: kept };
    return { unsaid, lostMessages: queue.length - kept.length + (next && !unsaid.next ? 1 : 0) };
  } catch {
    return { unsaid: { next: null, queue: [] }, lostMessages: 0 };
  }
}

function isWhole({ isRedacted }: { readonly isRedacted?: boolean | undefined }): boolean {
  return isRedacted !== true;
}

/** What is written: without secrets, and with word of it where there was one. */
export function keptRequest(request: StoredRequest): StoredRequest {
  return withoutSecrets(request);
}

/** See `keptRequest`. */
export function keptUnsaid({ next, queue }: Unsaid): Unsaid {
  return { next: next && withoutSecrets(next), queue: queue.map(withoutSecrets) };
}

function withoutSecrets<T extends object>(value: T): T {
  const kept = redactJson(value);
  return kept === value ? value : { ...kept, isRedacted: true };
}

const requestSchema = z.object({
  prompt: text,
  contextFiles: z.array(z.object({ path: text, description: text.optional() })).optional(),
  developerInstructions: text.optional(),
  timeoutMs: z.number().optional(),
  keepAliveMs: z.number(),
  outputSchema,
  model: text.nullable(),
  reasoning: text.nullable(),
  isRedacted: z.boolean().optional(),
});

/** Throws with the first field that does not fit. */
function read<T>(schema: z.ZodType<T>, file: string, value: unknown): T {
  const { data, error } = schema.safeParse(value);
  const [issue] = error?.issues ?? [];
  if (issue) throw new Error(`${file}, ${issue.path.map(String).join('.')}: ${issue.message}`);
  return data as T;
}

/** Throws when a status does not fit what the task says of itself: one that nothing but a damage makes. */
function checkStatus({ status, endedAt, error }: z.infer<typeof metaSchema>): void {
  const fits = isTerminalStatus(status) === (endedAt !== null) && (status === 'failed') === (error !== null);
  if (!fits) throw new Error(`meta.json, status: "${status}" contradicts endedAt or error.`);
}

/** Reads the two files of a task. Throws when one is torn, of another version, or not of a task. */
export function parseStoredTask(meta: string, request: string, unsaid: string | null): StoredTask {
  const kept = read(metaSchema, 'meta.json', migrate(JSON.parse(meta)));
  checkStatus(kept);
  const snapshot = { ...kept, answered: kept.answers.at(-1) ?? null, queuedMessages: 0 };
  return {
    snapshot: snapshot as unknown as TaskSnapshot,
    request: read(requestSchema, 'request.json', JSON.parse(request)),
    ...parseUnsaid(unsaid),
  };
}
