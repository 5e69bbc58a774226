import { build } from 'esbuild';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type CodexRig, startCodexRig } from '../rig/codexRig';
import { type Browser, type Editor, enableCopilot, startBrowser, startEditor } from '../rig/editor';

const root = join(import.meta.dirname, '../..');
const suite = join(root, 'out/test/agentSuite.cjs');

let rig: CodexRig;
let editor: Editor;
let browser: Browser;
const lines: string[] = [];

beforeAll(async () => {
  await build({
    entryPoints: [join(import.meta.dirname, 'suites/agentSuite.ts')],
    bundle: true,
    platform: 'node',
    format: 'cjs',
    external: ['vscode'],
    outfile: suite,
  });
  rig = await startCodexRig();
  editor = await startEditor({
    workspace: rig.workspace,
    env: rig.env,
    settings: { 'codexWorker.codexPath': rig.codexPath },
    smokeTestDriver: true,
    withOwnExtension: false,
    extensions: [join(import.meta.dirname, 'chatModel')],
  });
  browser = await startBrowser();
});
afterAll(async () => {
  await browser.close();
  await editor.stop();
  await rig.dispose();
});

it("Copilot's agent has the tools: waiting runs at once, spawning asks the person", async () => {
  const { page } = browser;
  const finished = new Promise<number>((resolve) => {
    void page.exposeFunction('codeAutomationLog', (_type: string, args: unknown[]) => lines.push(args.join(' ')));
    void page.exposeFunction('codeAutomationExit', (code: number) => resolve(code));
  });
  await enableCopilot(page, editor);
  const remote = (path: string): string => `vscode-remote://${editor.authority}${path}`;
  const payload = JSON.stringify([
    ['extensionDevelopmentPath', remote(root)],
    ['extensionTestsPath', remote(suite)],
  ]);
  await page.goto(`${editor.folderUrl}&payload=${encodeURIComponent(payload)}`);
  expect(await finished, lines.join('\n')).toBe(0);
});
