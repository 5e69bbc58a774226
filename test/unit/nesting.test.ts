import { tmpdir } from 'node:os';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { clientOf } from '../../src/core/caller';
import { insideUnknownTask, outerTaskOf } from '../../src/core/nesting';
import type { WorkerSettings } from '../../src/core/ports';
import { TaskManager } from '../../src/core/taskManager';
import { FakeAgent, type FakeThread } from '../fakes/fakeAgent';
import { FakeJournal } from '../fakes/fakeJournal';
import { testSettings } from '../rig/codexRig';

/** Calls from inside a task. */

let agent: FakeAgent;
let tasks: TaskManager;
let depth: number;

function manager(settings: Partial<WorkerSettings> = {}): TaskManager {
  const all = testSettings(tmpdir(), { nestedTasks: () => depth, agentMayApprove: () => 'always', ...settings });
  return new TaskManager({ agent, journal: new FakeJournal(), settings: all, log: () => undefined });
}

beforeEach(() => {
  depth = 1;
  agent = new FakeAgent();
  tasks = manager();
});
afterEach(() => tasks.dispose());

const denied = { code: 'policy_denied' } as const;

async function running(caller: string, more: object = {}): Promise<{ id: string; inside: string; thread: FakeThread }> {
  const { id } = await tasks.spawn({ prompt: 'x', ...more }, caller);
  await vi.waitFor(() => expect(tasks.get(id).turns).toBe(1));
  return { id, inside: tasks.callerInside(id)!, thread: agent.threads.at(-1)! };
}

const wait = (caller: string, about: readonly string[] | 'own' | 'all') =>
  tasks.wait({ caller, about, until: 'any', timeoutMs: 0, isShown: (id) => tasks.isInReach(id, caller) });

