import { describe, expect, it } from 'vitest';
import { attachedClient, callerId, clientOf, nameOfAttached } from '../../src/core/caller';
import { meantAnswer, shownQuestion } from '../../src/core/shownRequest';
import { SpawnCalls } from '../../src/core/spawnCalls';
import type { TaskSnapshot } from '../../src/core/taskSnapshot';
import { base } from '../fakes/snapshots';

describe('a caller', () => {
  it('is a client, and a conversation inside it', () => {
    expect([callerId('window', null), callerId('window', 'chat-1')]).toEqual(['window', 'window#chat-1']);
    expect(clientOf('window#chat-1')).toBe('window');
    expect(nameOfAttached(attachedClient('claude-code'))).toBe('claude-code');
  });

  it.each(['a#b', 'x y', '', 'ü', 'x'.repeat(200), '\n'])('of the odd name %j names no other', (name) => {
    expect(attachedClient(name)).toMatch(/^attached [0-9a-f]{16}$/);
    expect(clientOf(callerId('window', name))).toBe('window');
  });
});

describe('a spawn that is sent again', () => {
  const task: TaskSnapshot = { ...base, id: 'a-b-1' };
  const call = (answered: Promise<boolean>, retryKey?: string) => ({ retryKey, answered });
  const fresh = call(new Promise<boolean>(() => undefined));

  it('while its task is still in the making gets that task', async () => {
    const calls = new SpawnCalls(Date.now);
    let make: (made: TaskSnapshot) => void = () => undefined;
    const making = new Promise<TaskSnapshot>((resolve) => (make = resolve));
    calls.note('hash', call(Promise.resolve(false)), making, () => undefined);
    await Promise.resolve();
    const repeated = calls.repeated('hash', fresh);
    make(task);
    expect(await repeated).toBe(task.id);
  });

  it('gets another one when the first was refused, was answered, or is long ago', async () => {
    let now = 0;
    const calls = new SpawnCalls(() => now);
    calls.note('refused', call(Promise.resolve(false)), Promise.reject(new Error('no')), () => undefined);
    calls.note('answered', call(Promise.resolve(true)), Promise.resolve(task), () => undefined);
    calls.note('lost', call(Promise.resolve(false)), Promise.resolve(task), () => undefined);
    await new Promise(setImmediate);
    expect(await calls.repeated('refused', fresh)).toBeUndefined();
    expect(await calls.repeated('answered', fresh)).toBeUndefined();
    expect(await calls.repeated('lost', fresh)).toBe(task.id);
    now = 60_000;
    expect(await calls.repeated('lost', fresh)).toBeUndefined();
  });

  it('after a restart is found if it was made a moment before, and not a day later', async () => {
    const now = 100_000_000;
    const calls = new SpawnCalls(() => now);
    calls.restore('new', { id: 'a-b-1', createdAt: now - 200_000 });
    calls.restore('old', { id: 'a-b-2', createdAt: now - 86_400_000 });
    expect([await calls.repeated('new', fresh), await calls.repeated('old', fresh)]).toEqual(['a-b-1', undefined]);
  });
});

describe('a question with a secret in it', () => {
  const [one, two] = [`sk-${'a'.repeat(30)}`, `sk-${'b'.repeat(30)}`];
  const options = [one, two, 'neither'].map((label) => ({ label, description: '' }));
  const asked = { id: 'q', header: '', text: `which of ${one}?`, options, allowFreeform: true, isSecret: false };
  const question = { type: 'user_input', questions: [asked], forPerson: false } as const;

  it('is shown without it, and each option is still one of its own', () => {
    const shown = shownQuestion(question);
    expect(JSON.stringify(shown)).not.toContain('sk-');
    const labels = 'questions' in shown ? shown.questions[0]!.options.map(({ label }) => label) : [];
    expect(new Set(labels).size).toBe(3);
    const meant = labels.map((label) => meantAnswer(question, { kind: 'input', answers: { q: [label] } }));
    expect(meant).toEqual([one, two, 'neither'].map((label) => ({ kind: 'input', answers: { q: [label] } })));
  });

  it('takes a text of one’s own as it is', () => {
    const answer = { kind: 'input', answers: { q: ['my own [redacted] text', 'x'] } } as const;
    expect(meantAnswer(question, answer)).toEqual(answer);
  });
});
