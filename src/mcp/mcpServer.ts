import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { Protocol, type RequestHandlerExtra } from '@modelcontextprotocol/sdk/shared/protocol.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import {
  type CallToolResult,
  ElicitResultSchema,
  EmptyResultSchema,
  ErrorCode,
  type JSONRPCMessage,
  ListResourcesRequestSchema,
  ListResourceTemplatesRequestSchema,
  ListToolsRequestSchema,
  McpError,
  ReadResourceRequestSchema,
  type ServerNotification,
  type ServerRequest,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';
import { wellFormed } from '../base/wellFormed';
import { DisposableStore } from '../core/disposable';
import { CallError, invalidArgument } from '../core/errors';
import { hashOf } from '../core/hash';
import type { CallerId } from '../core/caller';
import type { Log } from '../core/ports';
import type { TaskId } from '../core/taskId';
import type { TaskManager } from '../core/taskManager';
import type { ToolGate } from '../core/toolGate';
import { askToApprove } from './approvalForm';
import { deliveryOfThisCall } from './delivery';
import { conversationOf, type Identify, type Meta } from './callers';
import { followRoots, type TakeRoots } from './clientRoots';
import { depthLimit, isTooDeep } from '../base/wellFormed';
import { jsonBytes } from './fit';
import { instructions } from './instructions';
import { judgedArguments, waitOf } from './judgedArguments';
import { readArguments } from './readArguments';
import { listResources, readResource, resourceTemplates } from './resources';
import { failureOf, success } from './results';
import { Subscriptions } from './subscriptions';
import { cancelTaskTool } from './tools/cancelTask';
import { messageTaskTool } from './tools/messageTask';
import { respondTaskTool } from './tools/respondTask';
import { spawnTaskTool } from './tools/spawnTask';
import type { Elicit, Tool, ToolCall } from './tools/tool';
import { waitTaskTool } from './tools/waitTask';

/** What all sessions of one worker share. */
export interface McpParts {
  readonly tasks: TaskManager;
  readonly tools: readonly Tool[];
  readonly version: string;
  readonly log: Log;
  /** Whether a waiting caller that supports elicitation is asked what its tasks ask; read at each call. */
  readonly elicitation: () => boolean;
  readonly gate: ToolGate;
  /** How often a call that shows its progress repeats where it is, in ms. */
  readonly heartbeatMs?: number;
  /** Takes the roots that the client names; absent where it is not asked. */
  readonly takeRoots?: TakeRoots | undefined;
}

/** The five tools. They keep nothing, so each server has its own. */
export function createTools(): readonly Tool[] {
  return [spawnTaskTool, waitTaskTool, respondTaskTool, messageTaskTool, cancelTaskTool];
}

/** The fields of each tool, each with the values that it may have; null where any may. */
export function toolFields(): ReadonlyMap<string, ReadonlyMap<string, readonly unknown[] | null>> {
  return new Map(
    createTools().map(({ name, inputSchema }) => {
      const fields = Object.entries(inputSchema.properties ?? {});
      return [name, new Map(fields.map(([field, schema]) => [field, (schema as { enum?: unknown[] }).enum ?? null]))];
    }),
  );
}

/** Bytes of a call's arguments as JSON: a prompt and a message of a million characters fit. */
const argumentsLimit = 7 * 1024 * 1024;

type Extra = RequestHandlerExtra<ServerRequest, ServerNotification>;

/** Only the envelope: a wrong one is answered with −32602, wrong arguments with a refusal that says what is allowed. */
const callSchema = z.object({ method: z.literal('tools/call'), params: z.unknown().optional() });
type CallRequest = z.infer<typeof callSchema>;
const callParams = z.object({
  name: z.string(),
  arguments: z.record(z.string(), z.unknown()).default({}),
  _meta: z.looseObject({}).optional(),
});

/** Whatever it sends has whole characters only. */
class WellFormedServer extends Server {
  override async connect(transport: Transport): Promise<void> {
    const send = transport.send.bind(transport);
    transport.send = (message, options) => send(wellFormed(message) as JSONRPCMessage, options);
    await super.connect(transport);
  }
}

