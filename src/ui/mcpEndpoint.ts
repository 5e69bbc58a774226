import * as vscode from 'vscode';
import { DisposableStore } from '../core/disposable';
import { messageOf } from '../core/errors';
import type { Log } from '../core/ports';
import type { HttpHost, Worker } from '../worker';
import { newToken } from '../worker';
import { McpProviderId, SettingId } from './ids';
import { mcpTransport } from './settings';

const tokenKey = 'codexWorker.mcpToken';

/** Serves MCP for this window, and tells the editor's MCP client where. */
export class McpEndpoint implements vscode.Disposable {
  private readonly owned = new DisposableStore();
  private readonly changed = this.owned.add(new vscode.EventEmitter<void>());
  private host: Promise<HttpHost>;
  readonly token: string;
  private readonly worker: Worker;
  private readonly log: Log;

  private constructor(worker: Worker, token: string, log: Log) {
    this.worker = worker;
    this.token = token;
    this.log = log;
    this.host = this.start();
    this.owned.add(this.register());
    this.owned.add(
      vscode.workspace.onDidChangeConfiguration((event) => {
        if (event.affectsConfiguration(SettingId.mcpTransport)) void this.restart();
      }),
    );
  }

  /** The token is kept for the window, so that a reload finds the same one. */
  static async create(context: vscode.ExtensionContext, worker: Worker, log: Log): Promise<McpEndpoint> {
    const key = `${tokenKey}:${context.storageUri?.path ?? ''}`;
    const token = (await context.secrets.get(key)) ?? newToken();
    await context.secrets.store(key, token);
    return new McpEndpoint(worker, token, log);
  }

  /** Where the server is reached; one that could not be started is tried again. */
  async uri(): Promise<string> {
    const host = await this.host.catch(() => {
      this.host = this.start();
      return this.host;
    });
    return host.uri;
  }

  async close(): Promise<void> {
    this.owned.dispose();
    await this.host.then(
      (host) => host.close(),
      () => undefined,
    );
  }

  dispose(): void {
    void this.close();
  }

  private start(): Promise<HttpHost> {
    const host = this.worker.serveHttp({ transport: mcpTransport(), token: this.token });
    host.then(
      ({ uri }) => this.log('info', `MCP server at ${uri}`),
      (error: unknown) => this.log('error', `The MCP server could not start: ${messageOf(error)}`),
    );
    return host;
  }

  private async restart(): Promise<void> {
    const before = this.host;
    this.host = this.start();
    await before.then(
      (host) => host.close(),
      () => undefined,
    );
    this.changed.fire();
  }

  private register(): vscode.Disposable {
    return vscode.lm.registerMcpServerDefinitionProvider(McpProviderId, {
      onDidChangeMcpServerDefinitions: this.changed.event,
      provideMcpServerDefinitions: async () => {
        const headers = { Authorization: `Bearer ${this.token}` };
        const uri = vscode.Uri.parse(await this.uri());
        // The editor keeps tools between runs: another version makes it ask again.
        return [new vscode.McpHttpServerDefinition('codex-worker', uri, headers, this.worker.mcpVersion)];
      },
      resolveMcpServerDefinition: (definition) => definition,
    });
  }
}
