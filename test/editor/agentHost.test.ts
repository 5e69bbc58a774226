import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { type AgentHostRig, startAgentHostRig } from '../rig/agentHost';
import { type CodexRig, startCodexRig } from '../rig/codexRig';
import { type Editor, startEditor } from '../rig/editor';
import { handedDefinition, handedDefinitions, runCodexExec, runCopilot, toolAnswers } from '../rig/harnesses';
import { listWindows } from '../../src/pipe/windows';
import { call } from '../rig/mcpRig';
import { processesWith } from '../rig/processes';
import { until } from '../rig/until';
import { connectAttached } from '../rig/window';
import { Workbench } from './workbench';

/** The Agent Host of the real editor, and harnesses outside of it, with what the editor hands on of our server. */

let rig: CodexRig;
let host: AgentHostRig;
let editor: Editor;
let workbench: Workbench;

beforeAll(async () => {
  rig = await startCodexRig();
  host = await startAgentHostRig(rig);
  editor = await startEditor({
    workspace: rig.workspace,
    env: { ...rig.env, ...host.env },
    settings: {
      ...host.settings,
      'codexWorker.codexPath': rig.codexPath,
      // What a failed test left at work ends soon.
      'codexWorker.keepRunning': 1,
      'codexWorker.mcp.elicitation': true,
      'workbench.colorTheme': 'Default Dark Modern',
    },
    // It lets the test token count.
    smokeTestDriver: true,
    extensions: [join(import.meta.dirname, 'driver')],
  });
  workbench = await Workbench.open(editor);
});
afterAll(async () => {
  await workbench.close();
  await editor.stop();
  await host.close();
  await rig.dispose();
});
afterEach(async ({ task }) => {
  if (task.result?.state === 'fail') await workbench.shot(`failed ${task.name.slice(0, 40)}`);
});

type Harness = 'agent-host-copilotcli' | 'agent-host-codex';
const spawnTool: Readonly<Record<Harness, string>> = {
  'agent-host-copilotcli': 'codex-worker-',
  'agent-host-codex': 'mcp__codex_worker/',
};

const exists = (name: string): Promise<boolean> =>
  access(join(rig.workspace, name)).then(
    () => true,
    () => false,
  );

/** Opens a new session of a harness, and says a script to it; the names of tools are the harness's own. */
async function say(harness: Harness, ...lines: readonly string[]): Promise<number> {
  const since = rig.model.requests.length;
  const prefix = spawnTool[harness];
  const script = lines.map((line) => {
    const [, tool = '', args = ''] = /^call (\S+) (.*)$/.exec(line) ?? [];
    return tool === '' ? line : `tool: ${prefix}${harness === 'agent-host-codex' ? tool.replaceAll('-', '_') : tool} ${args}`;
  }); // prettier-ignore
  // The first message makes the session: what a tool asks during that is not shown by this version of the editor (seen).
  // It can be lost while the Agent Host starts or the window reloads; then another session is opened.
  await until('the harness answers', async () => {
    try {
      await host.run(`workbench.action.chat.openNewChatSessionInPlace.${harness}`, 'sidebar');
      await workbench.page.locator('.interactive-session .chat-input-container').first().waitFor({ timeout: 10_000 });
      await host.run('workbench.action.chat.open', { query: 'say ready', blockOnResponse: true });
    } catch {
      // The next round tries again.
    }
    return rig.model.requests.length > since;
  }, 100_000); // prettier-ignore
  void host.run('workbench.action.chat.open', { query: script.join('\n') }).catch(() => undefined);
  return since;
}

/** The answers of tools that the model of a harness has got, when it has been told `count` of them; each tool is allowed. */
async function answersSince(since: number, count: number): Promise<readonly string[]> {
  return until(`${count} answers of tools`, async () => {
    await allow();
    const answers = toolAnswers(rig, since);
    return answers.length >= count ? answers : undefined;
  }, 90_000); // prettier-ignore
}

