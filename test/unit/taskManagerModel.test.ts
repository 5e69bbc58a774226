import { tmpdir } from 'node:os';
import { setImmediate as nextTick } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Decision } from '../../src/core/pendingRequest';
import { TaskManager } from '../../src/core/taskManager';
import type { TaskStatus } from '../../src/core/taskState';
import { FakeAgent, type FakeThread } from '../fakes/fakeAgent';
import { FakeJournal } from '../fakes/fakeJournal';
import { testSettings } from '../rig/codexRig';

/** What anybody may do, or what may happen, to one of the tasks; `task` counts over those that are there. */
type Step =
  | { readonly kind: 'spawn'; readonly dependsOn: readonly number[] }
  | { readonly kind: 'message'; readonly task: number; readonly mode: 'auto' | 'queue' }
  | { readonly kind: 'cancel'; readonly tasks: readonly number[] }
  | { readonly kind: 'remove' | 'ask' | 'turnByItself'; readonly task: number }
  | { readonly kind: 'answer'; readonly task: number; readonly decision: Decision }
  | { readonly kind: 'turnEnds'; readonly task: number; readonly outcome: 'completed' | 'failed' | 'interrupted' }
  | { readonly kind: 'crash' };

const task = fc.nat(9);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('spawn'), dependsOn: fc.array(task, { maxLength: 2 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('message'), task, mode: fc.constantFrom('auto', 'queue') }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('cancel'), tasks: fc.array(task, { minLength: 1, maxLength: 3 }) }),
  },
  { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom('remove', 'ask', 'turnByItself'), task }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('answer'),
      task,
      decision: fc.constantFrom('accept', 'reject', 'cancel'),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('turnEnds'),
      task,
      outcome: fc.constantFrom('completed', 'failed', 'interrupted'),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'crash' }) },
);

interface Expected {
  readonly id: string;
  readonly waitsFor: Set<string>;
  /** Queued to be started. */
  waits: boolean;
  status: TaskStatus;
  messages: number;
  asks: ('codex' | 'worker')[];
}

const atOnce = 3;
const isOver = ({ status }: Expected): boolean => ['completed', 'failed', 'cancelled'].includes(status);

/** What a task manager promises, as simply as it can be said. */
class Model {
  tasks: Expected[] = [];
  /** Tasks that were started, and so can be messaged. */
  readonly started = new Set<string>();

  spawn(id: string, dependsOn: readonly string[]): void {
    const waitsFor = new Set(dependsOn);
    this.tasks.push({ id, waitsFor, waits: true, status: 'submitted', messages: 0, asks: [] });
  }

  end(one: Expected, status: TaskStatus): void {
    Object.assign(one, { status, waits: false, asks: [], messages: 0 });
  }

  turnEnds(one: Expected, outcome: 'completed' | 'failed' | 'interrupted'): void {
    one.asks = [];
    one.status = 'working';
    if (outcome === 'interrupted') this.end(one, 'cancelled');
    else if (one.messages > 0) one.messages--;
    else this.end(one, outcome);
  }

  crash(): void {
    for (const one of this.tasks) {
      if (one.status !== 'working' && one.status !== 'input_required') continue;
      if (one.asks.includes('worker')) continue;
      Object.assign(one, { status: 'input_required', asks: ['worker'] });
    }
  }

  answer(one: Expected, decision: Decision): void {
    const [first] = one.asks;
    one.asks = decision === 'cancel' ? [] : one.asks.slice(1);
    one.status = one.asks.length === 0 ? 'working' : 'input_required';
    if (first === 'worker' && decision !== 'accept') this.end(one, decision === 'cancel' ? 'cancelled' : 'failed');
  }

  /** Starts what can be started, in order. */
  schedule(): void {
    for (let changed = true; changed;) {
      changed = false;
      for (const one of this.tasks.filter(({ waits }) => waits)) {
        const states = [...one.waitsFor].map(
          (id) => [id, this.tasks.find((other) => other.id === id)?.status] as const,
        );
        for (const [id, status] of states) if (status === 'completed') one.waitsFor.delete(id);
        // What waits for somebody takes no place.
        const active = this.tasks.filter((other) => other.status === 'working').length;
        if (states.some(([, status]) => status === undefined || status === 'failed' || status === 'cancelled')) {
          this.end(one, 'failed');
          changed = true;
        } else if (one.waitsFor.size === 0 && active < atOnce) {
          Object.assign(one, { waits: false, status: 'working' });
          this.started.add(one.id);
          changed = true;
        }
      }
    }
  }
}

class Run {
  readonly agent = new FakeAgent();
  readonly model = new Model();
  private readonly ends = new Map<string, number>();
  readonly tasks = new TaskManager({
    agent: this.agent,
    journal: new FakeJournal(),
    settings: testSettings(tmpdir(), { maxConcurrentTasks: () => atOnce, recovery: () => 'ask' }),
    log: () => undefined,
  });

  async take(next: Step): Promise<void> {
    await this.act(next);
    this.model.schedule();
    await this.settle();
    this.check(next);
  }

