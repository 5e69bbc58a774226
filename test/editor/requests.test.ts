import { access, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { type Demo, startDemo } from '../rig/demo';
import { type Editor, startEditor } from '../rig/editor';
import { callRefused } from '../rig/mcpRig';
import { until } from '../rig/until';
import { connectAttached } from '../rig/window';
import { Workbench } from './workbench';

let demo: Demo;
let editor: Editor;
let workbench: Workbench;

beforeAll(async () => {
  demo = await startDemo(0);
  const askCopilot = [
    'call spawn-task {"prompt": "run!: touch from-copilot.txt"}',
    'call wait-task {"task_id": "{{task_id}}"}',
    'call wait-task {"task_id": "{{task_id}}", "timeout_ms": 60000}',
    'call wait-task {"task_id": "{{task_id}}", "timeout_ms": 60000}',
  ];
  editor = await startEditor({
    workspace: demo.workspace,
    env: { ...demo.env, LAB_QUERY: askCopilot.join('\n') },
    settings: {
      'codexWorker.codexPath': demo.codexPath,
      // What is left at work ends with the editor: the next one begins with nothing.
      'codexWorker.keepRunning': 'never',
      'codexWorker.usageLimit': 'wait',
      'workbench.colorTheme': 'Default Dark Modern',
      'workbench.secondarySideBar.defaultVisibility': 'hidden',
    },
    extensions: [join(import.meta.dirname, 'chatModel')],
  });
  workbench = await Workbench.open(editor);
});
afterAll(async () => {
  await workbench.close();
  await editor.stop();
  await demo.stop();
});
afterEach(async ({ task }) => {
  if (task.result?.state === 'fail') await workbench.shot(`failed ${task.name.slice(0, 40)}`);
});

const toast = (text: string) => workbench.page.locator('.notification-toast', { hasText: text });
const exists = (name: string): Promise<boolean> =>
  access(join(demo.workspace, name)).then(
    () => true,
    () => false,
  );

async function nobodyAsks(): Promise<void> {
  await until('nobody asks', async () => (await workbench.statusBar('needs you').count()) === 0);
}

it('a policy that is taken away while a task is at work goes on holding until the person wants the new one', async () => {
  const dir = join(demo.workspace, '.codex-worker');
  const client = await connectToWindow();
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, 'policy.yaml'), 'tools: {message-task: {rules: [{action: deny, reason: Nobody talks.}]}}');
  const code = async (): Promise<string> => {
    const result = await client.callTool({
      name: 'message-task',
      arguments: { task_id: 'bold-falcon-42', message: 'x' },
    });
    return (result.structuredContent as { error: { code: string } }).error.code;
  };
  await until('it holds', async () => (await code()) === 'policy_denied');
  await workbench.newTask('slow 90s 41');
  await workbench.row('slow 90s 41').waitFor();
  await rm(dir, { recursive: true });
  const told = toast('was changed while tasks are at work');
  await told.waitFor();
  expect(await code()).toBe('policy_denied');
  await workbench.still();
  await workbench.shot('policy held');
  await told.getByRole('button', { name: 'Use the New Policy' }).click();
  await until('it is let go', async () => (await code()) === 'not_found');
  await workbench.palette('Codex Worker: Use the New Policy');
  await toast('No policy waits').waitFor();
  await workbench.inline('slow 90s 41', 'Cancel Task');
  await workbench.statusBar().filter({ hasNotText: 'running' }).waitFor();
  await client.close();
});

it('a person approves a command from the notification, one notification at a time, and sees who finished', async () => {
  await workbench.showTasks();
  await workbench.newTask('run!: touch one.txt');
  await workbench.row('Allow to run: touch one.txt?').waitFor();
  expect(await toast('touch one.txt').count()).toBe(0);
  await workbench.newTask('run!: touch two.txt');
  await workbench.row('Allow to run: touch two.txt?').waitFor();
  await workbench.palette('Notifications: Clear All Notifications');
  await workbench.showExplorer();
  await toast('asks to run: touch one.txt (It needs to leave the sandbox.), and 1 more').waitFor();
  await workbench.still();
  expect(await workbench.page.locator('.notification-toast', { hasText: 'asks to' }).count()).toBe(1);
  await workbench.shot('notification');
  await toast('touch one.txt').getByRole('link', { name: 'Approve' }).click();
  await until('it ran', () => exists('one.txt'));
  await toast('asks to run: touch two.txt (It needs to leave the sandbox.) —').waitFor();
  await toast('touch two.txt').getByRole('link', { name: 'Reject' }).click();
  await toast('asks to').waitFor({ state: 'hidden' });
  await nobodyAsks();
  await workbench.statusBar('Codex finished').waitFor();
  expect(await exists('two.txt')).toBe(false);
  await workbench.showTasks();
});