/** Allows a tool that can change something, if the harness asks. */
async function allow(): Promise<void> {
  const button = workbench.page.locator('.monaco-button:visible', { hasText: 'Allow in this Session' }).first();
  if (await button.isVisible()) await button.click({ timeout: 3_000 }).catch(() => undefined);
}

const escalating = (file: string): string => JSON.stringify(`run!: touch ${file}\nsay done`);
const wait = 'call wait-task {"task_id":"{{task_id}}","timeout_ms":60000}';

it('Codex in the Agent Host delegates to this window, when the person lets it', async () => {
  const since = await say('agent-host-codex', 'call spawn-task {"prompt":"say from codex","wait_ms":20000}');
  const [spawned] = await answersSince(since, 1);
  expect(spawned).toMatch(/completed.*from codex/);
});

it('Copilot in the Agent Host delegates to this window: its task asks in the tree and in the chat, and the person answers in either', async () => {
  await workbench.showTasks();
  const since = await say('agent-host-copilotcli', `call spawn-task {"prompt":${escalating('in-the-tree.txt')}}`, wait);
  await answersSince(since, 1);
  await workbench.row('Allow to run: touch in-the-tree.txt?').waitFor();
  await workbench.shot('harness task asks');
  await workbench.approve('Allow to run: touch in-the-tree.txt?');
  const [, waited] = await answersSince(since, 2);
  expect(waited).toMatch(/completed.*answered_by.*person/);
  expect(await exists('in-the-tree.txt')).toBe(true);
});

it('asks in the chat as well, where the person answers in a form', async () => {
  const since = await say('agent-host-copilotcli', `call spawn-task {"prompt":${escalating('in-the-chat.txt')}}`, wait);
  await answersSince(since, 1);
  const form = workbench.page.locator('.interactive-session', { hasText: 'asks to run: touch in-the-chat.txt' });
  await form.getByText('Approve', { exact: true }).waitFor();
  await workbench.shot('harness form');
  // A click chooses and submits.
  await form.getByText('Approve', { exact: true }).click();
  const [, waited] = await answersSince(since, 2);
  expect(waited).toMatch(/completed.*answered_by.*person/);
  expect(await exists('in-the-chat.txt')).toBe(true);
});

it('goes on over a reload of the window in the middle of a wait, and a new session is another conversation', async () => {
  const prompt = JSON.stringify('run: echo once >> once.txt; sleep 6\nsay went on');
  // The wait that the reload interrupts is refused as retryable, as is each for which the window stays away too long (20 s).
  const since = await say('agent-host-copilotcli', `call spawn-task {"prompt":${prompt}}`, wait, wait, wait, wait);
  await answersSince(since, 1);
  await until('its command runs', () => exists('once.txt'));
  const pipes = processesWith('dist/attach.js');
  await workbench.page.reload();
  const [, first, ...later] = await answersSince(since, 5);
  expect(first).toContain('shutting_down');
  expect(later.find((answer) => !answer.includes('not_available'))).toMatch(/completed.*went on/);
  // The definition is the same, byte for byte, so that nobody has to start anything anew.
  expect(await handedDefinitions(editor.dataDir)).toHaveLength(1);
  // The very program that the harness started before the reload.
  expect(pipes.filter((pid) => processesWith('dist/attach.js').includes(pid))).not.toEqual([]);
  await workbench.status.waitFor();
  const other = await say('agent-host-copilotcli', 'call wait-task {"timeout_ms":0}');
  const [nothing] = await answersSince(other, 1);
  expect(nothing).toMatch(/tasks.{0,5}:\[\]/);
});

