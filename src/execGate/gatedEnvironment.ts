import { isConfined, type KnownSandboxes, pathOf } from './confinement';
import {
  changeParams,
  type ExecMessage,
  harmlessMcpMethods,
  mcpMessage,
  passingMethods,
  startParams,
  type StartParams,
  writeParams,
} from './execMessages';
import { type AllowedSandbox, declinedReason, gateMethod, type GateQuestion } from './gateProtocol';
import type { ServerWatch } from './serverWatch';

export interface EnvironmentHost {
  readonly watch: ServerWatch;
  readonly sandboxes: KnownSandboxes;
  /** Whether `holds` came true within the time in which Codex tells what it does. */
  settled(holds: () => boolean): Promise<boolean>;
  /** Resolves to false, too, when the turn is over before somebody answered. */
  ask(question: GateQuestion): Promise<boolean>;
}

/** See `openParams`. */
export interface EnvironmentOptions {
  readonly asksCalls: boolean;
  readonly servers: readonly { readonly name: string; readonly argv: readonly string[] }[];
}

/** Why a message is not let through; Codex tells its model. */
export class Refusal extends Error {}

const callsKept = 10_000;
const serversKept = 1_000;

interface BoundThread {
  readonly id: string;
  readonly sandbox: AllowedSandbox;
}

/** It is asked for once for all its files. */
interface AskedChange {
  readonly turnId: string;
  readonly accepted: Promise<boolean>;
}

/**
 * Judges what Codex wants done for one thread, message by message: it waits for an answer to what has to be asked, and throws a
 * `Refusal` for what is not let through. Nothing passes that it does not understand.
 */
export class GatedEnvironment {
  private thread: BoundThread | null = null;
  /** Calls of this turn that were asked about. */
  private calls = new Set<string>();
  private callsTurn = '';
  private readonly changes = new Map<string, AskedChange>();
  /** MCP servers that run, by process, and the names that they may have. */
  private readonly running = new Map<string, readonly string[]>();
  private readonly options: EnvironmentOptions;
  private readonly host: EnvironmentHost;

  constructor(options: EnvironmentOptions, host: EnvironmentHost) {
    this.options = options;
    this.host = host;
  }

  get threadId(): string | null {
    return this.thread?.id ?? null;
  }

  bind(thread: BoundThread): void {
    this.thread = thread;
  }

  /** What is passed on in place of a message. */
  async judge(message: ExecMessage): Promise<ExecMessage> {
    const { method } = message;
    switch (method) {
      case 'process/start':
        return this.start(message, startParams.parse(message.params));
      case 'process/write':
        await this.write(message);
        return message;
      case 'fs/writeFile':
      case 'fs/remove':
      case 'fs/createDirectory':
        return this.change(message, method);
      default:
        if (method !== undefined && passingMethods.has(method)) return message;
        throw new Refusal(`This version does not know "${method ?? 'a message without a method'}".`);
    }
  }

  private async start(message: ExecMessage, params: StartParams): Promise<ExecMessage> {
    const { metadata, argv, tty, pipeStdin, arg0 } = params;
    if (!metadata) {
      this.startServer(params);
      return message;
    }
    const thread = this.boundTo(metadata.threadId);
    if (tty || pipeStdin) throw new Refusal('A command here has no terminal and takes no input.');
    if ((arg0 ?? null) !== null) throw new Refusal('The program would run under another name than its own.');
    const cwd = pathOf(params.cwd);
    if (cwd === undefined) throw new Refusal('The directory of the command is not a local path.');
    const sandbox = this.confined(params.sandbox, thread);
    const turnId = await this.turnOf(thread);
    this.once(turnId, metadata.toolCallId);
    const question = { method: gateMethod.command, params: { threadId: thread.id, turnId, argv, cwd } };
    if (!(await this.host.ask(question))) throw new Refusal(declinedReason);
    return { ...message, params: { ...params, sandbox } };
  }

  /** A call that was accepted runs once: its id is the model's to choose, and names nothing that was judged. */
  private once(turnId: string, callId: string): void {
    if (turnId !== this.callsTurn) this.calls = new Set();
    this.callsTurn = turnId;
    if (this.calls.has(callId)) throw new Refusal('This call was made already.');
    if (this.calls.size >= callsKept) throw new Refusal('There were too many calls in this turn.');
    this.calls.add(callId);
  }

  private startServer({ processId, argv, tty, pipeStdin }: StartParams): void {
    const wanted = JSON.stringify(argv);
    const names = this.options.servers.filter((one) => JSON.stringify(one.argv) === wanted).map(({ name }) => name);
    if (names.length === 0 || tty || !pipeStdin) {
      throw new Refusal('It is no command of a tool, and no MCP server that is configured.');
    }
    if (this.running.size >= serversKept) throw new Refusal('There were too many MCP servers.');
    this.running.set(processId, names);
  }

