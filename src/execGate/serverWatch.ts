import { z } from 'zod';
import { pathOf } from './confinement';

const turnParams = z.object({ threadId: z.string(), turn: z.object({ id: z.string() }) });
const fileChangeItem = z.object({
  threadId: z.string(),
  item: z.object({
    id: z.string(),
    changes: z.array(z.object({ path: z.string(), kind: z.looseObject({ move_path: z.string().nullish() }) })),
  }),
});
const closedItem = z.object({ threadId: z.string(), item: z.object({ id: z.string() }) });
const closedThread = z.object({ threadId: z.string() });
const toolElicitation = z.object({
  id: z.union([z.string(), z.number()]),
  params: z.object({
    threadId: z.string(),
    serverName: z.string(),
    _meta: z.looseObject({
      codex_approval_kind: z.literal('mcp_tool_call'),
      tool_name: z.string(),
      tool_params: z.unknown().optional(),
    }),
  }),
});
const elicitationAnswer = z.object({
  id: z.union([z.string(), z.number()]),
  result: z.object({
    action: z.string(),
    _meta: z.looseObject({ persist: z.string().optional() }).nullish(),
  }),
});

const elicitationsKept = 1_000;
const ticketsKept = 1_000;

/** A change of files that Codex told of and has not ended. */
export interface OpenChange {
  readonly itemId: string;
  readonly turnId: string;
  /** Absolute. */
  readonly paths: readonly string[];
}

export interface WatchHandlers {
  /** A turn began or ended, or a change was told of. */
  readonly onLearnt: () => void;
  /** Codex does not have the thread any more. */
  readonly onThreadClosed: (threadId: string) => void;
}

/** Knows from what Codex and its client say to each other what a thread is doing, and which MCP calls were allowed. */
export class ServerWatch {
  private readonly turns = new Map<string, string>();
  /** By thread, then by item. */
  private readonly changes = new Map<string, Map<string, OpenChange>>();
  /** Requests for an MCP call that are not answered: what the answer allows. */
  private readonly asked = new Map<string, Ticket>();
  private readonly tickets: Ticket[] = [];
  /** Tools that were allowed for longer than once. */
  private readonly lasting = new Set<string>();
  private readonly handlers: WatchHandlers;

  constructor(handlers: WatchHandlers) {
    this.handlers = handlers;
  }

  turnOf(threadId: string): string | undefined {
    return this.turns.get(threadId);
  }

  /** The open changes of a thread that name a path. */
  changesOf(threadId: string, names: (path: string) => boolean): readonly OpenChange[] {
    return [...(this.changes.get(threadId)?.values() ?? [])].filter(({ paths }) => paths.some(names));
  }

  /** Whether a call was allowed at its request; each allows one. */
  takeTicket(threadId: string, servers: readonly string[], tool: string, args: unknown): boolean {
    if (servers.some((server) => this.lasting.has(toolKey(threadId, server, tool)))) return true;
    const wanted = servers.map((server) => callKey({ threadId, server, tool, args }));
    const index = this.tickets.findIndex((ticket) => wanted.includes(callKey(ticket)));
    if (index < 0) return false;
    this.tickets.splice(index, 1);
    return true;
  }

  /** A line of Codex. Its order of fields is its own: `{"method":…,"params":{…`. A flood passes here, so most is not parsed. */
  fromServer(line: string): void {
    if (line.startsWith('{"method":"turn/started"')) this.turnStarted(line);
    else if (line.startsWith('{"method":"turn/completed"')) this.turnEnded(line);
    else if (line.startsWith('{"method":"item/started"')) this.itemStarted(line);
    else if (line.startsWith('{"method":"item/completed"')) this.itemEnded(line);
    else if (line.startsWith('{"method":"thread/closed"')) this.threadClosed(line);
    else if (line.startsWith('{"method":"mcpServer/elicitation/request"')) this.elicitation(line);
  }