/** What every harness has to be able to do. */
const loop = (prefix: string, name: (tool: string) => string, file: string): string[] => [
  `tool: ${prefix}${name('spawn-task')} {"prompt":${escalating(file)}}`,
  `tool: ${prefix}${name('wait-task')} {"task_id":"{{task_id}}","timeout_ms":30000}`,
  `tool: ${prefix}${name('respond-task')} {"task_id":"{{task_id}}","type":"command_approval","decision":"reject","wait_ms":20000}`,
  `tool: ${prefix}${name('spawn-task')} {"prompt":"hang ${file}"}`,
  `tool: ${prefix}${name('cancel-task')} {"task_id":"{{task_id}}"}`,
]; // prettier-ignore

it('the Copilot runtime and codex exec run the whole loop through the definition as it is handed on', async () => {
  const definition = await until('the editor has handed it on', () => handedDefinition(editor.dataDir));
  // Nothing secret: it lies on the disk, where others can read it. And nothing that the editor would fill in.
  expect(Object.keys(definition).sort()).toEqual(['args', 'command', 'env', 'type']);
  expect(JSON.stringify(definition)).not.toMatch(/token|Bearer|\.sock|\$\{/i);
  const [copilot] = [rig.model.requests.length];
  await runCopilot(rig, definition, loop('codex-worker-', (tool) => tool, 'sdk.txt').join('\n'));
  const codex = rig.model.requests.length;
  const said = await runCodexExec(rig, definition, loop('mcp__codex_worker/', (tool) => tool.replaceAll('-', '_'), 'exec.txt').join('\n'));
  for (const since of [copilot, codex]) {
    const answers = toolAnswers(rig, since);
    expect(answers, said).toHaveLength(5);
    expect(answers[1]).toMatch(/input_required.*command_approval/);
    expect(answers[2]).toMatch(/completed/);
    expect(answers[4]).toMatch(/cancelled.{0,6}:\[.{1,4}[a-z]+-[a-z]+-\d+/);
  }
  expect([await exists('sdk.txt'), await exists('exec.txt')]).toEqual([false, false]);
  // They stand in the tree of the window.
  for (const name of ['hang sdk.txt', 'hang exec.txt']) await workbench.row(name).first().waitFor();
  await workbench.shot('tasks of harnesses');
}); // prettier-ignore

it('a second window of the folder has a name and a list of its own', async () => {
  const first = (await listWindows(rig.dataDir)).alive;
  const page = await workbench.page.context().newPage();
  await page.goto(editor.folderUrl);
  const both = await until('it is there', async () => {
    const { alive } = await listWindows(rig.dataDir);
    return alive.length === 2 ? alive : undefined;
  }, 90_000);
  expect(both.map(({ folders }) => folders)).toEqual([[rig.workspace], [rig.workspace]]);
  const second = both.find(({ id }) => id !== first[0]!.id)!;
  const { client } = await connectAttached({ dataDir: rig.dataDir, workspace: rig.workspace }, { args: ['--window', second.id] });
  expect(await call(client, 'wait-task', { task_id: 'all', timeout_ms: 0 })).toMatchObject({ tasks: [], others: 0 });
  await client.close();
  await page.close();
  await until('its file is gone', async () => (await listWindows(rig.dataDir)).alive.length === 1, 60_000);
}); // prettier-ignore

it('all of them have one list: an attached program sees what the harnesses began, and nothing of them is left', async () => {
  const dataDir = rig.dataDir;
  const { client } = await connectAttached({ dataDir, workspace: rig.workspace }, { name: 'claude-code' });
  const { tasks = [] } = (await call(client, 'wait-task', { task_id: 'all', timeout_ms: 0 })) as { tasks?: unknown[] };
  expect(tasks.length).toBeGreaterThan(0);
  await until('the person sees who works through the window', async () => {
    await workbench.status.hover();
    return (await workbench.page.locator('.hover-contents', { hasText: 'claude-code' }).count()) > 0;
  });
  await workbench.shot('attached program');
  await client.close();
  // Codex starts its pipes for moments, and no program of ours below it owns a store.
  await until('no program of ours is left but the pipes of open sessions', () => processesWith('dist/stdio.js').length === 0);
}); // prettier-ignore
