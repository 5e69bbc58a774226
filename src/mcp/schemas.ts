import { z } from 'zod';
import { approvalPolicies, sandboxes } from '../core/ports';
import { callErrorCodes, taskErrorCodes } from '../core/errors';
import { answerers, decisions, formActions } from '../core/pendingRequest';
import { deliveryModes } from '../core/task';
import { taskTypes } from '../core/taskSnapshot';

/** What the five tools take and give. Descriptions are read by agents, so they are short and say what to do. */

const limits = {
  prompt: 1_000_000,
  developerInstructions: 20_000,
  contextFiles: 20,
  labels: 10,
  labelLength: 50,
  ids: 50,
  key: 200,
  answers: 20,
  error: 100_000,
  waitMs: 300_000,
  timeoutMs: { min: 1_000, max: 86_400_000 },
} as const;

/** What no task id holds: a text with one of these is a list, or JSON that broke on its way. */
const notInTaskId = /[,;\s"'`[\]{}]/;
const taskId = z
  .string()
  .min(1)
  .max(100)
  .refine((text) => !notInTaskId.test(text), 'must be one task id; give several as an array');
const taskIds = z.array(taskId).min(1).max(limits.ids);
const waitMs = z
  .int()
  .min(0)
  .max(limits.waitMs)
  .optional()
  .describe('Wait that many ms for news and answer as wait-task does; saves a call.');
const model = z.string().min(1).max(200).optional().describe('Model of Codex; "gpt-5.4(high)" names the effort too.');
const reasoning = z
  .string()
  .min(1)
  .max(50)
  .optional()
  .describe('Reasoning effort that the model supports, such as "high".');

export const spawnInput = z.strictObject({
  prompt: z
    .string()
    .min(1)
    .max(limits.prompt)
    .refine((text) => text.trim() !== '', 'must not be blank')
    .describe('The whole task. Codex sees nothing of your conversation, so say what, where and how it is checked.'),
  cwd: z.string().optional().describe('Absolute directory to work in. Default: the first workspace folder.'),
  model,
  reasoning,
  sandbox: z.enum(sandboxes).optional().describe('What commands may touch. Default: by task type, else the setting.'),
  approval_policy: z
    .enum(approvalPolicies)
    .optional()
    .describe('When Codex asks: untrusted (always), on-request (to leave the sandbox), never.'),
  task_type: z.enum(taskTypes).optional().describe('Default coder. planner and researcher only read.'),
  isolation: z.enum(['none', 'worktree']).optional().describe('Not available yet: only none.'),
  developer_instructions: z
    .string()
    .max(limits.developerInstructions)
    .optional()
    .describe('Standing rules for the task.'),
  context_files: z
    .array(z.strictObject({ path: z.string(), description: z.string().max(500).optional() }))
    .max(limits.contextFiles)
    .optional()
    .describe('Text files put in front of the prompt: absolute paths, 200 KB each, 500 KB in all.'),
  labels: z.array(z.string().min(1).max(limits.labelLength)).max(limits.labels).optional(),
  depends_on: z
    .array(taskId)
    .max(limits.ids)
    .optional()
    .describe('Starts when all of these tasks are completed; fails with dependency_failed when one is not.'),
  timeout_ms: z
    .int()
    .min(limits.timeoutMs.min)
    .max(limits.timeoutMs.max)
    .optional()
    .describe('The task fails with "timeout" after it. Default: none.'),
  keep_alive: z.int().min(0).max(Number.MAX_SAFE_INTEGER).optional().describe('How many ms a finished task is kept.'),
  output_schema: z.record(z.string(), z.unknown()).optional().describe('JSON Schema of the final message.'),
  idempotency_key: z
    .string()
    .min(1)
    .max(limits.key)
    .optional()
    .describe('The same key with the same input returns the same task.'),
  wait_ms: waitMs,
});

export const waitInput = z.strictObject({
  task_id: z
    .union([taskId, taskIds])
    .optional()
    .describe(
      'One id, several, absent for your own that run or ended without your knowing, or "all" for everybody\'s.',
    ),
  until: z.enum(['any', 'all']).optional().describe('With several ids: the first news (default), or the end of all.'),
  timeout_ms: z.int().min(0).max(limits.waitMs).optional().describe('Default 30000. It stops nothing; wait again.'),
  poll_interval_ms: z.number().optional().describe('Accepted for older callers; waiting is driven by events.'),
});

export const respondInput = z.strictObject({
  task_id: taskId,
  type: z
    .enum([
      'command_approval',
      'file_approval',
      'permission_approval',
      'user_input',
      'elicitation',
      'dynamic_tool',
      'recovery',
    ])
    .describe('The type of the pending request.'),
  request_id: z.string().min(1).max(50).optional().describe('Needed when several requests are pending.'),
  decision: z
    .enum(decisions)
    .optional()
    .describe(
      'For approvals: reject lets the turn go on without the action, cancel ends the turn. For recovery: accept goes on, reject fails the task, cancel ends it.',
    ),
  answers: z
    .record(z.string(), z.union([z.string(), z.array(z.string()).max(limits.answers)]))
    .optional()
    .describe('For user_input: question id → the label of an option, or text where that is allowed.'),
  action: z.enum(formActions).optional().describe('For elicitation.'),
  content: z
    .record(z.string(), z.unknown())
    .optional()
    .describe('For elicitation, with accept: what its schema wants.'),
  result: z.unknown().optional().describe('For dynamic_tool: what the tool gave, as text or JSON.'),
  error: z.string().min(1).max(limits.error).optional().describe('For dynamic_tool: why it failed.'),
  wait_ms: waitMs,
});
export type RespondInput = z.infer<typeof respondInput>;

export const messageInput = z.strictObject({
  task_id: taskId,
  message: z
    .string()
    .min(1)
    .max(limits.prompt)
    .refine((text) => text.trim() !== '', 'must not be blank'),
  model,
  reasoning,
  mode: z
    .enum(deliveryModes)
    .optional()
    .describe(
      'auto (default) steers an active turn and otherwise starts the next one; queue waits for the turn to end.',
    ),
  wait_ms: waitMs,
});

export const cancelInput = z.strictObject({
  task_id: z.union([taskId, taskIds]).describe('One id, or up to 50. Returns when nothing of them is alive.'),
});

const status = z.enum(['submitted', 'working', 'input_required', 'completed', 'failed', 'cancelled']);
const changedFile = z.strictObject({
  path: z.string(),
  kind: z.enum(['add', 'update', 'delete']),
  added: z.int(),
  removed: z.int(),
});
const partial = z.strictObject({
  changed_files: z.array(changedFile),
  last_command: z.string().nullable(),
  diff: z.string(),
});

/** JSON, or its beginning as text when it is too long. */
const jsonOrCut = z.unknown();

/** What every pending question tells. */
const asked = {
  request_id: z.string(),
  /** ISO 8601: when it is declined if nobody has answered. */
  expires_at: z.string().optional(),
  /** Where all of it is, when some is left out. */
  see: z.string().optional(),
};

export const pendingQuestion = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('command_approval'),
    ...asked,
    command: z.string(),
    cwd: z.string(),
    reason: z.string().nullable(),
  }),
  z.strictObject({
    type: z.literal('file_approval'),
    ...asked,
    file_changes: z.array(
      z.strictObject({
        path: z.string(),
        moved_to: z.string().optional(),
        kind: z.enum(['add', 'update', 'delete']),
        patch: z.string(),
      }),
    ),
    more_file_changes: z.int().optional(),
    reason: z.string().nullable(),
  }),
  z.strictObject({
    type: z.literal('permission_approval'),
    ...asked,
    permissions: jsonOrCut,
    reason: z.string().nullable(),
  }),
  z.strictObject({
    type: z.literal('user_input'),
    ...asked,
    questions: z.array(
      z.strictObject({
        id: z.string(),
        header: z.string(),
        text: z.string(),
        options: z.array(z.strictObject({ label: z.string(), description: z.string() })),
        more_options: z.int().optional(),
        see: z.string().optional(),
        allow_freeform: z.boolean(),
        is_secret: z.boolean(),
      }),
    ),
    more_questions: z.int().optional(),
  }),
  z.strictObject({
    type: z.literal('elicitation'),
    ...asked,
    server_name: z.string(),
    mode: z.enum(['form', 'url']),
    message: z.string(),
    schema: jsonOrCut.optional(),
    url: z.string().optional(),
    tool_call: z.strictObject({ tool: z.string(), arguments: jsonOrCut }).optional(),
  }),
  z.strictObject({ type: z.literal('recovery'), ...asked, message: z.string() }),
  z.strictObject({
    type: z.literal('dynamic_tool'),
    ...asked,
    tool_name: z.string(),
    arguments: jsonOrCut,
  }),
]);
export type PendingQuestion = z.infer<typeof pendingQuestion>;