it('while the tasks are hidden the badge counts, and a notification leaves the keyboard alone', async () => {
  await workbench.newTask('par: slow 4s 2 || run!: touch badge.txt');
  await workbench.showExplorer();
  await workbench.openFile('greet.js');
  await workbench.page.keyboard.type('// typing');
  await toast('touch badge.txt').waitFor();
  await workbench.page.keyboard.type(' goes on ');
  await workbench.page.locator('.monaco-editor .view-line', { hasText: 'typing goes on' }).waitFor();
  expect(await workbench.badge.textContent()).toBe('1');
  await toast('touch badge.txt').getByRole('link', { name: 'Reject' }).click();
  await nobodyAsks();
  await workbench.badge.waitFor({ state: 'detached' });
  await workbench.palette('File: Revert File');
  await workbench.showTasks();
});

it('a notification goes when the request is put off, answered elsewhere, or its task is in view', async () => {
  await workbench.newTask('run!: touch [Approve](command:codexWorker.cancelAll).txt');
  await workbench.showExplorer();
  await toast('touch ［Approve］').waitFor();
  expect(await toast('touch').getByRole('link').allTextContents()).toEqual(['Approve', 'Reject', 'Decide…']);
  await toast('touch').getByRole('button', { name: 'Later' }).click();
  await toast('touch').waitFor({ state: 'hidden' });
  await workbench.statusBar('still waits for you').waitFor();
  await workbench.showTasks();
  await workbench.newTask('run!: touch three.txt');
  await workbench.row('Allow to run: touch three.txt?').waitFor();
  await workbench.showExplorer();
  await toast('touch three.txt').waitFor();
  await workbench.showTasks();
  await toast('touch three.txt').waitFor({ state: 'hidden' });
  await workbench.inline('Allow to run: touch three.txt?', 'Reject');
  await workbench.palette('Codex Worker: Decide…');
  await workbench.pick('［Approve］').or(workbench.pick('[Approve]')).click();
  await workbench.pick('Always allow').waitFor();
  await workbench.still();
  await workbench.shot('deciding');
  await workbench.pick('Reject and stop').click();
  await nobodyAsks();
});

it('a person approves from the palette', async () => {
  await workbench.newTask('run!: touch four.txt');
  await workbench.row('Allow to run: touch four.txt?').waitFor();
  await workbench.palette('Codex Worker: Approve');
  await workbench.pick('touch four.txt').click();
  await until('it ran', () => exists('four.txt'));
  await nobodyAsks();
});

it('a person reviews a patch in the diff editor and rejects it there', async () => {
  const before = await readFile(join(demo.workspace, 'src/greet.js'), 'utf8');
  const patch = String.raw`*** Begin Patch\n*** Update File: src/greet.js\n@@\n-  return 'Hello ' + name;\n+  return 'Goodbye ' + name;\n*** End Patch`;
  await workbench.newTask(`patch-raw: ${patch}`, { profile: 'Ask' });
  await workbench.row('Allow to change src/greet.js?').waitFor();
  await workbench.inline('Allow to change src/greet.js?', 'Review Changes');
  const tab = workbench.page.locator('.tab', { hasText: 'Codex wants to change greet.js' });
  await tab.waitFor();
  const side = (name: string, text: string) =>
    workbench.page.locator(`.monaco-diff-editor .editor.${name} .view-line`, { hasText: text }).first();
  await side('original', 'Hello').waitFor();
  await side('modified', 'Goodbye').waitFor();
  await workbench.shot('review');
  await workbench.page.locator('.editor-actions .action-label[aria-label^="Reject"]').first().click();
  await tab.waitFor({ state: 'hidden' });
  await nobodyAsks();
  expect(await readFile(join(demo.workspace, 'src/greet.js'), 'utf8')).toBe(before);
});

it('a person approves a patch of several files where they are shown together', async () => {
  const patch = String.raw`*** Begin Patch\n*** Add File: six.txt\n+6\n*** Add File: seven.txt\n+7\n*** End Patch`;
  await workbench.newTask(`patch-raw: ${patch}`, { profile: 'Ask' });
  await workbench.row('Allow to change').waitFor();
  await workbench.inline('Allow to change', 'Review Changes');
  const tab = workbench.page.locator('.tab', { hasText: 'Codex wants to change 2 files' });
  await tab.waitFor();
  await workbench.page.locator('.multiDiffEntry', { hasText: 'seven.txt' }).waitFor();
  await workbench.shot('review several');
  await workbench.page.locator('.editor-actions .action-label[aria-label^="Approve"]').first().click();
  await until('it is made', async () => (await exists('six.txt')) && (await exists('seven.txt')));
  await tab.waitFor({ state: 'hidden' });
  await nobodyAsks();
});

