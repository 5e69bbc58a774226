/// <reference lib="dom" />
import { execa } from 'execa';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium, type BrowserContext, type Page } from 'playwright-core';
import manifest from '../../package.json';
import { installBrowser } from './installBrowser';
import { installEditor } from './installEditor';
import { until } from './until';

const root = join(import.meta.dirname, '../..');

export interface EditorOptions {
  readonly workspace: string;
  /** Added to the environment of the editor's server, and so of our extension. */
  readonly env: Readonly<Record<string, string>>;
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Runs suites in the extension host; modals are refused and tool confirmations accepted then. */
  readonly smokeTestDriver?: boolean;
  /** More extensions, as directories. */
  readonly extensions?: readonly string[];
  /** Installs our own extension; a suite brings it as the one under development. */
  readonly withOwnExtension?: boolean;
  readonly log?: (line: string) => void;
  /** Asked of every page, because whoever opens one has a terminal; absent for tests, whose editor lives for moments. */
  readonly token?: string;
}

/** A real VS Code server on loopback, in a directory of its own. */
export interface Editor {
  readonly url: string;
  readonly authority: string;
  /** Where the editor keeps what it knows. */
  readonly dataDir: string;
  /** The folder that the workbench opens. */
  readonly folderUrl: string;
  stop(): Promise<void>;
}

export async function startEditor(options: EditorOptions): Promise<Editor> {
  const log = options.log ?? (() => undefined);
  const { node, serverMain } = await installEditor(log);
  const dir = await mkdtemp(join(tmpdir(), 'codex-worker-editor-'));
  const [data, extensions] = [join(dir, 'data'), join(dir, 'extensions')];
  await writeSettings(data, options.settings ?? {});
  await mkdir(extensions, { recursive: true });
  if (options.withOwnExtension !== false) await installOwnExtension(extensions);
  for (const source of options.extensions ?? []) {
    await cp(source, join(extensions, source.replace(/^.*\//, '')), { recursive: true });
  }
  const port = await freePort();
  const server = execa(node, serverArguments(serverMain, port, data, extensions, options), {
    env: { ...options.env, NODE_OPTIONS: '' },
    stdin: 'ignore',
    buffer: false,
    reject: false,
    all: true,
  });
  server.all.on('data', (chunk: Buffer) => log(String(chunk).trimEnd()));
  const authority = `127.0.0.1:${port}`;
  const url = `http://${authority}`;
  await until(
    'the editor answers',
    () =>
      fetch(`${url}/version`).then(
        (response) => response.ok,
        () => false,
      ),
    30_000,
  );
  return {
    url,
    authority,
    dataDir: data,
    folderUrl: `${url}/?${options.token === undefined ? '' : `tkn=${options.token}&`}folder=${options.workspace}`,
    async stop() {
      await stopServer(server);
      await rm(dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
    },
  };
}

function serverArguments(
  main: string,
  port: number,
  data: string,
  extensions: string,
  options: EditorOptions,
): string[] {
  return [
    main,
    ...['--host', '127.0.0.1', '--port', String(port), '--accept-server-license-terms'],
    ...(options.token === undefined ? ['--without-connection-token'] : ['--connection-token', options.token]),
    ...['--server-data-dir', data, '--user-data-dir', data, '--extensions-dir', extensions],
    ...['--disable-workspace-trust', '--telemetry-level', 'off'],
    // Otherwise each closed page keeps an extension host alive for three hours.
    ...['--reconnection-grace-time', '1'],
    ...(options.smokeTestDriver ? ['--enable-smoke-test-driver'] : []),
  ];
}

async function stopServer(server: { kill(signal: NodeJS.Signals): boolean } & PromiseLike<unknown>): Promise<void> {
  server.kill('SIGTERM');
  const timer = setTimeout(() => server.kill('SIGKILL'), 8_000);
  await server;
  clearTimeout(timer);
}

async function writeSettings(data: string, settings: Readonly<Record<string, unknown>>): Promise<void> {
  const json = JSON.stringify({ ...settings, 'workbench.startupEditor': 'none', 'chat.commandCenter.enabled': false });
  for (const dir of ['Machine', 'User']) {
    await mkdir(join(data, dir), { recursive: true });
    await writeFile(join(data, dir, 'settings.json'), json);
  }
}

async function installOwnExtension(extensions: string): Promise<void> {
  const target = join(extensions, `${manifest.publisher}.${manifest.name}-${manifest.version}`);
  await mkdir(target);
  for (const name of ['package.json', 'dist', 'media']) {
    await cp(join(root, name), join(target, name), { recursive: true });
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}

/** Chromium without anything that asks the network. */
const browserFlags = [
  ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
  ...['--disable-component-update', '--disable-sync'],
];

export interface Browser {
  readonly context: BrowserContext;
  readonly page: Page;
  close(): Promise<void>;
}

export async function startBrowser(log: (line: string) => void = () => undefined): Promise<Browser> {
  const executablePath = await installBrowser(log);
  const profile = await mkdtemp(join(tmpdir(), 'codex-worker-browser-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath,
    headless: true,
    args: browserFlags,
    viewport: { width: 1280, height: 800 },
    permissions: ['clipboard-read', 'clipboard-write'],
  });
  const page = context.pages()[0] ?? (await context.newPage());
  return {
    context,
    page,
    async close() {
      await context.close();
      await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** Lets the bundled Copilot Chat run without a sign-in: the key is read once, when the workbench loads. */
export async function enableCopilot(page: Page, editor: Editor): Promise<void> {
  await page.goto(`${editor.url}/version`);
  await page.evaluate(
    () =>
      new Promise<void>((resolve, reject) => {
        const open = indexedDB.open('vscode-web-state-db-global', 1);
        open.onupgradeneeded = () => open.result.createObjectStore('ItemTable');
        open.onerror = () => reject(new Error('The state of the workbench cannot be opened.'));
        open.onsuccess = () => {
          const write = open.result.transaction('ItemTable', 'readwrite');
          write.objectStore('ItemTable').put('true', 'builtinChatExtensionEnablementMigration');
          write.oncomplete = () => {
            open.result.close();
            resolve();
          };
        };
      }),
  );
}