export const spawnResult = z.strictObject({
  task_id: z.string(),
  status,
  poll_frequency: z.int(),
  provider_session_id: z.string().nullable(),
  labels: z.array(z.string()),
  resources: z.strictObject({
    scoreboard: z.string(),
    detail: z.string(),
    log: z.string(),
    timeline: z.string(),
    events: z.string(),
  }),
  disk_paths: z.strictObject({
    dir: z.string(),
    events_log: z.string(),
    timeline_log: z.string(),
    meta: z.string(),
  }),
  next: z.string(),
});
export type SpawnResult = z.infer<typeof spawnResult>;

export const taskResult = z.strictObject({
  task_id: z.string(),
  status,
  provider_session_id: z.string().nullable(),
  labels: z.array(z.string()),
  turn: z.int(),
  elapsed_ms: z.int(),
  output: z.array(z.string()),
  changed_files: z.array(changedFile),
  more_changed_files: z.int().optional(),
  final_message: z.string().optional(),
  plan: z
    .array(z.strictObject({ step: z.string(), status: z.enum(['pending', 'in_progress', 'completed']) }))
    .optional(),
  usage: z
    .strictObject({
      total_tokens: z.int(),
      input_tokens: z.int(),
      output_tokens: z.int(),
      context_window: z.int().nullable(),
      pct_used: z.number().nullable(),
    })
    .optional(),
  pending_question: pendingQuestion.optional(),
  other_pending: z.array(z.strictObject({ type: z.string(), request_id: z.string() })).optional(),
  more_pending: z.int().optional(),
  answered_by: z.enum(answerers).optional(),
  /** The last ones, oldest first. */
  answered: z
    .array(z.strictObject({ request_id: z.string(), type: z.string(), by: z.enum(answerers), outcome: z.string() }))
    .optional(),
  error: z
    .strictObject({ code: z.enum(taskErrorCodes), message: z.string(), retryable: z.boolean(), hint: z.string() })
    .optional(),
  partial: partial.optional(),
  /** Processes that could not be ended, or that may be of this task or another one and were left alone. */
  leftovers: z.array(z.strictObject({ pid: z.int(), command: z.string() })).optional(),
  timed_out: z.boolean(),
  next: z.string(),
});
export type TaskResult = z.infer<typeof taskResult>;

