import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { type Demo, startDemo } from '../rig/demo';
import { type Editor, startEditor } from '../rig/editor';
import { exists } from '../rig/installEditor';
import { connect } from '../rig/mcpRig';
import { processesWith } from '../rig/processes';
import { until } from '../rig/until';
import { Workbench } from './workbench';

let demo: Demo;
let editor: Editor;
let workbench: Workbench;
let home = '';

beforeAll(async () => {
  demo = await startDemo(0);
  home = await mkdtemp(join(tmpdir(), 'codex-worker-home-'));
  const askCopilot = [
    'call spawn-task {"prompt": "say delegated and done", "labels": ["from Copilot"]}',
    'call wait-task {"task_id": "{{task_id}}"}',
  ];
  editor = await startEditor({
    workspace: demo.workspace,
    // Other clients are configured below it.
    env: { ...demo.env, HOME: home, LAB_QUERY: askCopilot.join('\n') },
    settings: {
      'codexWorker.codexPath': demo.codexPath,
      // What a failed test left at work ends soon.
      'codexWorker.keepRunning': 1,
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
  await rm(home, { recursive: true, force: true, maxRetries: 5 });
});
afterEach(async ({ task }) => {
  if (task.result?.state === 'fail') await workbench.shot(`failed ${task.name.slice(0, 40)}`);
});

async function askCopilot(): Promise<void> {
  const answers = workbench.answers('delegated and done');
  const before = await answers.count();
  await workbench.askCopilot();
  await until('the answer', async () => (await answers.count()) > before, 60_000);
}

it('an empty list says how to begin, and Codex has not been started for it', async () => {
  await workbench.showTasks();
  await workbench.page
    .locator('.welcome-view-content', { hasText: 'Codex works on tasks in the background' })
    .waitFor();
  expect(processesWith(`${demo.codexPath} app-server`)).toEqual([]);
});

it("Copilot's agent spawns a task, waits and reports its result", async () => {
  await askCopilot();
  await workbench.showTasks();
  await workbench.row('say delegated and done').first().waitFor();
  await workbench.shot('agent');
  await workbench.palette('View: Hide Secondary Side Bar');
});

it('a person sees a task ask, allows it in the tree, and sees it finish', async () => {
  await workbench.newTask('Fix the failing test');
  await workbench.row('Needs you').waitFor();
  await workbench.row('Allow to run: node --test?').waitFor();
  await workbench.statusBar().filter({ hasText: '1 needs you' }).waitFor();
  await workbench.inline('Fix the failing test', 'Open Log');
  await workbench.page.locator('.panel .view-line', { hasText: 'asks' }).first().waitFor();
  await workbench.row('greet.js').filter({ hasText: 'update' }).click();
  await workbench.page.locator('.tab', { hasText: 'greet.js' }).waitFor();
  await workbench.palette('Notifications: Clear All Notifications');
  await workbench.page.locator('.notification-toast').waitFor({ state: 'hidden' });
  await workbench.shot('asking');
  await workbench.approve('Allow to run: node --test?');
  await workbench.page.locator('.panel .view-line', { hasText: 'its test passes now' }).first().waitFor();
  await workbench.row('1 file changed').waitFor();
  await workbench.shot('finished');
});

it('a person rejects what a task asks from the palette', async () => {
  await workbench.newTask('run!: touch forbidden.txt');
  await workbench.row('Allow to run: touch forbidden.txt?').waitFor();
  await workbench.palette('Codex Worker: Reject');
  await workbench.pick('touch forbidden.txt').click();
  await workbench.statusBar().filter({ hasNotText: 'needs you' }).waitFor();
});

it('a person watches the streaming log of a task and cancels it with the inline button', async () => {
  const marked = `sleep 5${process.pid}.1`;
  await workbench.newTask(`run: for n in 1 2 3; do echo "line $n"; sleep 0.3; done; ${marked}`);
  await workbench.inline('for n in 1 2 3', 'Open Log');
  await workbench.page
    .locator('.panel .view-line', { hasText: /^line.3$/ })
    .first()
    .waitFor();
  await until('the command runs', () => processesWith(marked).length > 0);
  await workbench.shot('running');
  await workbench.inline('for n in 1 2 3', 'Cancel Task');
  await workbench.row('cancelled').first().waitFor();
  await until('the process is dead', () => processesWith(marked).length === 0, 100);
});

it('a person cancels several tasks from the palette', async () => {
  const marks = [1, 2].map((index) => `sleep 6${process.pid}.${index}`);
  for (const marked of marks) await workbench.newTask(`run: ${marked}`);
  await until('the commands run', () => marks.every((marked) => processesWith(marked).length > 0));
  await workbench.palette('Codex Worker: Cancel Task');
  for (const marked of marks) await workbench.pick(marked).click();
  await workbench.shot('picking');
  await workbench.page.getByRole('button', { name: 'OK' }).click();
  await until('the processes are dead', () => marks.flatMap(processesWith).length === 0);
});

it('a person messages a task, copies its id, cancels all, restarts Codex and clears the list, from the palette', async () => {
  await workbench.newTask('say first turn');
  await workbench.palette('Codex Worker: Message Task');
  await workbench.pick('say first turn').click();
  await workbench.input.fill('say second turn');
  await workbench.input.press('Enter');
  await workbench.palette('Codex Worker: Open Log');
  await workbench.pick('say first turn').click();
  const log = workbench.page.locator('.panel .view-lines');
  await log.filter({ hasText: /first.turn[\s\S]*second.turn/ }).waitFor();
  await workbench.palette('Codex Worker: Copy Task Id');
  await workbench.pick('say first turn').click();
  const clipboard = () => workbench.page.evaluate(() => navigator.clipboard.readText());
  await until('an id is copied', async () => /^[a-z]+-[a-z]+-\d+$/.test(await clipboard()));

  const marks = [1, 2].map((index) => `sleep 8${process.pid}.${index}`);
  for (const marked of marks) await workbench.newTask(`run: ${marked}`);
  await until('the commands run', () => marks.every((marked) => processesWith(marked).length > 0));
  await workbench.palette('Codex Worker: Cancel All Tasks');
  await workbench.page.getByRole('button', { name: 'Cancel all 2' }).click();
  await until('the processes are dead', () => marks.flatMap(processesWith).length === 0);
  await workbench.statusBar().filter({ hasNotText: 'running' }).waitFor();

  const [server] = processesWith(`${demo.codexPath} app-server`);
  await workbench.palette('Codex Worker: Restart Codex');
  await until('Codex is stopped', () => !processesWith(`${demo.codexPath} app-server`).includes(server ?? 0));
  const count = await workbench.row('').count();
  await workbench.palette('Codex Worker: Remove Finished Tasks');
  await workbench.page.getByRole('button', { name: /^Remove All \d+/ }).click();
  await workbench.page
    .locator('.welcome-view-content', { hasText: 'Codex works on tasks in the background' })
    .waitFor();
  expect(count).toBeGreaterThan(3);
  await workbench.newTask('Fix the failing test');
  await workbench.row('Allow to run: node --test?').waitFor();
  await workbench.approve('Allow to run: node --test?');
  await workbench
    .statusBar()
    .filter({ hasNotText: /running|need/ })
    .waitFor();
});

/** Of each story its own: a row of an earlier one must not be taken for it. */
const slowTask = (mark: string): string => `slow 16s ${40 + mark.length}`;

/** Three tasks at work: one streams, one runs a command, one asks. */
async function startThree(mark: string): Promise<void> {
  await workbench.newTask(slowTask(mark));
  await workbench.newTask(`run: echo once >> ${mark}; sleep 1${process.pid}`);
  await workbench.newTask(`run!: touch allowed-${mark}`);
  await workbench.row(`Allow to run: touch allowed-${mark}?`).waitFor();
  await until('the command runs', () => processesWith(`>> ${mark}`).length > 0);
}

async function seeThreeAtWork(mark: string): Promise<void> {
  await workbench.palette('Codex Worker: Focus on Tasks View');
  await workbench.row(slowTask(mark)).first().waitFor();
  await workbench.row(`Allow to run: touch allowed-${mark}?`).waitFor();
  expect(processesWith(`>> ${mark}`).length).toBeGreaterThan(0);
  expect(await workbench.row('Continue in a new one?').count()).toBe(0);
}

async function seeThreeFinish(mark: string): Promise<void> {
  await workbench.approve(`Allow to run: touch allowed-${mark}?`);
  await until('it ran', () => exists(join(demo.workspace, `allowed-${mark}`)));
  await openLog(slowTask(mark));
  await workbench.page.locator('.panel .view-line', { hasText: 'turn completed' }).first().waitFor({ timeout: 90_000 });
  await workbench.inline(`run: echo once >> ${mark}`, 'Cancel Task');
  await workbench.row(`run: echo once >> ${mark}`).filter({ hasText: 'cancelled' }).waitFor();
  expect(await readFile(join(demo.workspace, mark), 'utf8')).toBe('once\n');
}

/** The panel of a killed host may take the keyboard when it comes back, which closes what is to be picked. */
async function openLog(task: string): Promise<void> {
  await until(
    'the log is chosen',
    async () => {
      await workbench.palette('Codex Worker: Open Log');
      const chosen = workbench.pick(task).click({ timeout: 8_000 });
      return chosen.then(
        () => true,
        () => false,
      );
    },
    60_000,
  );
}

it('the doctor says how everything is', async () => {
  await workbench.palette('Codex Worker: Doctor');
  const report = workbench.page.locator('.panel .view-lines');
  await report.filter({ hasText: /workspace-write.starts[\s\S]*keeper[\s\S]*5.tools.in.\d+.ms/ }).waitFor();
  await workbench.shot('doctor');
});

it('a person connects another client, which works through this window, and disconnects it again', async () => {
  const file = join(home, '.cursor', 'mcp.json');
  const dialog = workbench.page.locator('.monaco-dialog-box');
  await workbench.palette('Codex Worker: Connect Another Client');
  await workbench.pick('Gemini CLI').waitFor();
  await workbench.shot('connect client');
  await workbench.pick('Cursor').click();
  await dialog.filter({ hasText: 'Connect Cursor?' }).waitFor();
  await workbench.still();
  await workbench.shot('connect consent');
  expect(await exists(file)).toBe(false);
  await dialog.getByRole('button', { name: 'Connect' }).click();
  await until('it is written', () => exists(file));
  const { mcpServers } = JSON.parse(await readFile(file, 'utf8')) as {
    mcpServers: { 'codex-worker': { command: string; args: string[] } };
  };
  const transport = new StdioClientTransport({ ...mcpServers['codex-worker'], cwd: demo.workspace, env: { PATH: '/usr/bin:/bin' } });
  const client = await connect(transport, undefined, 'cursor');
  expect((await client.listTools()).tools).toHaveLength(5);
  await client.close();
  await workbench.palette('Codex Worker: Connect Another Client');
  await workbench.pick('connected').filter({ hasText: 'Cursor' }).click();
  await dialog.getByRole('button', { name: 'Remove' }).click();
  await until('it is removed', async () => !(await readFile(file, 'utf8')).includes('codex-worker'));
}); // prettier-ignore

it('a person reloads the window and has three tasks at work as they were', async () => {
  await startThree('reloaded.txt');
  // A busy editor may not have kept yet what it shows.
  await until('the list is hidden after a reload', async () => {
    await workbench.showExplorer();
    await workbench.still();
    await workbench.page.reload();
    await workbench.statusBar().filter({ hasText: '1 needs you' }).waitFor();
    return workbench.page.locator('.part.sidebar .composite.title', { hasText: 'Explorer' }).isVisible();
  });
  expect(await workbench.badge.textContent()).toBe('1');
  await workbench.showTasks();
  await seeThreeAtWork('reloaded.txt');
  await workbench.still();
  await workbench.shot('reopened');
  await seeThreeFinish('reloaded.txt');
});

it('the extension host is killed, and the three tasks at work are there as they were', async () => {
  await startThree('killed.txt');
  for (const pid of processesWith('--type=extensionHost')) process.kill(pid, 'SIGKILL');
  await until('it is restarted', () => processesWith('--type=extensionHost').length > 0);
  await workbench.row('Allow to run: touch allowed-killed.txt?').waitFor();
  await seeThreeAtWork('killed.txt');
  await seeThreeFinish('killed.txt');
});

it('after a reload with our view and the chat closed the extension is active and serves its tools', async () => {
  await workbench.reopen();
  await workbench.page.reload();
  await workbench.statusBar().waitFor();
  await workbench.page.locator('.part.sidebar .composite.title', { hasText: 'Explorer' }).waitFor();
  expect(await workbench.page.locator('.interactive-session:visible').count()).toBe(0);
  await askCopilot();
});

it('tasks that cannot be had are told with what can be done, and are there when that is done', async () => {
  const storage = join(editor.dataDir, 'User/workspaceStorage');
  const [id] = await readdir(storage);
  const own = join(storage, id!, 'codex-worker.codex-worker');
  const { page } = workbench;
  await page.goto(`${editor.url}/version`);
  await until('the window is gone', () => processesWith('--type=extensionHost').length === 0);
  await rename(own, `${own}.away`);
  // A damaged task is there as that, and costs no other.
  const metaOf = (name: string): string => join(`${own}.away`, 'tasks', name, 'meta.json');
  const names = await readdir(join(`${own}.away`, 'tasks'));
  const texts = await Promise.all(names.map((name) => readFile(metaOf(name), 'utf8').catch(() => '')));
  const damaged = names.find((_, index) => !/copilot/i.test(texts[index]!));
  await writeFile(metaOf(damaged!), '{');
  await writeFile(own, '');
  await page.goto(editor.folderUrl);
  const notification = page.locator('.notification-toast', { hasText: 'cannot be used' });
  await notification.waitFor();
  await workbench.showTasks();
  await page.locator('.welcome-view-content', { hasText: 'Codex Worker could not start' }).waitFor();
  await workbench.shot('could not start');
  await workbench.palette('Codex Worker: Doctor');
  await page.locator('.panel .view-lines').filter({ hasText: /Start[\s\S]*cannot.be.used/ }).waitFor();
  await rm(own);
  await rename(`${own}.away`, own);
  await notification.getByRole('button', { name: 'Try Again' }).click();
  await workbench.row('Finished').waitFor();
  await workbench.row('Copilot').first().waitFor();
  await workbench.newTask('say started again');
  await workbench.row('say started again').first().waitFor();
  await workbench.row('Damaged').waitFor();
  await workbench.row(damaged!).waitFor();
  await workbench.still();
  await workbench.shot('damaged');
}); // prettier-ignore
