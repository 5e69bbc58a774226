import { tmpdir } from 'node:os';
import { expect, it } from 'vitest';
import { TaskManager } from '../../src/core/taskManager';
import { judgedArguments, waitOf } from '../../src/mcp/judgedArguments';
import { FakeAgent } from '../fakes/fakeAgent';
import { FakeJournal } from '../fakes/fakeJournal';
import { testSettings } from '../rig/codexRig';

const tasks = new TaskManager({
  agent: new FakeAgent(),
  journal: new FakeJournal(),
  settings: testSettings(tmpdir(), { sandbox: () => 'workspace-write', approvalPolicy: () => 'on-request' }),
  log: () => undefined,
});
const spawned = {
  cwd: tmpdir(),
  task_type: 'coder',
  sandbox: 'workspace-write',
  approval_policy: 'on-request',
  isolation: 'none',
};

it.each([
  ['spawn-task', {}, spawned],
  ['spawn-task', { task_type: 'planner' }, { ...spawned, task_type: 'planner', sandbox: 'read-only' }],
  ['spawn-task', { task_type: 7, sandbox: 'read-only' }, { ...spawned, task_type: 7, sandbox: 'read-only' }],
  ['spawn-task', { model: 'm(low)' }, { ...spawned, model: 'm', reasoning: 'low' }],
  ['spawn-task', { model: 'm(low)', reasoning: 'high' }, { ...spawned, model: 'm', reasoning: 'high' }],
  ['message-task', { model: 'm(low)' }, { mode: 'auto', model: 'm', reasoning: 'low' }],
  ['message-task', { model: ['m(low)'], mode: 'steer' }, { mode: 'steer', model: ['m(low)'] }],
  ['wait-task', { task_id: 'a' }, { task_id: 'a', until: 'any', timeout_ms: 30_000 }],
  ['cancel-task', { task_id: ['a'] }, { task_id: ['a'] }],
])('a rule sees of %s %j what will run', (tool, args, judged) => {
  expect(judgedArguments(tool, args, tasks)).toEqual(judged);
});

it.each([
  ['spawn-task', { wait_ms: 5 }, { until: 'any', timeout_ms: 5 }],
  ['respond-task', { task_id: 'a', wait_ms: 5 }, { task_id: 'a', until: 'any', timeout_ms: 5 }],
  ['message-task', { task_id: 'a', wait_ms: 0 }, null],
  ['message-task', { task_id: 'a' }, null],
  ['wait-task', { task_id: 'a', wait_ms: 5 }, null],
])('%s %j waits as %j', (tool, args, wait) => {
  expect(waitOf(tool, args)).toEqual(wait);
});
