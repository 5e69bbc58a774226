import { execa } from 'execa';
import { once } from 'node:events';
import type { CodexRig } from '../rig/codexRig';

type Json = Record<string, unknown>;

/** The least code that runs a task on `codex app-server`: what a script of one's own would do. */
export class BareScript {
  private nextId = 1;
  private rest = '';
  private readonly calls = new Map<number, (result: Json) => void>();
  private readonly listeners = new Set<(method: string, params: Json) => void>();
  private readonly child;
  private readonly rig: CodexRig;

  constructor(rig: CodexRig) {
    this.rig = rig;
    this.child = execa(rig.codexPath, ['app-server'], {
      env: rig.env,
      buffer: false,
      reject: false,
      stdin: 'pipe',
      stderr: 'ignore',
    });
    this.child.stdout.on('data', (chunk: Buffer) => {
      const lines = (this.rest + chunk.toString()).split('\n');
      this.rest = lines.pop() ?? '';
      for (const line of lines)
        this.receive(JSON.parse(line) as { id?: number; method?: string; result?: Json; params?: Json });
    });
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  async start(): Promise<void> {
    const clientInfo = { name: 'script', title: 'script', version: '1' };
    await this.call('initialize', { clientInfo, capabilities: { experimentalApi: true } });
    this.child.stdin.write('{"method":"initialized"}\n');
  }

  async thread(): Promise<string> {
    const params = { cwd: this.rig.workspace, approvalPolicy: 'never', sandbox: 'danger-full-access' };
    const { thread } = (await this.call('thread/start', params)) as { thread: { id: string } };
    return thread.id;
  }

  /** Starts a turn; resolves with its end. */
  async turn(threadId: string, text: string, onEvent?: (method: string) => void): Promise<void> {
    const done = new Promise<void>((resolve) => {
      const listener = (method: string, params: Json): void => {
        if (params.threadId !== threadId) return;
        onEvent?.(method);
        if (method !== 'turn/completed') return;
        this.listeners.delete(listener);
        resolve();
      };
      this.listeners.add(listener);
    });
    await this.call('turn/start', { threadId, input: [{ type: 'text', text, text_elements: [] }] });
    await done;
  }

  async run(text: string): Promise<void> {
    await this.turn(await this.thread(), text);
  }

  call(method: string, params: Json): Promise<Json> {
    const id = this.nextId++;
    this.child.stdin.write(`${JSON.stringify({ id, method, params })}\n`);
    return new Promise((resolve) => this.calls.set(id, resolve));
  }

  async stop(): Promise<void> {
    this.child.stdin.end();
    if (this.child.exitCode === null) await once(this.child, 'exit');
  }

  private receive({
    id,
    method,
    result,
    params,
  }: {
    id?: number;
    method?: string;
    result?: Json;
    params?: Json;
  }): void {
    if (method !== undefined) for (const listener of [...this.listeners]) listener(method, params ?? {});
    else if (id !== undefined) this.calls.get(id)?.(result ?? {});
  }
}
