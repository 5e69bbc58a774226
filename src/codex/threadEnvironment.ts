import { randomBytes } from 'node:crypto';
import { type AllowedSandbox, gateMethod, openResult } from '../execGate/gateProtocol';
import type { InnerGate } from '../core/innerGate';
import type { Sandbox } from '../core/ports';
import { gatedParams, gatedSetup, unenforceable } from './gatedThreads';
import { threadSandbox } from './protocol';
import type { RpcPeer } from './rpc';

/** How long Codex tries to reach the gate, which is on the same machine, in ms. */
const connectTimeoutMs = 10_000;

export interface EnvironmentOptions {
  readonly taskId: string;
  readonly cwd: string;
  readonly sandbox: Sandbox;
}

/** The place behind the gate in which all commands and MCP servers of one thread run; see execGate/. */
export class ThreadEnvironment {
  private readonly name: string;
  private readonly options: EnvironmentOptions;

  constructor(options: EnvironmentOptions) {
    this.options = options;
    this.name = `codex-worker-${options.taskId}`;
  }

  /** Parameters of `thread/start` and `turn/start`: without them nothing can run in the thread. */
  get params(): object {
    return { ...gatedParams, environments: [{ environmentId: this.name, cwd: this.options.cwd }] };
  }

  /** Opens it anew, so that a thread can be loaded; gives the configuration of that thread, and what is off in it. */
  async open(
    rpc: RpcPeer,
    gate: InnerGate,
    withServers = true,
  ): Promise<{ readonly config: Readonly<Record<string, unknown>>; readonly off: readonly string[] }> {
    const environment = this.name;
    const { config, servers, off } = await gatedSetup(rpc, { cwd: this.options.cwd, environment, withServers }, gate);
    const token = randomBytes(32).toString('hex');
    const answer = await rpc.request(gateMethod.open, { environment, token, servers, asksCalls: gate.holds });
    const { url } = openResult.parse(answer);
    const params = { environmentId: environment, execServerUrl: url, authBearerToken: token, connectTimeoutMs };
    await rpc.request('environment/add', params);
    return { config, off };
  }

  /** Lets a loaded thread work in it. Throws `policy_unenforceable` when its sandbox is another one than it should be. */
  async bind(rpc: RpcPeer, threadId: string, sandbox: unknown): Promise<void> {
    const allowed = allowedBy(sandbox, this.options);
    await rpc.request(gateMethod.bind, { environment: this.name, threadId, sandbox: allowed });
  }

  /** Ends what runs in it. The gate does that by itself when Codex unloads the thread. */
  async close(rpc: RpcPeer): Promise<void> {
    await rpc.request(gateMethod.close, { environment: this.name });
  }
}

function allowedBy(said: unknown, { cwd, sandbox: wanted }: EnvironmentOptions): AllowedSandbox {
  const sandbox = threadSandbox.safeParse(said).data;
  if (!sandbox || sandboxNames[sandbox.type] !== wanted) {
    throw unenforceable([`it began the thread with another sandbox than "${wanted}"`]);
  }
  if (sandbox.type === 'dangerFullAccess') return null;
  const writes = sandbox.type === 'workspaceWrite';
  const roots = sandbox.type === 'workspaceWrite' ? sandbox.writableRoots : [];
  return { cwd, network: sandbox.networkAccess, writesWorkspace: writes, roots };
}

const sandboxNames = {
  readOnly: 'read-only',
  workspaceWrite: 'workspace-write',
  dangerFullAccess: 'danger-full-access',
} as const satisfies Record<string, Sandbox>;