export const taskListResult = z.strictObject({
  tasks: z.array(
    z.strictObject({
      task_id: z.string(),
      status,
      summary: z.string(),
      /** In full for the oldest new request only; the others by type and id. */
      pending_question: z
        .union([pendingQuestion, z.strictObject({ type: z.string(), request_id: z.string() })])
        .optional(),
      more_pending: z.int().optional(),
      /** Who answered what the caller knew to be pending. */
      answered_by: z.enum(answerers).optional(),
    }),
  ),
  more_tasks: z.int().optional(),
  /** Where there is nothing to wait for: how many tasks of others run, and which own ones ended just now. */
  others: z.int().optional(),
  recent: z.array(z.strictObject({ task_id: z.string(), status, summary: z.string() })).optional(),
  timed_out: z.boolean(),
  next: z.string(),
});
export type TaskListResult = z.infer<typeof taskListResult>;

export const respondResult = z.strictObject({
  task_id: z.string(),
  request_id: z.string(),
  status,
  next: z.string(),
});

export const messageResult = z.strictObject({
  task_id: z.string(),
  status,
  delivered: z.enum(['steered', 'queued', 'new_turn']),
  turn: z.int(),
  next: z.string(),
});

export const cancelResult = z.strictObject({
  cancelled: z.array(z.string()),
  already_terminal: z.array(z.string()),
  not_found: z.array(z.string()),
});

