import { z } from 'zod';

/**
 * The part of Codex's app-server protocol that we use, as `codex app-server generate-ts` of 0.169.0 gives it. Parsed
 * with tolerance: unknown fields are dropped, and what a version may leave out is optional.
 */

const requestId = z.union([z.string(), z.number()]);
export type RequestId = z.infer<typeof requestId>;

export const envelopeSchema = z.object({
  id: requestId.optional(),
  method: z.string().optional(),
  params: z.unknown().optional(),
  result: z.unknown().optional(),
  error: z.object({ code: z.number(), message: z.string() }).optional(),
});

/** Which thread a notification or request is about; the two legacy approvals call it a conversation. */
export const threadIdSchema = z.union([
  z.object({ threadId: z.string() }),
  z.object({ conversationId: z.string() }).transform(({ conversationId }) => ({ threadId: conversationId })),
]);

export const initializeResult = z.object({ userAgent: z.string(), codexHome: z.string() });

export const loadedThreadsResult = z.object({ data: z.array(z.string()) });

export const accountResult = z.object({ account: z.unknown().optional(), requiresOpenaiAuth: z.boolean() });

export const modelListResult = z.object({
  data: z.array(
    z.object({
      model: z.string(),
      supportedReasoningEfforts: z.array(z.object({ reasoningEffort: z.string() })).default([]),
      isDefault: z.boolean().default(false),
    }),
  ),
  nextCursor: z.string().nullish(),
});

export const threadResult = z.object({
  thread: z.object({ id: z.string(), path: z.string().nullish() }),
  model: z.string().nullish(),
  reasoningEffort: z.string().nullish(),
  sandbox: z.unknown().optional(),
});

/** The sandbox of a thread as Codex says it. */
export const threadSandbox = z.discriminatedUnion('type', [
  z.object({ type: z.literal('readOnly'), networkAccess: z.boolean().default(false) }),
  z.object({
    type: z.literal('workspaceWrite'),
    writableRoots: z.array(z.string()),
    networkAccess: z.boolean().default(false),
  }),
  z.object({ type: z.literal('dangerFullAccess') }),
]);

const errorInfo = z.union([z.string(), z.record(z.string(), z.unknown())]).nullish();
const turnError = z.object({ message: z.string(), codexErrorInfo: errorInfo });
export type TurnError = z.infer<typeof turnError>;

export const turnResult = z.object({ turn: z.object({ id: z.string() }) });

export const statusParams = z.object({ status: z.object({ type: z.string() }) });
export const turnStartedParams = z.object({ turn: z.object({ id: z.string() }) });
export const turnCompletedParams = z.object({
  turn: z.object({
    id: z.string(),
    status: z.string(),
    error: turnError.nullish(),
    durationMs: z.number().nullish(),
  }),
});

export const deltaParams = z.object({
  itemId: z.string(),
  delta: z.string(),
  /** Which part of a reasoning item it is. */
  summaryIndex: z.number().optional(),
  contentIndex: z.number().optional(),
});
export const endedItemParams = z.object({ item: z.object({ id: z.string() }) });
export const errorParams = z.object({ error: turnError, willRetry: z.boolean() });
export const diffParams = z.object({ diff: z.string() });
export const planParams = z.object({ plan: z.array(z.object({ step: z.string(), status: z.string() })) });
export const reroutedParams = z.object({ toModel: z.string() });
export const warningParams = z.object({ message: z.string() });
export const mcpStartupParams = z.object({ name: z.string(), status: z.string(), error: z.string().nullish() });

const tokens = z.object({
  totalTokens: z.number(),
  inputTokens: z.number(),
  cachedInputTokens: z.number().default(0),
  outputTokens: z.number(),
  reasoningOutputTokens: z.number().default(0),
});
export const usageParams = z.object({
  tokenUsage: z.object({ total: tokens, last: tokens, modelContextWindow: z.number().nullish() }),
});

const fileUpdate = z.object({
  path: z.string(),
  kind: z.object({ type: z.string(), move_path: z.string().nullish() }),
  diff: z.string(),
});
export type FileUpdate = z.infer<typeof fileUpdate>;
const named = { id: z.string() };

const itemSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('userMessage'), ...named, content: z.array(z.object({ text: z.string().optional() })) }),
  z.object({ type: z.literal('agentMessage'), ...named, text: z.string() }),
  z.object({ type: z.literal('plan'), ...named, text: z.string() }),
  z.object({ type: z.literal('reasoning'), ...named, summary: z.array(z.string()), content: z.array(z.string()) }),
  z.object({
    type: z.literal('commandExecution'),
    ...named,
    command: z.string(),
    cwd: z.string(),
    status: z.string(),
    aggregatedOutput: z.string().nullish(),
    exitCode: z.number().nullish(),
    durationMs: z.number().nullish(),
  }),
  z.object({ type: z.literal('fileChange'), ...named, changes: z.array(fileUpdate), status: z.string() }),
  z.object({ type: z.literal('mcpToolCall'), ...named, server: z.string(), tool: z.string(), status: z.string() }),
  z.object({ type: z.literal('dynamicToolCall'), ...named, tool: z.string(), status: z.string() }),
  z.object({ type: z.literal('collabAgentToolCall'), ...named, tool: z.string(), status: z.string() }),
  z.object({ type: z.literal('webSearch'), ...named, query: z.string().nullish() }),
  z.object({ type: z.literal('contextCompaction'), ...named }),
]);
export type Item = z.infer<typeof itemSchema>;