/**
 * One session's server object over the shared worker. On the SDK's low-level server, because its high-level one cannot
 * give errors with structured content beside an output schema, refuse unknown fields, subscribe or page.
 */
export function createMcpServer(parts: McpParts, identify: Identify): Server {
  const { tasks, tools, log } = parts;
  const server = new WellFormedServer(
    { name: 'codex-worker', title: 'Codex Worker', version: parts.version },
    { capabilities: { tools: { listChanged: true }, resources: { subscribe: true, listChanged: true } }, instructions },
  );
  const owned = new DisposableStore();
  const subscriptions = owned.add(new Subscriptions(tasks, server, () => parts.gate.hidesTasks));
  const { gate } = parts;
  const callerOf = (meta: Meta): CallerId => {
    const conversation = conversationOf(meta);
    // A thread of ours calls from inside its task, whatever way it found here.
    const inside = conversation === null ? null : tasks.callerIn(conversation);
    return inside ?? identify(server.getClientVersion()?.name, conversation);
  };
  const shownTo = <T extends { readonly id: TaskId }>(meta: Meta, all: readonly T[]): readonly T[] => {
    const caller = callerOf(meta);
    return all.filter(({ id }) => !gate.hidesTask(id, caller) && tasks.isInReach(id, caller));
  };
  let hidden = hiddenOf(parts);
  owned.add(
    gate.onDidChange(() => {
      const now = hiddenOf(parts);
      if (now === hidden) return;
      hidden = now;
      // A session that is going away cannot be told.
      void Promise.allSettled([server.sendToolListChanged(), server.sendResourceListChanged()]);
    }),
  );
  server.onclose = () => owned.dispose();
  const rootsKnown = parts.takeRoots ? followRoots(server, parts.takeRoots) : () => Promise.resolve();
  server.onerror = (error) => log('debug', `MCP: ${error.message}`);

  server.setRequestHandler(ListToolsRequestSchema, () => ({
    tools: tools.filter(({ name }) => !gate.isHidden(name)).map(listedTool),
  }));
  // The server's own `setRequestHandler` refuses malformed calls before anybody can take note of them (seen with 1.32.2).
  Protocol.prototype.setRequestHandler.call(server, callSchema, async (request: CallRequest, extra: Extra) => {
    await rootsKnown();
    const supported = server.getClientCapabilities()?.elicitation?.form !== undefined;
    const client = server.getClientVersion();
    return callTool(parts, request.params, extra, {
      callerOf,
      client: client ? `${client.name} ${client.version}`.slice(0, 200) : null,
      elicit: supported ? elicitFrom(extra) : undefined,
    });
  });
  server.setRequestHandler(ListResourcesRequestSchema, async ({ params }) => {
    await tasks.restored();
    if (gate.hidesTasks) return { resources: [] };
    return listResources(shownTo(params?._meta, tasks.snapshots()), params?.cursor);
  });
  server.setRequestHandler(ListResourceTemplatesRequestSchema, () => ({
    resourceTemplates: gate.hidesTasks ? [] : [...resourceTemplates],
  }));
  server.setRequestHandler(ReadResourceRequestSchema, async ({ params }) => {
    await tasks.restored();
    assertTasksShown(gate);
    const [shown, damaged] = [shownTo(params._meta, tasks.snapshots()), shownTo(params._meta, tasks.damaged)];
    return { contents: [await readResource(tasks, params.uri, shown, damaged)] };
  });
  server.setRequestHandler(SubscribeRequestSchema, ({ params }) => {
    assertTasksShown(gate);
    const caller = callerOf(params._meta);
    subscriptions.add(params.uri, (id) => !gate.hidesTask(id, caller) && tasks.isInReach(id, caller));
    return {};
  });
  server.setRequestHandler(UnsubscribeRequestSchema, ({ params }) => {
    subscriptions.remove(params.uri);
    return {};
  });
  return server;
}

