import { z } from 'zod';

/** Messages of Codex to `codex exec-server`, as far as the gate reads them (seen with Codex 0.169.0). */

export const execMessage = z.looseObject({
  id: z.union([z.string(), z.number()]).optional(),
  method: z.string().optional(),
  params: z.unknown().optional(),
});
export type ExecMessage = z.infer<typeof execMessage>;

export const startParams = z.looseObject({
  processId: z.string(),
  /** Absent for an MCP server. */
  metadata: z.looseObject({ threadId: z.string(), toolCallId: z.string() }).nullish(),
  argv: z.array(z.string()).min(1),
  /** A `file:` URL. */
  cwd: z.string(),
  tty: z.boolean(),
  pipeStdin: z.boolean(),
  /** The name under which the program runs, when it is another than its file's. */
  arg0: z.string().nullish(),
  sandbox: z.unknown().optional(),
});
export type StartParams = z.infer<typeof startParams>;

export const writeParams = z.looseObject({
  processId: z.string(),
  /** Base64. */
  chunk: z.string(),
});

/** Of `fs/writeFile`, `fs/remove` and `fs/createDirectory`. */
export const changeParams = z.looseObject({
  /** A `file:` URL. */
  path: z.string(),
  sandbox: z.unknown().optional(),
});

const sandboxPath = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('special'),
    value: z.strictObject({ kind: z.string(), subpath: z.string().optional() }),
  }),
  z.strictObject({ type: z.literal('path'), path: z.string() }),
]);

/** The sandbox of a process. What it holds besides narrows it, or concerns Windows. */
export const sandboxStruct = z.looseObject({
  permissions: z.strictObject({
    type: z.literal('managed'),
    file_system: z.looseObject({
      type: z.literal('restricted'),
      entries: z.array(z.looseObject({ path: z.unknown(), access: z.string() })),
    }),
    network: z.enum(['restricted', 'enabled']),
  }),
  /** `file:` URLs. */
  cwd: z.string(),
  workspaceRoots: z.array(z.string()),
  policyContext: z.unknown().optional(),
});

export const sandboxEntry = z.looseObject({ path: sandboxPath, access: z.string() });

/**
 * What only reads, waits or ends. Everything that is not named here or judged is refused, so that a Codex that can do more does
 * not do it unseen.
 */
export const passingMethods: ReadonlySet<string> = new Set([
  'initialize',
  'initialized',
  'environment/info',
  'environment/status',
  'environmentConfig/read',
  'environmentInfo/read',
  'fs/getMetadata',
  'fs/readFile',
  'fs/readDirectory',
  'fs/canonicalize',
  'fs/watch',
  'fs/watchMissing',
  'fs/unwatch',
  'process/read',
  'process/signal',
  'process/terminate',
]);

/** MCP messages that do nothing, and need no asking. */
export const harmlessMcpMethods: ReadonlySet<string> = new Set([
  'initialize',
  'ping',
  'logging/setLevel',
  'tools/list',
  'resources/list',
  'resources/templates/list',
  'prompts/list',
  'notifications/initialized',
  'notifications/cancelled',
  'notifications/progress',
  'notifications/roots/list_changed',
]);

export const mcpMessage = z.looseObject({
  method: z.string().optional(),
  params: z.looseObject({}).optional(),
});
