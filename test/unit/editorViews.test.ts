import { shutOut } from '../../src/ui/accessRules';
import { describe, expect, it } from 'vitest';
import manifest from '../../package.json';
import {
  CommandId,
  ContainerId,
  ItemContext,
  McpProviderId,
  requestScheme,
  RequestContext,
  SettingId,
  ViewId,
} from '../../src/ui/ids';
import { decisionRow, waitingRow } from '../../src/ui/decisionRows';
import { pendingRequests, urgentRequests } from '../../src/ui/notices';
import { OutputQueue } from '../../src/ui/outputQueue';
import { ShownTasks } from '../../src/ui/shownTasks';
import {
  countsText,
  detailsOf,
  groupOf,
  groupsOf,
  taskContext,
  taskDescription,
  taskIcon,
  tasksOf,
} from '../../src/ui/taskView';
import { base, command, pending } from '../fakes/snapshots';

describe('package.json', () => {
  it('contributes exactly what the code knows', () => {
    const { commands, configuration, views, viewsContainers, mcpServerDefinitionProviders } = manifest.contributes;
    expect(commands.map((one) => one.command).sort()).toEqual(Object.values(CommandId).sort());
    expect(Object.keys(configuration.properties).sort()).toEqual(Object.values(SettingId).sort());
    expect(views[ContainerId].map((one) => one.id)).toEqual(Object.values(ViewId));
    expect(viewsContainers.activitybar.map((one) => one.id)).toEqual([ContainerId]);
    expect(mcpServerDefinitionProviders.map((one) => one.id)).toEqual([McpProviderId]);
  });

  it('names only commands and items that there are in its menus', () => {
    const entries = Object.values(manifest.contributes.menus).flat();
    const commands: string[] = Object.values(CommandId);
    const requests = Object.values(RequestContext).flatMap((one) => [`request.${one}`, `task.asking.${one}`]);
    const contexts = [...Object.values(ItemContext), ...requests];
    expect(entries.filter((entry) => !commands.includes(entry.command))).toEqual([]);
    const patterns = entries.flatMap((entry) => /viewItem =~ \/(.+)\//.exec(entry.when)?.[1] ?? []);
    const schemes = entries.flatMap((entry) => /resourceScheme == (\S+)/.exec(entry.when)?.[1] ?? []);
    expect(new Set(schemes)).toEqual(new Set([requestScheme]));
    for (const pattern of patterns) {
      expect(
        contexts.some((context) => new RegExp(pattern).test(context)),
        pattern,
      ).toBe(true);
    }
  });

  it('pins the API to the oldest editor that it runs in, and keeps what is dangerous to the machine', () => {
    expect(manifest.engines.vscode).toBe(`^${manifest.devDependencies['@types/vscode']}`);
    const { properties } = manifest.contributes.configuration;
    const dangerous = [
      SettingId.codexPath,
      SettingId.defaultSandbox,
      SettingId.allowFullAccess,
      SettingId.agentMayApprove,
    ] as const;
    expect(dangerous.map((id) => properties[id].scope)).toEqual(dangerous.map(() => 'machine'));
    expect(manifest.activationEvents).toContain('onStartupFinished');
  });
});

it('a call that waits is shown with who asks, and no text of a client can disguise it', () => {
  const row = waitingRow({
    id: 'q1',
    caller: 'c',
    client: 'evil \u202e $(check)',
    tool: 'cancel-task',
    args: { task_id: 'a-b-1\nRule' },
    rule: 'tasks of others',
    reason: 'It is not yours.',
    expiresAt: 0,
  });
  expect(row).toMatchObject({ label: 'cancel-task', icon: { id: 'bell-dot' } });
  expect(row.description).toBe(String.raw`waits for you · evil \u{202e} \$(check) · rule "tasks of others"`);
  expect(row.tooltip.split('\n')).toEqual([
    String.raw`evil \u{202e} $(check) wants to call cancel-task {"task_id":"a-b-1\nRule"}`,
    'It is not yours.',
  ]);
});

it('a decision is shown with its rule and who decided, and no text of a client can disguise it', () => {
  const line = {
    t: 0,
    previous: '',
    caller: 'c',
    client: 'evil \u202e client',
    tool: 'cancel-task',
    rule: 'own tasks',
    by: null,
    tasks: ['a-b-1'],
  };
  const row = decisionRow({ ...line, decision: 'denied' });
  expect(row).toMatchObject({ label: 'cancel-task', icon: { id: 'circle-slash' } });
  expect(row.description).toMatch(/^\d\d:\d\d:\d\d · rule "own tasks" · a-b-1$/);
  expect(row.tooltip).toMatch(/^denied: cancel-task\nRule: own tasks\nTasks: a-b-1\nCaller: evil .* client\n/);
  expect(row.tooltip).not.toContain('\u202e');
  expect(decisionRow({ ...line, tool: '$(check) x', decision: 'person' })).toMatchObject({
    label: '\\$(check) x',
    icon: { id: 'account' },
    tooltip: expect.stringMatching(/^done by you: \$\(check\) x/) as string,
  });
});

describe('the tree', () => {
  it('groups by what needs the person, what runs, and what is finished, newest end first', () => {
    const tasks = [
      { ...base, id: 'a', status: 'completed', endedAt: 10 },
      { ...base, id: 'b', status: 'working' },
      { ...base, id: 'c', status: 'input_required' },
      { ...base, id: 'd', status: 'failed', endedAt: 20 },
    ] as const;
    expect(tasks.map(groupOf)).toEqual(['finished', 'running', 'asking', 'finished']);
    expect(tasksOf('finished', tasks).map((task) => task.id)).toEqual(['d', 'a']);
    expect(tasks.map(taskContext)).toEqual(['task.finished', 'task.running', 'task.asking', 'task.finished']);
    expect(countsText(tasks)).toBe('1 needs you, 1 running');
    expect(tasks.map((task) => taskIcon(task).id)).toEqual(['pass', 'sync~spin', 'question', 'error']);
  });

  it('has a group for what is queued while something is, and the others as long as there is a task', () => {
    const held = { ...base, status: 'submitted', heldBy: 'queued, next to start' } as const;
    expect([groupOf(held), taskContext(held), countsText([held, base])]).toEqual([
      ...['queued', 'task.running', '1 running, 1 queued'],
    ]);
    expect(groupOf({ ...held, heldBy: null })).toBe('running');
    expect(groupsOf([held])).toEqual(['asking', 'running', 'queued', 'finished']);
    expect([groupsOf([base]), groupsOf([])]).toEqual([['asking', 'running', 'finished'], []]);
  });

  it('shows a task that goes on by itself as paused, and asks nobody for it', () => {
    const question = { type: 'recovery', message: 'Go on now?', goesOnAt: 9 } as const;
    const task = { ...base, status: 'input_required', pending: [pending(question)] } as const;
    expect([groupOf(task), taskIcon(task).id, countsText([task])]).toEqual(['running', 'debug-pause', '1 paused']);
    expect([urgentRequests([task]), pendingRequests([task]).length]).toEqual([[], 1]);
    expect(taskContext(task)).toBe('task.asking.approval');
    expect(detailsOf(task)[0]).toMatchObject({ label: 'Go on now?' });
  });

  it('describes what a task does, its time, model and tokens', () => {
    const usage = {
      totalTokens: 5_120,
      inputTokens: 1,
      cachedInputTokens: 0,
      outputTokens: 1,
      reasoningTokens: 0,
      lastTokens: 1,
      contextWindow: null,
    };
    expect(taskDescription({ ...base, usage, labels: ['auth'] }, 66_000)).toBe(
      'thinking · 1 m 05 s · gpt-5.5 · 5.1k tokens · auth',
    );
    const error = { code: 'model_error', message: 'No model.', retryable: true, hint: 'Later.' } as const;
    expect(taskDescription({ ...base, status: 'failed', endedAt: 1_900, error }, 0)).toBe(
      'No model. · 900 ms · gpt-5.5',
    );
  });

  it('shows below a task what it asks first, then its error, plan and work', () => {
    const details = detailsOf({
      ...base,
      pending: [pending(command('rm x', 'why'))],
      plan: [
        { step: 'look', status: 'completed' },
        { step: 'write', status: 'pending' },
      ],
      items: [
        { kind: 'command', id: '1', command: 'ls', exitCode: 0, outcome: 'completed' },
        { kind: 'command', id: '2', command: 'no', exitCode: null, outcome: 'declined' },
        {
          kind: 'files',
          id: '3',
          outcome: 'completed',
          files: [{ path: '/ws/a.ts', kind: 'update', added: 1, removed: 2 }],
        },
        { kind: 'message', id: '4', text: 'hello\nthere' },
      ],
      leftovers: [{ pid: 7, command: 'sleep' }],
    });
    expect(details.map(({ label, description }) => [label, description])).toEqual([
      ['Allow to run: rm x?', 'why'],
      ['Plan', '1 of 2'],
      ['ls', 'exit 0'],
      ['no', 'declined'],
      ['a.ts', 'update +1 −2'],
      ['hello …', ''],
      ['process 7 may be left', 'sleep'],
    ]);
    expect(details[0]?.request).toEqual({ id: 'r1', context: 'approval' });
    expect(details[4]?.file).toBe('/ws/a.ts');
    expect(new Set(details.map(({ id }) => id)).size).toBe(details.length);
  });
});

describe('drawing the tree anew', () => {
  const request = pending(command('rm x'), 5);
  const asking = { ...base, id: 'asks', status: 'input_required', pending: [request] } as const;
  const running = { ...base, id: 'runs' };
  const ended = { ...base, id: 'ended', status: 'completed', endedAt: 9 } as const;

  it('leaves a task that waits for the person alone until what it shows changes', () => {
    const shown = new ShownTasks();
    shown.show([asking, running]);
    expect(shown.update([{ ...asking, updatedAt: 9_000 }])).toEqual({ kind: 'tasks', tasks: [] });
    const later = { ...running, updatedAt: 9_000 };
    expect(shown.update([{ ...asking, updatedAt: 9_100 }, later])).toEqual({ kind: 'tasks', tasks: [later] });
    const two = { ...asking, pending: [request, { ...request, id: 'r2' }] };
    expect(shown.update([two])).toEqual({ kind: 'tasks', tasks: [two] });
  });

  it('draws only the groups that a task left and joined, and everything when a group comes or goes', () => {
    const shown = new ShownTasks();
    shown.show([asking, running, { ...base, id: 'other' }, ended]);
    expect(shown.update([{ ...running, status: 'failed' }])).toEqual({
      kind: 'groups',
      groups: ['running', 'finished'],
    });
    const moved = { kind: 'groups', groups: ['asking', 'running'] };
    expect(shown.update([{ ...asking, status: 'working', pending: [] }])).toEqual(moved);
    const held = { ...base, id: 'held', status: 'submitted', heldBy: 'queued, next to start' } as const;
    expect(shown.update([held])).toEqual({ kind: 'all' });
    expect(shown.update([{ ...held, status: 'working', heldBy: null }])).toEqual({ kind: 'all' });
    expect(shown.update([{ ...base, id: 'new' }])).toEqual({ kind: 'groups', groups: ['running'] });
  });

  it('draws nothing for a list that is shown already, and the group that a task came to or is gone from', () => {
    const shown = new ShownTasks();
    shown.show([asking, ended]);
    expect(shown.updateList([asking, ended])).toEqual({ kind: 'tasks', tasks: [] });
    const second = { ...ended, id: 'second' };
    expect(shown.updateList([asking, ended, second])).toEqual({ kind: 'groups', groups: ['finished'] });
    expect(shown.updateList([asking, second])).toEqual({ kind: 'groups', groups: ['finished'] });
    expect(shown.updateList([asking, second])).toEqual({ kind: 'tasks', tasks: [] });
    expect(shown.updateList([asking])).toEqual({ kind: 'groups', groups: ['finished'] });
    expect(shown.updateList([])).toEqual({ kind: 'all' });
  });
});

describe('the output of a task', () => {
  it('is joined between two appends, and a flood is bounded and told', () => {
    const queue = new OutputQueue();
    queue.push('a');
    queue.push('b');
    expect([queue.take('/log'), queue.take('/log')]).toEqual(['ab', '']);
    for (let index = 0; index < 2_000; index++) queue.push('x'.repeat(1_000));
    const text = queue.take('/log');
    expect(text.length).toBeLessThan(530 * 1024);
    expect(text).toMatch(/^\n\[\d+ characters skipped; all of it is in \/log\]\n/);
    queue.push('y'.repeat(600 * 1024));
    expect(queue.take('/log')).toMatch(/skipped/);
  });
});

it.each([
  [{}, []],
  [{ 'chat.mcp.access': 'all', 'chat.mcp.allowedServers': null, 'chat.agent.enabled': true }, []],
  [{ 'chat.mcp.access': 'none' }, [/chat\.mcp\.access is "none"/]],
  [{ 'chat.mcp.access': 'registry', 'chat.agent.enabled': false }, [/"registry"/, /no agent mode/]],
  [{ 'chat.mcp.allowManagedServersOnly': true }, [/only managed servers/]],
  [{ 'chat.mcp.allowedServers': [] }, [/does not name "codex-worker"/]],
  [{ 'chat.mcp.allowedServers': [{ serverName: 'other' }] }, [/does not name/]],
  [{ 'chat.mcp.allowedServers': [{ serverName: 'codex-worker' }] }, []],
  [{ 'chat.mcp.allowedServers': [{ serverCommand: ['node'] }] }, []],
  [{ 'chat.mcp.deniedServers': [{ serverName: 'codex-worker' }] }, [/deniedServers names/]],
  [{ 'chat.mcp.deniedServers': 'x', 'chat.mcp.allowedServers': 7 }, []],
])('the doctor says of the settings %j what shuts agents out', (settings: Record<string, unknown>, reasons: RegExp[]) => {
  const findings = shutOut('codex-worker', (setting) => settings[setting]);
  expect(findings.map(({ text }) => text)).toEqual(reasons.map((reason) => expect.stringMatching(reason) as string));
}); // prettier-ignore
