import { describe, expect, it } from 'vitest';
import type { CodexAgent } from '../../src/codex/codexAgent';
import { CodexAgents } from '../../src/codex/codexAgents';
import { noInnerGate } from '../../src/core/innerGate';
import type { ThreadSink, ThreadSpec, TurnInput } from '../../src/core/ports';

/** A server of Codex, as far as it is looked at here. */
function fakeAgent(name: string, done: string[]) {
  const thread = (id: string) => ({
    id,
    model: 'm',
    reasoning: null,
    gated: name === 'gated',
    active: false,
    outdated: false,
    startTurn: () => Promise.resolve(void done.push(`${name} turn`)),
    steer: () => Promise.resolve(true),
    release: () => Promise.resolve(void done.push(`${name} release`)),
    caughtUp: () => undefined,
    stop: () => Promise.resolve('stopped'),
  });
  return {
    serverPid: undefined as number | undefined,
    outlives: true,
    position: 0,
    limits: [name],
    changed: () => undefined,
    ready: () => Promise.resolve(void done.push(`${name} ready`)),
    open: () => Promise.resolve(thread('t')),
    adopt: (_spec: ThreadSpec, id: string) => Promise.resolve(thread(id)),
    acknowledge: (position: number) => done.push(`${name} ${position}`),
    reattach: () => Promise.resolve(false),
    dispose: () => undefined,
    onDidChangeLimits(listener: () => void) {
      this.changed = () => {
        listener();
        return undefined;
      };
      return { dispose: () => undefined };
    },
  };
}

interface Setting {
  /** Of each look of the probe. */
  readonly probes?: (string | null)[];
  readonly isGateless?: boolean;
}

function setUp({ probes = [null], isGateless = false }: Setting = {}) {
  const done: string[] = [];
  const [plain, gated] = [fakeAgent('plain', done), fakeAgent('gated', done)];
  const gate = { ...noInnerGate, holds: false };
  const agents = new CodexAgents({
    plain: plain as unknown as CodexAgent,
    gated: isGateless ? null : (gated as unknown as CodexAgent),
    gate,
    probe: () => {
      done.push('probe');
      gated.serverPid = 7;
      return Promise.resolve(probes.shift() ?? null);
    },
    log: () => undefined,
  });
  const rules = (holds: boolean): void => void Object.assign(gate, { holds });
  return { agents, plain, gated, done, rules };
}

const spec = { cwd: '/ws', sandbox: 'workspace-write', approvalPolicy: 'on-request' } as ThreadSpec;
const asking = { ...spec, approvalPolicy: 'untrusted' } as const;
const sink = {} as ThreadSink;
const input = {} as TurnInput;

describe('a task', () => {
  it('that is not asked about everything costs nothing more', async () => {
    const { agents, done } = setUp();
    await agents.ready(spec);
    expect(done).toEqual(['plain ready']);
  });

  it.each([
    ['of the profile Ask', asking, false],
    ['under rules', spec, true],
  ])('%s goes behind the gate, which is looked at once for its server', async (_name, task, holds) => {
    const { agents, gated, done, rules } = setUp();
    rules(holds);
    await Promise.all([agents.ready(task), agents.ready(task)]);
    await agents.ready(task);
    expect(done).toEqual(['probe', ...Array<string>(3).fill('gated ready')]);
    gated.serverPid = 8;
    await agents.ready(task);
    expect(done.slice(4)).toEqual(['probe', 'gated ready']);
  });

  it.each([
    ['where the gate does not hold', { probes: ['it leaked'] }, 'it leaked'],
    ['where nobody could own it', { isGateless: true }, 'nobody who could own the gate'],
  ])('under rules is refused %s, and one of the profile Ask works without it', async (_name, setting, why) => {
    const { agents, done, rules } = setUp(setting);
    await agents.ready(asking);
    expect(done.at(-1)).toBe('plain ready');
    rules(true);
    await expect(agents.ready(spec)).rejects.toMatchObject({
      code: 'policy_unenforceable',
      message: expect.stringContaining(why) as string,
    });
    expect(done.filter((one) => one === 'probe').length).toBeLessThanOrEqual(1);
  });

  it('under rules is refused for what keeps Codex from working, where that is the reason', async () => {
    const { agents, plain, rules } = setUp({ probes: ['it did not start'] });
    plain.ready = () => Promise.reject(new Error('Codex is not logged in.'));
    rules(true);
    await expect(agents.ready(spec)).rejects.toThrow('Codex is not logged in.');
  });

  it('moves with its next turn when rules come and when they go, and a turn from before gets no more to do', async () => {
    const { agents, done, rules } = setUp();
    const thread = await agents.open(spec, sink);
    await thread.startTurn(input);
    rules(true);
    expect([thread.gated, await thread.steer('x')]).toEqual([false, false]);
    await thread.startTurn(input);
    expect([thread.gated, await thread.steer('x')]).toEqual([true, true]);
    rules(false);
    await thread.startTurn(input);
    expect(thread.gated).toBe(false);
    expect(done.filter((one) => one !== 'probe')).toEqual([
      'plain turn',
      'plain release',
      'gated turn',
      'gated release',
      'plain turn',
    ]);
  });

  it('of an earlier run is where it was', async () => {
    const { agents } = setUp();
    for (const gated of [true, false]) {
      expect((await agents.adopt(spec, { id: 't', gated }, sink, null)).gated).toBe(gated);
    }
    const { agents: without } = setUp({ isGateless: true });
    expect((await without.adopt(spec, { id: 't', gated: true }, sink, null)).gated).toBe(false);
  });
});

describe('two servers', () => {
  it('are told each how far it was heard', () => {
    const { agents, plain, gated, done } = setUp();
    Object.assign(plain, { position: 3 });
    Object.assign(gated, { position: 5 });
    const { heard } = agents;
    Object.assign(gated, { position: 9 });
    expect(agents.heard).not.toBe(heard);
    agents.acknowledge(heard);
    expect(done).toEqual(['plain 3', 'gated 5']);
  });

  it('outlive this program when those that run do', () => {
    const { agents, plain, gated } = setUp();
    expect(agents.outlives).toBe(false);
    gated.serverPid = 1;
    expect(agents.outlives).toBe(true);
    Object.assign(plain, { serverPid: 2, outlives: false });
    expect(agents.outlives).toBe(false);
  });

  it('have one account, whose limits the last to speak knows', () => {
    const { agents, gated, plain } = setUp();
    gated.changed();
    expect(agents.limits).toEqual(['gated']);
    plain.changed();
    expect(agents.limits).toEqual(['plain']);
  });
});