it('a person sees all of a long command before deciding', async () => {
  const long = `touch eight.txt ${'# and more '.repeat(40)}`;
  await workbench.newTask(`run!: ${long}`);
  await workbench.row('Allow to run: touch eight.txt').waitFor();
  await workbench.showExplorer();
  await toast('touch eight.txt').waitFor();
  expect(await toast('touch eight.txt').getByRole('link').allTextContents()).toEqual(['Show all', 'Reject']);
  await toast('touch eight.txt').getByRole('link', { name: 'Show all' }).click();
  await workbench.page.locator('.editor-instance .view-line', { hasText: 'asks to run' }).waitFor();
  await workbench.shot('show all');
  await workbench.page.locator('.editor-actions .action-label[aria-label^="Approve"]').first().click();
  await until('it ran', () => exists('eight.txt'));
  await workbench.showTasks();
});

it('a person answers a question with an option, and with free text', async () => {
  await workbench.newTask('ask Which colour?');
  await workbench.row('Which colour?').nth(1).waitFor();
  await workbench.shot('question');
  await workbench.inline('ask Which colour?', 'Answer');
  await workbench.pick('Beta').click();
  await nobodyAsks();
  await workbench.newTask('ask Which size?');
  await workbench.row('Which size?').nth(1).waitFor();
  await workbench.palette('Codex Worker: Answer');
  await workbench.pick('Which size?').click();
  await workbench.pick('Another answer').click();
  await workbench.input.fill('enormous');
  await workbench.input.press('Enter');
  await nobodyAsks();
  const log = workbench.page.locator('.panel .view-line', { hasText: 'enormous' }).first();
  await workbench.inline('ask Which size?', 'Open Log');
  await log.waitFor();
});

it('a task at the usage limit is paused, asks nobody, and is given up when the person wants that', async () => {
  await workbench.newTask('fail 429 code=usage_limit_reached');
  await workbench.row('paused, goes on').first().waitFor();
  await workbench.statusBar('1 paused').waitFor();
  await workbench.shot('paused');
  expect(await toast('usage limit').count()).toBe(0);
  await workbench.inline('fail 429', 'Reject');
  await workbench.statusBar('paused').waitFor({ state: 'hidden' });
});

it('a task with full access is confirmed each time, and is not started without', async () => {
  const dialog = workbench.page.locator('.monaco-dialog-box', { hasText: 'Full access for this task?' });
  await workbench.newTask('run: touch five.txt', { profile: 'Full access', waits: false });
  await dialog.waitFor();
  await workbench.shot('full access');
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await dialog.waitFor({ state: 'hidden' });
  expect(await workbench.row('touch five.txt').count()).toBe(0);
  await workbench.newTask('run: touch five.txt', { profile: 'Full access', waits: false });
  await dialog.getByRole('button', { name: 'Run with full access' }).click();
  await until('it ran', () => exists('five.txt'));
});

it("Copilot's agent waits again and goes on by itself after the person has answered; a later answer learns who was first", async () => {
  await workbench.askCopilot();
  await workbench.row('Allow to run: touch from-copilot.txt?').waitFor();
  await workbench.approve('Allow to run: touch from-copilot.txt?');
  await workbench.answers('"status":"completed"').waitFor({ timeout: 60_000 });
  await workbench.shot('agent goes on');
  expect(await exists('from-copilot.txt')).toBe(true);
  const text = await workbench.answers('ANSWER').last().innerText();
  const task_id = /"task_id":\s*"([a-z0-9-]+)"/.exec(text)?.[1];
  const client = await connectToWindow();
  const late = { task_id, type: 'command_approval', request_id: 'r1', decision: 'reject' };
  expect((await callRefused(client, 'respond-task', late)).error).toMatchObject({
    code: 'already_answered',
    message: 'Request r1 was already answered by the person: accepted.',
  });
  await client.close();
});