  /** A line of the client. */
  fromClient(line: string): void {
    if (this.asked.size === 0) return;
    const { id, result } = read(elicitationAnswer, line) ?? {};
    const ticket = this.asked.get(JSON.stringify(id));
    if (!ticket || !result) return;
    this.asked.delete(JSON.stringify(id));
    if (result.action !== 'accept') return;
    if ((result._meta?.persist ?? '') !== '') this.lasting.add(toolKey(ticket.threadId, ticket.server, ticket.tool));
    if (this.tickets.length < ticketsKept) this.tickets.push(ticket);
  }

  private turnStarted(line: string): void {
    const { threadId, turn } = read(turnParams, line, 'params') ?? {};
    if (threadId === undefined || !turn) return;
    this.turns.set(threadId, turn.id);
    this.handlers.onLearnt();
  }

  private turnEnded(line: string): void {
    const { threadId } = read(turnParams, line, 'params') ?? {};
    if (threadId !== undefined) this.endTurn(threadId);
  }

  private endTurn(threadId: string): void {
    this.turns.delete(threadId);
    this.changes.delete(threadId);
    for (const [id, ticket] of this.asked) if (ticket.threadId === threadId) this.asked.delete(id);
    const left = this.tickets.filter((ticket) => ticket.threadId !== threadId);
    this.tickets.splice(0, this.tickets.length, ...left);
    this.handlers.onLearnt();
  }

  private threadClosed(line: string): void {
    const { threadId } = read(closedThread, line, 'params') ?? {};
    if (threadId === undefined) return;
    this.endTurn(threadId);
    for (const key of this.lasting) if (key.startsWith(`${threadId} `)) this.lasting.delete(key);
    this.handlers.onThreadClosed(threadId);
  }

  private itemStarted(line: string): void {
    if (!line.includes('"type":"fileChange"')) return;
    const { threadId, item } = read(fileChangeItem, line, 'params') ?? {};
    const turnId = threadId === undefined ? undefined : this.turns.get(threadId);
    if (threadId === undefined || turnId === undefined || !item) return;
    const paths = item.changes.flatMap(({ path, kind }) => [path, ...(kind.move_path ? [kind.move_path] : [])]);
    const open = this.changes.get(threadId) ?? new Map<string, OpenChange>();
    open.set(item.id, { itemId: item.id, turnId, paths: paths.flatMap((path) => pathOf(path) ?? []) });
    this.changes.set(threadId, open);
    this.handlers.onLearnt();
  }

  private itemEnded(line: string): void {
    if (!line.includes('"type":"fileChange"')) return;
    const { threadId, item } = read(closedItem, line, 'params') ?? {};
    if (threadId !== undefined && item) this.changes.get(threadId)?.delete(item.id);
  }

  private elicitation(line: string): void {
    const { id, params } = read(toolElicitation, line) ?? {};
    if (id === undefined || !params || this.asked.size >= elicitationsKept) return;
    const { threadId, serverName: server, _meta: meta } = params;
    this.asked.set(JSON.stringify(id), { threadId, server, tool: meta.tool_name, args: meta.tool_params });
  }
}

interface Ticket {
  readonly threadId: string;
  readonly server: string;
  readonly tool: string;
  readonly args: unknown;
}

function toolKey(threadId: string, server: string, tool: string): string {
  return `${threadId} ${JSON.stringify([server, tool])}`;
}

function callKey({ threadId, server, tool, args }: Ticket): string {
  return `${toolKey(threadId, server, tool)} ${canonical(args ?? {})}`;
}

/** JSON with its fields in order. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    inner !== null && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

function read<T>(schema: z.ZodType<T>, line: string, part?: 'params'): T | undefined {
  try {
    const message = JSON.parse(line) as { readonly params?: unknown };
    return schema.safeParse(part ? message.params : message).data;
  } catch {
    return undefined;
  }
}