  private async act(next: Step): Promise<void> {
    const { model, tasks } = this;
    if (next.kind === 'spawn') {
      const dependsOn = next.dependsOn.flatMap((index) => this.at(index)?.id ?? []);
      const { id } = await tasks.spawn({ prompt: 'do it', dependsOn }, 'caller');
      model.spawn(id, dependsOn);
    } else if (next.kind === 'cancel') {
      const chosen = next.tasks.flatMap((index) => this.at(index) ?? []);
      await tasks.cancel(chosen.map(({ id }) => id));
      for (const one of chosen) if (!isOver(one)) model.end(one, 'cancelled');
    } else if (next.kind === 'crash') {
      for (const thread of this.agent.threads) {
        if (!thread.active) continue;
        thread.active = false;
        thread.sink.onLost({ code: 'codex_crashed', message: 'It stopped.', retryable: true, hint: 'Go on.' });
      }
      model.crash();
    } else {
      const one = this.at(next.task);
      if (one) await this.actOn(one, next);
    }
  }

  private async actOn(one: Expected, next: Exclude<Step, { kind: 'spawn' | 'cancel' | 'crash' }>): Promise<void> {
    const { model, tasks } = this;
    const thread = this.threadOf(one.id);
    switch (next.kind) {
      case 'message': {
        const said = tasks.message(one.id, { text: 'more', mode: next.mode }, 'caller');
        if (isOver(one) && !model.started.has(one.id))
          return expect(said).rejects.toMatchObject({ code: 'not_active' });
        const { delivered } = await said;
        const isActive = one.status === 'working' || one.asks[0] === 'codex';
        const expected = isOver(one) ? 'new_turn' : isActive && next.mode === 'auto' ? 'steered' : 'queued';
        expect(delivered).toBe(expected);
        if (expected === 'new_turn') one.status = 'working';
        if (expected === 'queued') one.messages++;
        return;
      }
      case 'remove':
        expect(tasks.remove(one.id)).toBe(isOver(one));
        if (isOver(one)) model.tasks = model.tasks.filter((other) => other !== one);
        return;
      case 'ask':
        if (!thread?.active) return;
        thread.ask(undefined, `key ${Math.random()}`);
        one.asks.push('codex');
        one.status = 'input_required';
        return;
      case 'answer': {
        const [request] = tasks.get(one.id).pending;
        if (!request) return;
        const answer = { kind: 'decision', decision: next.decision } as const;
        await tasks.respond(one.id, request.id, answer, { by: 'person', caller: 'person' });
        model.answer(one, next.decision);
        return;
      }
      case 'turnEnds':
        if (!thread?.active) return;
        thread.end(next.outcome);
        model.turnEnds(one, next.outcome);
        return;
      case 'turnByItself':
        if (!thread || !isOver(one)) return;
        thread.begin();
        // What was cancelled is so again.
        this.ends.delete(one.id);
        if (one.status !== 'cancelled') one.status = 'working';
    }
  }

  private at(index: number): Expected | undefined {
    const { tasks } = this.model;
    return tasks.length === 0 ? undefined : tasks[index % tasks.length];
  }

  private threadOf(id: string): FakeThread | undefined {
    const index = this.agent.specs.findIndex((spec) => spec.taskId === id);
    return index < 0 ? undefined : this.agent.threads[index];
  }

  private now(): unknown {
    return this.tasks.snapshots().map(({ id, status, stopping, pending, queuedMessages }) => {
      return { id, status, stopping, asks: pending.length, messages: queuedMessages };
    });
  }

  private expected(): unknown {
    return this.model.tasks.map(({ id, status, asks, messages }) => {
      return { id, status, stopping: false, asks: asks.length, messages };
    });
  }

  /** Lets everything that is under way come to its end. */
  private async settle(): Promise<void> {
    const wanted = JSON.stringify(this.expected());
    for (let ticks = 0; ticks < 200 && JSON.stringify(this.now()) !== wanted; ticks++) await nextTick();
    // What is right must stay so.
    for (let ticks = 0; ticks < 3; ticks++) await nextTick();
  }

  private check(last: Step): void {
    expect(this.now(), JSON.stringify(last)).toEqual(this.expected());
    const snapshots = this.tasks.snapshots();
    for (const { id, status, endedAt } of snapshots) {
      const works = this.threadOf(id)?.active === true;
      const over = ['completed', 'failed', 'cancelled'].includes(status);
      expect([endedAt !== null, status === 'working' && !works, over && works]).toEqual([over, false, false]);
      if (over && this.ends.has(id)) expect(endedAt).toBe(this.ends.get(id));
      if (over) this.ends.set(id, endedAt!);
      else this.ends.delete(id);
    }
  }

  /** Every task comes to an end when what runs does. */
  async drain(): Promise<void> {
    for (let round = 0; this.model.tasks.some((one) => !isOver(one)); round++) {
      expect(round).toBeLessThan(500);
      const index = this.model.tasks.findIndex((one) => !isOver(one) && !one.waits);
      const { asks } = this.model.tasks[index]!;
      if (asks.length > 0) await this.take({ kind: 'answer', task: index, decision: 'reject' });
      else await this.take({ kind: 'turnEnds', task: index, outcome: 'completed' });
    }
  }
}

it('does what a simple model of it does, whatever is done and happens in which order', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), async (steps) => {
      const run = new Run();
      try {
        for (const next of steps) await run.take(next);
        await run.drain();
      } finally {
        run.tasks.dispose();
      }
    }),
    { numRuns: 150 },
  );
}, 60_000);