/** A tool as `tools/list` gives it. */
export function listedTool({ name, title, description, annotations, inputSchema, outputSchema }: Tool) {
  return { name, title, description, annotations, inputSchema, outputSchema };
}

/** What a session's policy hides, as one text. */
function hiddenOf({ tools, gate }: McpParts): string {
  const names = tools.map(({ name }) => name).filter((name) => gate.isHidden(name));
  return [...names, gate.hidesTasks].join(' ');
}

/** A caller that may not listen to tasks may not read them either. */
function assertTasksShown({ hidesTasks }: ToolGate): void {
  if (hidesTasks)
    throw new McpError(ErrorCode.InvalidRequest, 'The policy shows no tasks, because wait-task is denied.');
}

/** Who calls, and how the person behind it can be asked. */
interface Calling {
  readonly callerOf: (meta: Meta) => CallerId;
  readonly client: string | null;
  /** Absent when the caller's program cannot ask. */
  readonly elicit: Elicit | undefined;
}

/** Size, then the reading of the arguments, then the policy, then the tool's own check of them, then the tool. */
async function callTool(
  parts: McpParts,
  params: unknown,
  extra: Extra,
  { callerOf, client, elicit }: Calling,
): Promise<CallToolResult> {
  const { gate } = parts;
  if (isTooDeep(params)) {
    gate.noteMalformed(callerOf(undefined), client, '', 'nested too deep');
    return failureOf(tooDeep(), parts.log);
  }
  const parsed = callParams.safeParse(params);
  if (!parsed.success) {
    const name = z.object({ name: z.string() }).safeParse(params).data?.name ?? '';
    gate.noteMalformed(
      callerOf(undefined),
      client,
      name.slice(0, 100),
      JSON.stringify(params ?? null).slice(0, argumentsLimit),
    );
    throw new McpError(ErrorCode.InvalidParams, `Invalid tools/call: ${z.prettifyError(parsed.error)}`);
  }
  const { name, arguments: given, _meta: meta } = parsed.data;
  const tool = parts.tools.find((one) => one.name === name);
  if (!tool) {
    const names = parts.tools.map((one) => one.name).join(', ');
    throw new McpError(ErrorCode.InvalidParams, `There is no tool "${name.slice(0, 100)}". Tools: ${names}.`);
  }
  const over = new CallEnd(extra.signal);
  try {
    if (jsonBytes(given) > argumentsLimit) throw tooLarge();
    assertNoPrototype(params);
    const args = readArguments(tool.inputSchema, given);
    // JSON text in an argument may bring more levels.
    if (isTooDeep(args)) throw tooDeep();
    const caller = callerOf(meta);
    const isShown = (id: TaskId): boolean => !gate.hidesTask(id, caller) && parts.tasks.isInReach(id, caller);
    const asked = parts.elicitation() ? elicit : undefined;
    const call = {
      ...toolCall(caller, meta, extra, over, parts.heartbeatMs ?? defaultHeartbeatMs),
      elicit: asked,
      isShown,
    };
    // Right after a reload the tasks are not there yet, and would be called unknown.
    await parts.tasks.restored();
    const { signal, progress } = call;
    const ask = elicit && askToApprove(elicit);
    const judged = judgedArguments(name, args, parts.tasks);
    const gated = { tool: name, args, judged, waits: waitOf(name, args), caller, client, signal, progress, ask };
    const context = { tasks: parts.tasks, now: Date.now };
    return success(await gate.pass(gated, (mayWait) => tool.run(args, { ...call, mayWait }, context)));
  } catch (error) {
    if (extra.signal.aborted && !(error instanceof CallError)) throw error;
    return failureOf(error, parts.log);
  } finally {
    over.reach();
  }
}

/** Zod leaves this field out without a word (seen with 4.1), so nothing would say that it is unknown. */
function assertNoPrototype(params: unknown): void {
  const given = (params as { readonly arguments?: object }).arguments ?? {};
  if (Object.hasOwn(given, '__proto__')) throw invalidArgument('unknown field "__proto__".', 'Leave it out.');
}