describe('a caller inside a task', () => {
  it('is known by the thread of the task, and is of the client that spawned it', async () => {
    const { id, inside } = await running('window#chat');
    expect(tasks.callerIn(tasks.get(id).threadId!)).toBe(inside);
    expect([outerTaskOf(inside), clientOf(inside)]).toEqual([id, 'window']);
    expect([tasks.callerIn('another'), tasks.callerInside('no-such-1')]).toEqual([null, null]);
  });

  it('starts no work unless the person allowed it, as deep as that', async () => {
    depth = 0;
    const { id, inside } = await running('window');
    await expect(tasks.spawn({ prompt: 'x' }, inside)).rejects.toMatchObject({
      ...denied,
      hint: expect.stringMatching(/codexWorker\.nestedTasks.*--nested-tasks/) as string,
    });
    expect(tasks.mayNest(id)).toBe(false);
    depth = 2;
    expect(tasks.mayNest(id)).toBe(true);
    const second = await running(inside);
    const third = await running(second.inside);
    expect([tasks.mayNest(second.id), tasks.mayNest(third.id)]).toEqual([true, false]);
    await expect(tasks.spawn({ prompt: 'x' }, third.inside)).rejects.toMatchObject(denied);
    depth = 0;
    await expect(tasks.message(third.id, { text: 'x', mode: 'auto' }, second.inside)).rejects.toMatchObject(denied);
  });

  it('starts none where a task above it is gone, or its own is not known', async () => {
    depth = 3;
    const first = await running('window');
    const second = await running(first.inside);
    first.thread.end();
    await vi.waitFor(() => expect(tasks.remove(first.id)).toBe(true));
    await expect(tasks.spawn({ prompt: 'x' }, second.inside)).rejects.toMatchObject(denied);
    await expect(tasks.spawn({ prompt: 'x' }, insideUnknownTask)).rejects.toMatchObject(denied);
  });

  it.each([
    [{}, 'read-only', 'untrusted'],
    [{ sandbox: 'read-only' }, 'read-only', 'untrusted'],
    [{ taskType: 'researcher' }, 'read-only', 'untrusted'],
  ])('gives a task no more than its own has (%j)', async (more, sandbox, approvalPolicy) => {
    const { inside } = await running('window', { sandbox: 'read-only', approvalPolicy: 'untrusted' });
    const { id } = await running(inside, more);
    expect(tasks.get(id)).toMatchObject({ sandbox, approvalPolicy });
  });

  it.each([{ sandbox: 'danger-full-access' }, { approvalPolicy: 'never' }] as const)(
    'is refused what is wider than its own (%j)',
    async (more) => {
      const { inside } = await running('window', { sandbox: 'workspace-write', approvalPolicy: 'on-request' });
      await expect(tasks.spawn({ prompt: 'x', ...more }, inside)).rejects.toMatchObject({
        ...denied,
        hint: expect.stringMatching(/workspace-write|on-request/) as string,
      });
      await running(inside, { sandbox: 'workspace-write', approvalPolicy: 'untrusted' });
    },
  );

  it('waits for, answers, messages and cancels what is below its task only', async () => {
    depth = 2;
    const own = await running('window');
    const below = await running(own.inside);
    const deeper = await running(below.inside);
    const other = await running('window');
    other.thread.ask();
    for (const id of [own.id, other.id, 'no-such-1']) {
      await expect(wait(own.inside, [id])).rejects.toMatchObject(denied);
      await expect(tasks.cancel([below.id, id], own.inside)).rejects.toMatchObject(denied);
      await expect(tasks.message(id, { text: 'x', mode: 'auto' }, own.inside)).rejects.toMatchObject(denied);
    }
    const decline = { kind: 'decision', decision: 'reject' } as const;
    const asInside = { by: 'agent', caller: own.inside } as const;
    await expect(tasks.respond(other.id, undefined, decline, asInside)).rejects.toMatchObject(denied);
    const idsOf = async (about: 'own' | 'all') => (await wait(own.inside, about)).tasks.map(({ id }) => id);
    expect([await idsOf('own'), await idsOf('all')]).toEqual([[below.id], [below.id, deeper.id]]);
    expect((await wait(insideUnknownTask, 'all')).tasks).toEqual([]);
    expect(await tasks.cancel([deeper.id], own.inside)).toMatchObject({ cancelled: [deeper.id] });
  });

  it('may refuse what a task below asks to do, and never allow it', async () => {
    const { inside } = await running('window');
    const { id, thread } = await running(inside);
    thread.ask();
    await vi.waitFor(() => expect(tasks.get(id).pending).toHaveLength(1));
    const respond = (decision: 'accept' | 'reject') =>
      tasks.respond(id, 'r1', { kind: 'decision', decision }, { by: 'agent', caller: inside });
    await expect(respond('accept')).rejects.toMatchObject({ code: 'approval_required' });
    await respond('reject');
    expect(tasks.get(id).pending).toEqual([]);
  });
});

describe('a task that another one started', () => {
  it('works in the place of that one while it is there', async () => {
    depth = 2;
    tasks.dispose();
    tasks = manager({ maxConcurrentTasks: () => 1 });
    const outer = await running('window');
    const inner = await running(outer.inside);
    const innermost = await running(inner.inside);
    const { id: other } = await tasks.spawn({ prompt: 'x' }, 'window');
    expect(tasks.get(other).heldBy).toBe('queued, next to start');
    outer.thread.end();
    await vi.waitFor(() => expect(tasks.get(outer.id).status).toBe('completed'));
    // It goes on, and has the place now.
    expect([tasks.get(inner.id).status, tasks.get(other).status]).toEqual(['working', 'submitted']);
    inner.thread.end();
    innermost.thread.end();
    await vi.waitFor(() => expect(tasks.get(other).status).toBe('working'));
  });

  it('ends with it when it is cancelled', async () => {
    depth = 2;
    const outer = await running('window');
    const inner = await running(outer.inside);
    const innermost = await running(inner.inside);
    const other = await running('window');
    const { cancelled } = await tasks.cancel([outer.id], 'window');
    expect([...cancelled].sort()).toEqual([outer.id, inner.id, innermost.id].sort());
    expect(tasks.get(other.id).status).toBe('working');
  });
});
