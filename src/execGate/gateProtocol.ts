import { z } from 'zod';

/**
 * What a worker and the gate in its keeper say to each other, as JSON-RPC messages between those of `codex app-server`. The
 * worker opens an environment for each thread that it starts, asks for nothing else, and answers what the gate asks.
 */

/** Every message of theirs begins its method so, and the gate every id of its requests. */
export const gateMark = 'execGate/';

export const gateMethod = {
  /** Request of the worker: `OpenParams`, answered with `OpenResult`. */
  open: 'execGate/open',
  /** Request of the worker: `BindParams`, answered with `{}`. */
  bind: 'execGate/bind',
  /** Request of the worker: `CloseParams`, answered with `{}`. */
  close: 'execGate/close',
  /** Request of the gate: `CommandParams`, answered with `GateAnswer`. */
  command: 'execGate/command',
  /** Request of the gate: `FileChangeParams`, answered with `GateAnswer`. */
  fileChange: 'execGate/fileChange',
  /** Request of the gate: `ToolCallParams`, answered with `GateAnswer`. */
  toolCall: 'execGate/toolCall',
  /** Notification of the gate: `RefusedParams`. */
  refused: 'execGate/refused',
} as const;

export const openParams = z.object({
  environment: z.string(),
  /** What Codex shows when it connects; kept in memory only. */
  token: z.string().min(32),
  /** Whether calls of MCP tools are asked, as far as Codex did not ask itself; they run outside the sandbox in any case. */
  asksCalls: z.boolean(),
  /** The MCP servers that may be started, as they are configured. */
  servers: z.array(z.object({ name: z.string(), argv: z.array(z.string()) })),
});

export const openResult = z.object({ url: z.string() });

/** What the commands of a thread may do; `null` for all that the user may. */
export const allowedSandbox = z
  .object({
    /** The task's directory. */
    cwd: z.string(),
    network: z.boolean(),
    /** Whether `cwd` and the temporary directories may be written to. */
    writesWorkspace: z.boolean(),
    /** Directories besides, absolute. */
    roots: z.array(z.string()),
  })
  .nullable();
export type AllowedSandbox = z.infer<typeof allowedSandbox>;

/** A thread has begun in the environment; commands of no other run there. */
export const bindParams = z.object({ environment: z.string(), threadId: z.string(), sandbox: allowedSandbox });

export const closeParams = z.object({ environment: z.string() });

const asked = { threadId: z.string(), turnId: z.string() };

export const commandParams = z.object({
  ...asked,
  argv: z.array(z.string()),
  /** Absolute. */
  cwd: z.string(),
});

/** The changes are those of the item that Codex told before. */
export const fileChangeParams = z.object({ ...asked, itemId: z.string() });

export const toolCallParams = z.object({
  ...asked,
  server: z.string(),
  tool: z.string(),
  arguments: z.unknown().optional(),
});

/** Of a refusal that somebody decided, in the words of Codex's own. */
export const declinedReason = 'rejected by user';

export const gateAnswer = z.object({ accepted: z.boolean() });

/** Something that was not let through, and nobody was asked about. */
export const refusedParams = z.object({ threadId: z.string().nullable(), what: z.string(), reason: z.string() });

export type GateQuestion =
  | { readonly method: typeof gateMethod.command; readonly params: z.infer<typeof commandParams> }
  | { readonly method: typeof gateMethod.fileChange; readonly params: z.infer<typeof fileChangeParams> }
  | { readonly method: typeof gateMethod.toolCall; readonly params: z.infer<typeof toolCallParams> };