  private async write({ params }: ExecMessage): Promise<void> {
    const { processId, chunk } = writeParams.parse(params);
    const names = this.running.get(processId);
    if (!names) throw new Refusal('A command here takes no input.');
    const text = Buffer.from(chunk, 'base64').toString('utf8');
    // Codex writes whole messages, a line each (seen with one of 300,000 characters).
    if (!text.endsWith('\n')) throw new Refusal('A part of a message cannot be judged.');
    for (const line of text.split('\n')) if (line.trim() !== '') await this.mcpMessage(names, line);
  }

  private async mcpMessage(names: readonly string[], line: string): Promise<void> {
    const { method, params = {} } = mcpMessage.parse(JSON.parse(line));
    // Without a method it is an answer to what the server asked.
    if (method === undefined || harmlessMcpMethods.has(method)) return;
    const call = mcpCall(method, params);
    if (!this.options.asksCalls) return;
    if (!call) throw new Refusal(`This version does not know the MCP message "${method}".`);
    const { thread } = this;
    if (!thread) throw new Refusal('No thread has begun.');
    const turnId = await this.turnOf(thread);
    if (this.host.watch.takeTicket(thread.id, names, call.tool, call.arguments)) return;
    const server = names[0] ?? '';
    const question = { method: gateMethod.toolCall, params: { threadId: thread.id, turnId, server, ...call } };
    if (!(await this.host.ask(question))) throw new Refusal(declinedReason);
  }

  private async change(message: ExecMessage, method: string): Promise<ExecMessage> {
    const params = changeParams.parse(message.params);
    const { thread } = this;
    if (!thread) throw new Refusal('No thread has begun.');
    const path = pathOf(params.path);
    if (path === undefined) throw new Refusal('It is not a local path.');
    const sandbox = this.confined(params.sandbox, thread);
    const names = method === 'fs/createDirectory' ? isAbove(path) : (listed: string) => listed === path;
    const told = () => this.host.watch.changesOf(thread.id, names);
    if (!(await this.host.settled(() => told().length > 0))) {
      throw new Refusal('No change that Codex told of names this file.');
    }
    // Of two that name it it cannot be told which one it is.
    for (const { itemId, turnId } of told()) {
      if (!(await this.askChange(thread, itemId, turnId))) throw new Refusal(declinedReason);
    }
    return { ...message, params: { ...params, sandbox } };
  }

  private askChange({ id: threadId }: BoundThread, itemId: string, turnId: string): Promise<boolean> {
    for (const [key, asked] of this.changes) if (asked.turnId !== turnId) this.changes.delete(key);
    const known = this.changes.get(itemId);
    if (known) return known.accepted;
    const accepted = this.host.ask({ method: gateMethod.fileChange, params: { threadId, turnId, itemId } });
    this.changes.set(itemId, { turnId, accepted });
    return accepted;
  }

  private boundTo(threadId: string): BoundThread {
    if (this.thread?.id !== threadId) throw new Refusal('It is of a thread that nobody began here.');
    return this.thread;
  }

  private async turnOf({ id }: BoundThread): Promise<string> {
    await this.host.settled(() => this.host.watch.turnOf(id) !== undefined);
    const turnId = this.host.watch.turnOf(id);
    if (turnId === undefined) throw new Refusal('No turn runs.');
    return turnId;
  }

  /** The sandbox that something runs in: the one that Codex gives, or one of ours where a rule of Codex's would run it in none. */
  private confined(sandbox: unknown, { sandbox: allowed }: BoundThread): unknown {
    if (allowed === null) return sandbox;
    if (isConfined(sandbox, allowed)) {
      this.host.sandboxes.learn(sandbox);
      return sandbox;
    }
    if ((sandbox ?? null) !== null) throw new Refusal('It would get more than the sandbox of this task.');
    const own = this.host.sandboxes.make(allowed);
    if (own !== null) return own;
    throw new Refusal(
      'A rule of Codex would take it out of the sandbox of this task. Run another command first, such as "true", then this one again: then it runs inside.',
    );
  }
}

/** Whether a directory is one in which a listed path lies. */
function isAbove(directory: string): (listed: string) => boolean {
  const prefix = /[\\/]$/.test(directory) ? directory : `${directory}${directory.includes('\\') ? '\\' : '/'}`;
  return (listed) => listed.startsWith(prefix);
}

/** What an MCP message does, in the names of Codex's own tools; undefined for one that is not known. */
function mcpCall(
  method: string,
  params: Readonly<Record<string, unknown>>,
): { readonly tool: string; readonly arguments: unknown } | undefined {
  if (method === 'tools/call') return { tool: String(params.name), arguments: params.arguments ?? {} };
  if (method === 'resources/read') return { tool: 'read_mcp_resource', arguments: { uri: params.uri } };
  return undefined;
}
