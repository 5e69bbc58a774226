import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TaskError } from '../../src/core/errors';
import { isTerminal, reduce, type StateEvent, statusOf, type TaskState } from '../../src/core/taskState';

const error: TaskError = { code: 'model_error', message: 'why', retryable: true, hint: 'again' };
const turnRequested: StateEvent = { type: 'turnRequested' };
const turnStarted: StateEvent = { type: 'turnStarted', turnId: 't1' };
const completed: StateEvent = { type: 'turnCompleted', turnId: 't1', outcome: 'completed', error: null };
const interrupted: StateEvent = { ...completed, outcome: 'interrupted' };
const failed: StateEvent = { ...completed, outcome: 'failed', error };
const asked: StateEvent = { type: 'requestOpened', requestId: 'r1', turnId: 't1' };
const askedAgain: StateEvent = { type: 'requestOpened', requestId: 'r2', turnId: 't1' };
const answered: StateEvent = { type: 'requestClosed', requestId: 'r1' };
const cancel: StateEvent = { type: 'stopRequested', reason: { kind: 'cancelled' } };
const crash: StateEvent = { type: 'stopRequested', reason: { kind: 'failed', error } };
const ended: StateEvent = { type: 'ended' };

function run(...events: StateEvent[]): TaskState {
  return events.reduce<TaskState>(reduce, { kind: 'submitted' });
}

describe('the state of a task', () => {
  it('works from the request of its turn to the evidence that nothing is left', () => {
    expect(run(turnRequested)).toEqual({ kind: 'working', turnId: null });
    expect(run(turnRequested, turnStarted)).toEqual({ kind: 'working', turnId: 't1' });
    expect(statusOf(run(turnRequested, turnStarted, completed))).toBe('working');
    expect(run(turnRequested, turnStarted, completed, ended)).toEqual({ kind: 'completed' });
  });

  it('fails and is cancelled with its turn', () => {
    expect(run(turnRequested, turnStarted, failed, ended)).toEqual({ kind: 'failed', error });
    expect(run(turnRequested, turnStarted, interrupted, ended)).toEqual({ kind: 'cancelled' });
  });

  it('needs input until every request is closed', () => {
    expect(run(turnRequested, turnStarted, asked, askedAgain, answered)).toEqual({
      kind: 'input_required',
      turnId: 't1',
      requestIds: ['r2'],
    });
    expect(run(turnRequested, turnStarted, asked, answered)).toEqual({ kind: 'working', turnId: 't1' });
  });

  it('keeps the reason of its first stop, whatever its turn says meanwhile', () => {
    expect(run(turnRequested, turnStarted, cancel, completed, ended)).toEqual({ kind: 'cancelled' });
    expect(run(turnRequested, turnStarted, cancel, crash, failed, ended)).toEqual({ kind: 'cancelled' });
    expect(run(turnRequested, crash, cancel, ended)).toEqual({ kind: 'failed', error });
    expect(run(cancel, ended)).toEqual({ kind: 'cancelled' });
  });

  it('keeps the first terminal state when a late event arrives', () => {
    const end = [turnRequested, turnStarted, cancel, ended];
    expect(run(...end, completed, asked, answered, crash, ended)).toEqual({ kind: 'cancelled' });
  });

  it('works again for a message, and for a turn that Codex starts by itself', () => {
    const end = [turnRequested, turnStarted, completed, ended];
    expect(run(...end, turnRequested)).toEqual({ kind: 'working', turnId: null });
    expect(run(...end, { type: 'turnStarted', turnId: 't2' })).toEqual({ kind: 'working', turnId: 't2' });
    expect(run(turnRequested, turnStarted, completed, { type: 'turnStarted', turnId: 't2' }, ended)).toEqual({
      kind: 'working',
      turnId: 't2',
    });
  });

  it('does not end with another turn than its own', () => {
    const other: StateEvent = { ...completed, turnId: 't0' };
    expect(run(turnRequested, turnStarted, other)).toEqual({ kind: 'working', turnId: 't1' });
  });

  it('holds its invariants under any events', () => {
    const events = [
      turnRequested,
      turnStarted,
      completed,
      interrupted,
      failed,
      asked,
      askedAgain,
      answered,
      cancel,
      crash,
      ended,
    ];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...events), { maxLength: 30 }), (sequence) => {
        let state: TaskState = { kind: 'submitted' };
        for (const event of sequence) {
          const next = reduce(state, event);
          // Terminal only through the evidence; out of terminal only through a turn.
          if (isTerminal(next) && !isTerminal(state)) expect(event).toBe(ended);
          if (isTerminal(state) && !isTerminal(next)) expect(event.type).toMatch(/^turn(Requested|Started)$/);
          if (state.kind === 'stopping' && next !== state) expect(event).toBe(ended);
          if (next.kind === 'input_required') expect(next.requestIds.length).toBeGreaterThan(0);
          state = next;
        }
      }),
    );
  });
});
