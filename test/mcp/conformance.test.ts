import { execa } from 'execa';
import { createServer, request as httpRequest, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Worker } from '../../src/worker';
import { type CodexRig, startCodexRig, startWorker } from '../rig/codexRig';
import { installEditor } from '../rig/installEditor';
import { startTestHost, type TestHost } from '../rig/mcpRig';

/** The scenarios of `@modelcontextprotocol/conformance` that are about a server like ours. */
const scenarios = [
  'server-initialize',
  'ping',
  'tools-list',
  'resources-list',
  'server-sse-multiple-streams',
  'dns-rebinding-protection',
];

const fixture = 'it calls a tool, resource or prompt of its own that only a test server has';
/** Every other scenario, and why it is left out. */
const leftOut: Readonly<Record<string, string>> = {
  'logging-set-level': 'we declare no logging',
  'completion-complete': 'we declare no completions',
  'tools-call-simple-text': fixture,
  'tools-call-image': fixture,
  'tools-call-audio': fixture,
  'tools-call-embedded-resource': fixture,
  'tools-call-mixed-content': fixture,
  'tools-call-with-logging': fixture,
  'tools-call-error': fixture,
  'tools-call-with-progress': fixture,
  'tools-call-sampling': fixture,
  'tools-call-elicitation': fixture,
  'json-schema-2020-12': fixture,
  'elicitation-sep1034-defaults': fixture,
  'elicitation-sep1330-enums': fixture,
  'server-sse-polling': fixture,
  'resources-read-text': fixture,
  'resources-read-binary': fixture,
  'resources-templates-read': fixture,
  'resources-subscribe': fixture,
  'resources-unsubscribe': fixture,
  'prompts-list': 'we declare no prompts',
  'prompts-get-simple': 'we declare no prompts',
  'prompts-get-with-args': 'we declare no prompts',
  'prompts-get-embedded-resource': 'we declare no prompts',
  'prompts-get-with-image': 'we declare no prompts',
};

const program = join(import.meta.dirname, '../../node_modules/@modelcontextprotocol/conformance/dist/index.js');

let rig: CodexRig;
let worker: Worker;
let host: TestHost;
let proxy: Server;
let node: string;

beforeAll(async () => {
  const isOld = Number(process.versions.node.split('.', 1)[0]) < 24;
  node = isOld ? (await installEditor(() => undefined)).node : process.execPath;
  rig = await startCodexRig();
  worker = await startWorker(rig);
  host = await startTestHost(worker, 'tcp');
  proxy = await startProxy(new URL(host.uri), host.token);
});
afterAll(async () => {
  proxy.closeAllConnections();
  proxy.close();
  await host.close();
  await worker.shutDown();
  await rig.dispose();
});

/** Adds the token, which the tool cannot; keeps a Host that is not the proxy's own. */
async function startProxy(target: URL, token: string): Promise<Server> {
  const server = createServer((incoming, outgoing) => {
    const { port } = server.address() as AddressInfo;
    const own = new RegExp(`^(localhost|127\\.0\\.0\\.1):${port}$`);
    const host = own.test(incoming.headers.host ?? '') ? target.host : incoming.headers.host;
    const origin = incoming.headers.origin?.replace(String(port), target.port);
    const headers = {
      ...incoming.headers,
      host,
      authorization: `Bearer ${token}`,
      ...(origin === undefined ? {} : { origin }),
    };
    const sent = httpRequest(
      { host: target.hostname, port: target.port, path: incoming.url, method: incoming.method, headers },
      (response) => {
        outgoing.writeHead(response.statusCode ?? 500, response.headers);
        response.pipe(outgoing);
      },
    );
    sent.on('error', () => outgoing.destroy());
    outgoing.on('close', () => sent.destroy());
    incoming.pipe(sent);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

it('lists every scenario that the tool has as run or left out', async () => {
  const { stdout } = await execa(node, [program, 'list', '--server']);
  const known = [...stdout.matchAll(/^ {2}- (\S+) \[/gm)].map(([, name]) => name);
  expect([...scenarios, ...Object.keys(leftOut)].sort()).toEqual(known.sort());
});

it.each(scenarios)('conforms: %s', async (scenario) => {
  const { port } = proxy.address() as AddressInfo;
  const args = [program, 'server', '--url', `http://localhost:${port}/mcp`, '--scenario', scenario];
  const { exitCode, all } = await execa(node, args, { all: true, reject: false, timeout: 30_000 });
  expect(exitCode, all).toBe(0);
});