it('a call that would cancel the work of others waits for the person', async () => {
  const client = await connectToWindow();
  const cancel = async (mark: string) => {
    await workbench.newTask(`slow 90s ${mark}`);
    const id = await until('it is there', async () => {
      const { contents } = await client.readResource({ uri: 'task:///all' });
      const line = (contents[0] as { text: string }).text.split('\n').find((one) => one.includes(`slow 90s ${mark}`));
      return /[a-z]+-[a-z]+-\d+/.exec(line ?? '')?.[0];
    });
    return client.callTool({ name: 'cancel-task', arguments: { task_id: id } });
  };
  const asks = toast('wants to call cancel-task');
  const denied = cancel('31');
  await asks.waitFor();
  await workbench.still();
  await workbench.shot('call approval');
  await asks.getByRole('link', { name: 'Deny' }).click();
  expect(await denied).toMatchObject({ isError: true, structuredContent: { error: { code: 'policy_denied' } } });
  await asks.waitFor({ state: 'hidden' });

  const once = cancel('32');
  await asks.getByRole('button', { name: 'Later' }).click();
  await asks.waitFor({ state: 'hidden' });
  await workbench.statusBar('1 call waits').waitFor();
  await workbench.palette('Codex Worker: Show Recent Decisions');
  const waiting = workbench.page.locator('.monaco-list-row', { hasText: /cancel-task.*waits for you/ });
  await waiting.waitFor();
  await workbench.shot('waiting call');
  await waiting.click();
  await workbench.pick('Allow once').waitFor();
  await workbench.shot('call decision');
  await workbench.pick('Allow once').click();
  expect(await once).toMatchObject({ structuredContent: { cancelled: [expect.any(String)] } });

  const session = cancel('33');
  await asks.getByRole('link', { name: 'Allow for this session' }).click();
  expect(await session).toMatchObject({ structuredContent: { cancelled: [expect.any(String)] } });
  expect(await cancel('34')).toMatchObject({ structuredContent: { cancelled: [expect.any(String)] } });
  await workbench.palette('Codex Worker: Show Recent Decisions');
  const decisions = workbench.page.locator('.tree-explorer-viewlet-tree-view', { hasText: /tasks of others/ });
  await decisions
    .locator('.monaco-list-row', { hasText: /cancel-task.*session.*tasks of others/ })
    .first()
    .waitFor();
  await workbench.shot('recent decisions');
  await client.close();
});

it('a command that the policy denies is declined, and the model is told why', async () => {
  const path = join(demo.workspace, '.codex-worker', 'policy.yaml');
  await mkdir(join(demo.workspace, '.codex-worker'), { recursive: true });
  const denied =
    '{action: deny, reason: Nothing is touched here., conditions: [{path: args.programs, op: contains, value: touch}]}';
  await writeFile(path, `tools: {codex/command: {rules: [${denied}]}}`);
  // Six with the five of the built-in policy.
  await workbench.page.locator('.pane-header', { hasText: 'policy: 6 rules' }).waitFor();
  await workbench.newTask('run: touch denied.txt');
  await until('the model is told', () =>
    demo.model.requests.some(({ input }) => JSON.stringify(input).includes('Nothing is touched here.')),
  );
  await workbench.inline('touch denied.txt', 'Open Log');
  const log = workbench.page.locator('.panel .view-lines');
  await log.filter({ hasText: /policy\].rule/ }).waitFor();
  await workbench.shot('command denied');
  expect(await exists('denied.txt')).toBe(false);
  await rm(path);
});

it('a mistake in a policy shows where it is, and the policy before it stays', async () => {
  await workbench.palette('Codex Worker: Create Policy');
  await workbench.pick('Policy of this workspace').click();
  await workbench.page.locator('.tab.active', { hasText: 'policy.yaml' }).waitFor();
  await workbench.page.locator('.editor-instance .monaco-editor.focused').waitFor();
  await workbench.page.keyboard.press('Control+Home');
  await workbench.page.keyboard.type('hide: [wait]\n');
  await workbench.page.locator('.squiggly-warning').first().waitFor();
  await workbench.palette('Problems: Focus on Problems View');
  await workbench.page.locator('.markers-panel', { hasText: 'there is no tool "wait"' }).waitFor();
  await workbench.still();
  await workbench.shot('policy advice');
  await workbench.page.locator('.editor-instance .monaco-editor .view-line').first().click();
  await workbench.page.keyboard.press('Control+Home');
  await workbench.page.keyboard.type('rule: one\n');
  await workbench.page.locator('.squiggly-error').first().waitFor();
  await workbench.page.keyboard.press('Control+S');
  await workbench.palette('Problems: Focus on Problems View');
  await workbench.page.locator('.markers-panel', { hasText: 'rule: unknown field "rule"' }).waitFor();
  await workbench.shot('policy mistake');
  await workbench.palette('Codex Worker: Validate Policy');
  await toast('What was good before stays in force').waitFor();
});

/** A client of this window's server, with what the person copies for one. */
/** A program that attaches to the window, as any other client does. */
async function connectToWindow() {
  const { client } = await connectAttached({ dataDir: demo.env.CODEX_WORKER_DATA ?? '', workspace: demo.workspace });
  return client;
}
