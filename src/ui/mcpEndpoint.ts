import * as vscode from 'vscode';
import { userDataDir } from '../base/userDirs';
import { type Disposable, DisposableStore } from '../core/disposable';
import { hashOf } from '../core/hash';
import { messageOf } from '../core/errors';
import type { Log } from '../core/ports';
import { version } from '../version';
import { type HttpHost, newToken, type ServerDefinition, type WindowDoor, type Worker } from '../worker';
import { McpProviderId, SettingId } from './ids';
import { mcpTransport } from './settings';
import { WindowPresence } from './windowPresence';

const tokenKey = 'codexWorker.mcpToken';
export const serverName = 'codex-worker';
const windowVariable = 'CODEX_WORKER_WINDOW';

/**
 * How agents reach this window. The definition is there at once: a pipe that waits for the window, or what the setting
 * chooses in its place. The door that pipes come in by, and the file that names it, follow when the tasks are there.
 */
export class McpEndpoint implements vscode.Disposable {
  private readonly owned = new DisposableStore();
  private readonly changed = this.owned.add(new vscode.EventEmitter<void>());
  private opened = new Opening();
  private door: WindowDoor | null = null;
  private host: Promise<HttpHost> | null = null;
  private presence: WindowPresence | null = null;
  /** The window's id; another one only where a second window of the folder works beside the first. */
  private window: string;
  private readonly dataDir = userDataDir();
  private readonly context: vscode.ExtensionContext;
  private readonly log: Log;

  constructor(context: vscode.ExtensionContext, log: Log) {
    this.context = context;
    this.log = log;
    this.window = windowIdOf(context);
    this.startHost();
    this.attempt('The editor does not take our MCP server', () => this.owned.add(this.register()));
    this.owned.add(
      vscode.workspace.onDidChangeConfiguration((event) => {
        if (event.affectsConfiguration(SettingId.mcpTransport)) void this.restart();
      }),
    );
    this.nameInTerminals();
  }

  /** Opens the door, and lets other programs find it. Rejects when there can be none. */
  async open(worker: Worker): Promise<void> {
    this.opened.resolve(worker);
    if (worker.beside > 0) {
      this.window = `${windowIdOf(this.context)}-${worker.beside}`;
      this.nameInTerminals();
      this.changed.fire();
    }
    const door = await worker.openDoor();
    this.door = door;
    this.presence = this.owned.add(new WindowPresence({ dataDir: this.dataDir, id: this.window, door, log: this.log }));
    await this.presence.announce();
    this.log('info', `Programs find this window as ${this.window} in ${this.dataDir}`);
  }

  /** The worker could not be attached after all; another one may come. */
  async leave(): Promise<void> {
    await this.presence?.withdraw();
    const [door, host] = [this.door, this.host];
    [this.door, this.presence] = [null, null];
    // One that still waits for the worker waits for the next.
    await Promise.allSettled([door?.close(), door ? host?.then((one) => one.close()) : undefined]);
    if (!door) return;
    this.opened = new Opening();
    this.startHost();
  }

  /** The programs that are attached to this window, apart from the editor's own harnesses. */
  get attached(): readonly string[] {
    return this.door?.attached ?? [];
  }

  /** Programs attached or went; there are none before the door is open. */
  onDidChangeAttached(listener: () => void): Disposable {
    return this.door?.onDidChangeAttached(listener) ?? new DisposableStore();
  }

  /** The address and the token of a server that is reached without the pipe; null where the pipe is all. */
  async direct(): Promise<{ readonly uri: string; readonly token: string } | null> {
    const host = await this.host?.catch(() => {
      // One that could not be started is tried again.
      this.startHost();
      return this.host;
    });
    return host ? { uri: host.uri, token: await this.token() } : null;
  }

  /** What the editor gets, as plain data. */
  async definition(): Promise<ServerDefinition> {
    const direct = await this.direct();
    if (direct) return { kind: 'http', uri: direct.uri, headers: { Authorization: `Bearer ${direct.token}` } };
    const env = { ELECTRON_RUN_AS_NODE: '1', [windowVariable]: this.window, CODEX_WORKER_DATA: this.dataDir };
    return { kind: 'stdio', command: process.execPath, args: [this.context.asAbsolutePath('dist/attach.js')], env };
  }

  async close(): Promise<void> {
    // First of all nobody finds a window that is going.
    await this.presence?.withdraw();
    this.owned.dispose();
    this.opened.reject(new Error('The window is closing.'));
    await Promise.allSettled([this.door?.close(), this.host?.then((host) => host.close())]);
  }

  dispose(): void {
    void this.close();
  }

  private startHost(): void {
    const transport = mcpTransport();
    if (transport === 'stdio') {
      this.host = null;
      return;
    }
    const host = this.opened.worker.then(async (worker) => worker.serveHttp({ transport, token: await this.token() }));
    host.then(
      ({ uri }) => this.log('info', `MCP server at ${uri}`),
      (error: unknown) => this.log('error', `The MCP server could not start: ${messageOf(error)}`),
    );
    this.host = host;
  }

  private async restart(): Promise<void> {
    const before = this.host;
    this.startHost();
    await before?.then(
      (host) => host.close(),
      () => undefined,
    );
    this.changed.fire();
  }

  /** Kept for the window, so that a reload finds the same one. */
  private async token(): Promise<string> {
    const key = `${tokenKey}:${this.context.storageUri?.path ?? ''}`;
    const token = (await this.context.secrets.get(key)) ?? newToken();
    await this.context.secrets.store(key, token);
    return token;
  }

  /** A client that is started in a terminal of this window attaches to this window. */
  private nameInTerminals(): void {
    this.attempt('Terminals do not get the name of this window', () => {
      const variables = this.context.environmentVariableCollection;
      variables.description = 'Names this window to programs that attach to its Codex tasks.';
      variables.replace(windowVariable, this.window);
    });
  }

  /** An editor that is built from another one's source may lack a part; everything else works without it. */
  private attempt(trouble: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.log('error', `${trouble}: ${messageOf(error)}`);
    }
  }

  private register(): vscode.Disposable {
    return vscode.lm.registerMcpServerDefinitionProvider(McpProviderId, {
      onDidChangeMcpServerDefinitions: this.changed.event,
      provideMcpServerDefinitions: async () => {
        // A version that changes cancels the open calls of the editor's own agent (seen with 1.139): only an update may.
        const definition = await this.definition();
        if (definition.kind === 'http') {
          const { uri, headers } = definition;
          return [new vscode.McpHttpServerDefinition(serverName, vscode.Uri.parse(uri), { ...headers }, version)];
        }
        const { command, args, env } = definition;
        return [new vscode.McpStdioServerDefinition(serverName, command, [...args], { ...env }, version)];
      },
      resolveMcpServerDefinition: (definition) => definition,
    });
  }
}

/** The worker, as soon as there is one. */
class Opening {
  resolve: (worker: Worker) => void = () => undefined;
  reject: (error: Error) => void = () => undefined;
  readonly worker = new Promise<Worker>((resolve, reject) => {
    this.resolve = resolve;
    this.reject = reject;
  });

  constructor() {
    // Whoever waits for it is told; nobody may.
    this.worker.catch(() => undefined);
  }
}

/** The same over reloads, and known at once: of the place where the editor keeps what belongs to this window. */
function windowIdOf({ storageUri, globalStorageUri }: vscode.ExtensionContext): string {
  return hashOf((storageUri ?? globalStorageUri).fsPath).slice(0, 16);
}