/** The moment at which the answer to a call is there. */
class CallEnd {
  private resolve: (handedOver: boolean) => void = () => undefined;
  /** Resolves to whether the answer was handed to a caller who still waited for it. */
  readonly handedOver = new Promise<boolean>((resolve) => (this.resolve = resolve));
  private readonly signal: AbortSignal;

  constructor(signal: AbortSignal) {
    this.signal = signal;
  }

  reach(): void {
    this.resolve(!this.signal.aborted);
  }
}

function tooDeep(): CallError {
  return invalidArgument(`The arguments are nested deeper than ${depthLimit} levels.`, 'Send them flatter.');
}

function tooLarge(): CallError {
  return invalidArgument(
    `The arguments are larger than ${argumentsLimit / 1024 / 1024} MB.`,
    'Put long text into a file in the workspace and name the file.',
  );
}

function toolCall(
  caller: CallerId,
  meta: Meta,
  extra: Extra,
  { handedOver }: CallEnd,
  everyMs: number,
): Omit<ToolCall, 'elicit' | 'isShown' | 'mayWait'> {
  const token = meta?.progressToken;
  const delivered = deliveryOfThisCall();
  const gone = new AbortController();
  void delivered.then((arrived) => {
    if (!arrived) gone.abort(new Error('The connection of the call is gone.'));
  });
  return {
    caller,
    signal: AbortSignal.any([extra.signal, gone.signal]),
    progress:
      typeof token === 'string' || typeof token === 'number'
        ? progressTo(token, extra, { over: handedOver, everyMs })
        : undefined,
    sent: { retryKey: retryKeyOf(meta), answered: handedOver.then((isHandedOver) => isHandedOver && delivered) },
  };
}

/**
 * Nobody reads a form and declines it within this time, in ms. `codex exec` does so in 2 ms, and a session of the Agent Host
 * that is idle at once (seen with Codex 0.169.0 and VS Code 1.139.1).
 */
const fastestPersonMs = 250;

function elicitFrom(extra: Extra): Elicit {
  return async (params, { signal, timeoutMs: timeout }) => {
    // The first request of a session has the id 0, whose cancellation the SDK's clients ignore (seen with 1.32.2): so a
    // ping, which also tells whether the caller is there.
    await extra.sendRequest({ method: 'ping' }, EmptyResultSchema, { signal, timeout });
    const asked = performance.now();
    const result = await extra.sendRequest({ method: 'elicitation/create', params }, ElicitResultSchema, {
      signal,
      timeout,
    });
    // A client with nobody in front of it declines by itself: that is no answer of a person.
    if (result.action !== 'accept' && performance.now() - asked < fastestPersonMs) throw new Error('Nobody was asked.');
    return result;
  };
}

/** A client that waits for signs of life gives up after a minute or so of silence. */
const defaultHeartbeatMs = 15_000;

function progressTo(
  progressToken: string | number,
  extra: Extra,
  { over, everyMs }: { readonly over: Promise<unknown>; readonly everyMs: number },
): (message: string) => void {
  let progress = 0;
  let latest = 'It is still at work.';
  const heartbeat = setInterval(() => say(latest), everyMs).unref();
  void over.then(() => clearInterval(heartbeat));
  const say = (message: string): void => {
    latest = message;
    progress++;
    const notification = { method: 'notifications/progress' as const, params: { progressToken, progress, message } };
    // The caller may be gone by now; its call ends by itself then.
    extra.sendNotification(notification).catch(() => undefined);
  };
  return say;
}

/** VS Code names the conversation and the request of a call; both stay the same when it sends the call again. */
function retryKeyOf(meta: Meta): string | undefined {
  const names = [meta?.['vscode.conversationId'], meta?.['vscode.requestId']];
  return names.every((name) => typeof name === 'string') ? hashOf(names) : undefined;
}