const knownItem = z.object({ item: itemSchema });
/** An item of a type that we do not know keeps its type and id only. */
const unknownItem = z.object({ item: z.object({ type: z.string(), id: z.string().optional() }) });

/** The item of an `item/started` or `item/completed`, or its bare type when we do not know it. */
export function parseItem(params: unknown): { known: Item } | { unknown: string } {
  const known = knownItem.safeParse(params);
  if (known.success) return { known: known.data.item };
  return { unknown: unknownItem.parse(params).item.type };
}

const requestedPermissions = z.object({
  network: z.object({ enabled: z.boolean().nullish() }).nullish(),
  fileSystem: z
    .looseObject({
      read: z.array(z.string()).nullish(),
      write: z.array(z.string()).nullish(),
      entries: z.array(z.looseObject({ path: z.looseObject({ type: z.string() }), access: z.string() })).nullish(),
    })
    .nullish(),
});
export type RequestedPermissions = z.infer<typeof requestedPermissions>;

export const commandApprovalParams = z.object({
  turnId: z.string(),
  kind: z.string().nullish(),
  command: z.string().nullish(),
  cwd: z.string().nullish(),
  reason: z.string().nullish(),
  networkApprovalContext: z.object({ host: z.string(), protocol: z.string() }).nullish(),
  additionalPermissions: requestedPermissions.nullish(),
  proposedExecpolicyAmendment: z.array(z.string()).nullish(),
  proposedNetworkPolicyAmendments: z
    .array(z.object({ host: z.string(), action: z.enum(['allow', 'deny']) }))
    .nullish()
    .catch(null),
});
export type CommandApprovalParams = z.infer<typeof commandApprovalParams>;

/** It does not carry the patch: that came with the item. */
export const fileApprovalParams = z.object({
  turnId: z.string(),
  itemId: z.string(),
  reason: z.string().nullish(),
  grantRoot: z.string().nullish(),
});

export const permissionApprovalParams = z.object({
  turnId: z.string(),
  permissions: requestedPermissions,
  reason: z.string().nullish(),
});

export const userInputParams = z.object({
  turnId: z.string(),
  questions: z.array(
    z.object({
      id: z.string(),
      header: z.string().default(''),
      question: z.string(),
      isOther: z.boolean().default(false),
      isSecret: z.boolean().default(false),
      options: z.array(z.object({ label: z.string(), description: z.string().default('') })).nullish(),
    }),
  ),
});

const jsonObject = z.record(z.string(), z.unknown());
export const elicitationParams = z.object({
  turnId: z.string().nullish(),
  serverName: z.string(),
  mode: z.string(),
  message: z.string().optional(),
  requestedSchema: jsonObject.optional(),
  url: z.string().optional(),
  _meta: z
    .looseObject({
      codex_approval_kind: z.string().optional(),
      persist: z.union([z.array(z.string()), z.string().transform((one) => [one])]).optional(),
      tool_name: z.string().optional(),
      tool_description: z.string().nullish(),
      tool_params: z.unknown().optional(),
    })
    .nullish(),
});
export type ElicitationParams = z.infer<typeof elicitationParams>;

export const toolCallParams = z.object({
  turnId: z.string(),
  namespace: z.string().nullish(),
  tool: z.string(),
  arguments: z.unknown().optional(),
});

export const legacyCommandParams = z.object({
  command: z.array(z.string()),
  cwd: z.string(),
  reason: z.string().nullish(),
});
export const legacyPatchParams = z.object({
  fileChanges: z.record(
    z.string(),
    z.object({
      type: z.string(),
      content: z.string().optional(),
      unified_diff: z.string().optional(),
      move_path: z.string().nullish(),
    }),
  ),
  reason: z.string().nullish(),
  grantRoot: z.string().nullish(),
});

const usageWindow = z
  .object({
    usedPercent: z.number(),
    windowDurationMins: z.number().nullish(),
    /** Seconds since the epoch. */
    resetsAt: z.number().nullish(),
  })
  .nullish();
/** `details` names file, line and column; there is a `path` where a file could not be read (seen with 0.169.0). */
export const configWarningParams = z.object({
  summary: z.string(),
  details: z.string().nullish(),
  path: z.string().optional(),
});

export const rateLimitsParams = z.object({ rateLimits: z.object({ primary: usageWindow, secondary: usageWindow }) });

export const noticeParams = z.object({
  message: z.string().nullish(),
  summary: z.string().nullish(),
  details: z.string().nullish(),
  path: z.string().nullish(),
});

export const requestResolvedParams = z.object({ threadId: z.string(), requestId });
