import { z } from 'zod';
import { taskErrorCodes } from '../core/errors';
import { answerers } from '../core/pendingRequest';
import { approvalPolicies, sandboxes, type StoredTask, type Unsaid } from '../core/ports';
import { taskTypes } from '../core/taskSnapshot';
import type { TaskSnapshot } from '../core/taskSnapshot';
import { formatVersion } from './meta';
import { migrate } from './migration';

/** What a file of a task must hold to be a task again; what is only shown may be missing. */

const time = z.number().nullable().default(null);
const text = z.string();
const list = z.array(z.unknown()).default([]);
const error = z.object({ code: z.enum(taskErrorCodes), message: text, retryable: z.boolean(), hint: text });

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
  turns: z.int().min(0),
  createdAt: z.number(),
  startedAt: time,
  endedAt: time,
  updatedAt: z.number().default(0),
  activity: text.default(''),
  usage: z.looseObject({}).nullable().default(null),
  plan: list,
  items: list,
  changedFiles: list,
  outputTail: text.default(''),
  finalMessage: text.nullable().default(null),
  lastCommand: text.nullable().default(null),
  diff: text.default(''),
  pending: z.array(z.looseObject({ id: text, question: z.looseObject({ type: text }) })).default([]),
  answers: z
    .array(z.object({ id: text, type: text, by: z.enum(answerers), outcome: text, answeredAt: z.number() }))
    .default([]),
  error: error.nullable().default(null),
  leftovers: list,
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
});
const unsaidSchema = z.object({ next: turnInput.nullable(), queue: z.array(turnInput) });

/** A torn file costs the messages that were not said, and not the task. */
function parseUnsaid(json: string | null): Unsaid {
  try {
    return unsaidSchema.parse(JSON.parse(json ?? ''));
  } catch {
    return { next: null, queue: [] };
  }
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
});

/** Reads the two files of a task. Throws when one is torn, of another version, or not of a task. */
export function parseStoredTask(meta: string, request: string, unsaid: string | null): StoredTask {
  const kept = metaSchema.parse(migrate(JSON.parse(meta)));
  // Written by this program from a snapshot; the lists are shown, never acted on.
  const snapshot = { ...kept, answered: kept.answers.at(-1) ?? null, queuedMessages: 0 };
  return {
    snapshot: snapshot as unknown as TaskSnapshot,
    request: requestSchema.parse(JSON.parse(request)),
    unsaid: parseUnsaid(unsaid),
  };
}