export const errorResult = z.strictObject({
  error: z.strictObject({
    code: z.enum(callErrorCodes),
    message: z.string(),
    retryable: z.boolean(),
    hint: z.string(),
    retry_after_ms: z.int().optional(),
  }),
});
export type ErrorResult = z.infer<typeof errorResult>;

type JsonSchema = Readonly<Record<string, unknown>>;
export type ObjectSchema = JsonSchema & { readonly type: 'object' };

/** Of draft-07 and of 2020-12 alike, and without what some clients refuse: `propertyNames`, a property without a type. */
export function inputSchema(schema: z.ZodType): ObjectSchema {
  return { ...(lean(draft7(schema, 'input')) as JsonSchema), type: 'object' };
}

/**
 * The top-level fields of all results and of the error, each with its type only: some clients give the whole list of tools
 * to their model, and an inner form there costs more than it says.
 */
export function outputSchema(...forms: readonly z.ZodType[]): ObjectSchema {
  const types = new Map<string, Set<string>>();
  for (const form of [...forms, errorResult]) {
    for (const [field, schema] of Object.entries((draft7(form, 'output').properties ?? {}) as JsonSchema)) {
      types.set(field, new Set([...(types.get(field) ?? []), ...typesOf(schema as JsonSchema)]));
    }
  }
  const properties = [...types].map(([field, [first, ...others]]) => {
    return [field, { type: others.length === 0 ? first : [first, ...others] }];
  });
  return { type: 'object', properties: Object.fromEntries(properties) as JsonSchema };
}

function draft7(schema: z.ZodType, io: 'input' | 'output'): JsonSchema {
  return z.toJSONSchema(schema, { target: 'draft-7', io });
}

function typesOf({ type, anyOf, oneOf }: JsonSchema): readonly string[] {
  if (typeof type === 'string') return [type];
  if (Array.isArray(type)) return type as string[];
  return ((anyOf ?? oneOf ?? []) as readonly JsonSchema[]).flatMap(typesOf);
}

const everyType = ['string', 'object', 'array', 'number', 'boolean', 'null'];

/** Without what says nothing to a client: the dialect, and the bounds that every integer has. */
function lean(value: unknown, isProperty = false): unknown {
  if (Array.isArray(value)) return value.map((one) => lean(one));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).flatMap(([key, inner]) => {
    if (key === '$schema' || key === 'propertyNames' || Math.abs(Number(inner)) === Number.MAX_SAFE_INTEGER) return [];
    if (key !== 'properties') return [[key, lean(inner)]];
    const fields = Object.entries(inner as JsonSchema).map(([name, field]) => [name, lean(field, true)]);
    return [[key, Object.fromEntries(fields)]];
  });
  const schema = Object.fromEntries(entries) as JsonSchema;
  const saysNothing = isProperty && !['type', 'anyOf', 'enum'].some((key) => key in schema);
  return saysNothing ? { ...schema, type: everyType } : schema;
}
