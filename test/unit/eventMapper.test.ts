import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { mapNotification } from '../../src/codex/eventMapper';
import type { TaskEvent } from '../../src/core/taskEvent';
import { Transcript } from '../../src/core/transcript';

const dir = join(import.meta.dirname, '../transcripts');

interface Line {
  readonly dir: string;
  readonly m?: { readonly id?: unknown; readonly method?: string; readonly params?: unknown };
}

/** The notifications about threads that Codex 0.169.0 sent in a recorded conversation. */
function notifications(name: string): { method: string; params: unknown }[] {
  return readFileSync(join(dir, name), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)
    .flatMap(({ dir: direction, m }) =>
      direction === 'in' && m?.method !== undefined && m.id === undefined && hasThread(m.params)
        ? [{ method: m.method, params: m.params }]
        : [],
    );
}

function hasThread(params: unknown): boolean {
  return (
    typeof params === 'object' && params !== null && typeof (params as { threadId?: unknown }).threadId === 'string'
  );
}

describe.each(readdirSync(dir).filter((name) => name.endsWith('.ndjson')))('the recorded conversation %s', (name) => {
  it('maps to these events, and nothing in it is unknown', async () => {
    const events: TaskEvent[] = [];
    for (const { method, params } of notifications(name)) {
      const mapped = mapNotification(method, params);
      expect(mapped, method).toBeDefined();
      events.push(...(mapped ?? []));
    }
    const json = events.map((event) => JSON.stringify(event)).join('\n');
    await expect(`${json}\n`).toMatchFileSnapshot(join(dir, 'expected', name.replace('.ndjson', '.events.jsonl')));
    const transcript = new Transcript();
    const text = events.map((event) => transcript.entry(event).verbose ?? '').join('');
    await expect(text).toMatchFileSnapshot(join(dir, 'expected', name.replace('.ndjson', '.log')));
  });
});

describe('the mapper', () => {
  it.each([
    ['contextWindowExceeded', 'context_window'],
    ['usageLimitExceeded', 'usage_limit'],
    ['rateLimitExceeded', 'rate_limited'],
    ['serverOverloaded', 'model_error'],
    ['unauthorized', 'unauthorized'],
    ['badRequest', 'bad_request'],
    ['sandboxError', 'sandbox_error'],
    [{ httpConnectionFailed: { httpStatusCode: null } }, 'model_unreachable'],
    [{ responseTooManyFailedAttempts: { httpStatusCode: 429 } }, 'rate_limited'],
    [{ responseStreamDisconnected: { httpStatusCode: 502 } }, 'model_error'],
    [{ httpConnectionFailed: { httpStatusCode: 401 } }, 'unauthorized'],
    ['somethingNew', 'model_error'],
    [{ somethingNew: 7 }, 'model_error'],
    [null, 'model_error'],
  ])('names the failure %j %s', (codexErrorInfo, code) => {
    const turn = { id: 't', status: 'failed', error: { message: 'why', codexErrorInfo } };
    expect(mapNotification('turn/completed', { threadId: 'x', turn })).toMatchObject([
      { type: 'turnCompleted', outcome: 'failed', error: { code, message: 'why' } },
    ]);
  });

  it.each([
    [{ message: 'No such schema.', type: 'invalid_request_error', code: 'invalid_json_schema' }, 'bad_request', false],
    [{ message: 'No such schema.', type: 'invalid_request_error', code: null }, 'bad_request', false],
    [{ message: 'No such schema.', type: 'server_error' }, 'model_error', true],
  ])('reads what a provider refused: %j', (error, code, retryable) => {
    const told = { message: JSON.stringify({ error }), codexErrorInfo: 'other' };
    const turn = { id: 't', status: 'failed', error: told };
    expect(mapNotification('turn/completed', { threadId: 'x', turn })).toMatchObject([
      { error: { code, message: 'No such schema.', retryable } },
    ]);
  });

  it.each(['{"error":', '{"error":"why"}', `{"error":{"message":"${'x'.repeat(10_000)}"}}`])(
    'leaves other texts as they are: %s',
    (message) => {
      const turn = { id: 't', status: 'failed', error: { message, codexErrorInfo: 'other' } };
      expect(mapNotification('turn/completed', { threadId: 'x', turn })).toMatchObject([
        { error: { code: 'model_error', message } },
      ]);
    },
  );

  it('tolerates unknown fields, keeps the type of an unknown item, and does not know other methods', () => {
    const params = { threadId: 'x', itemId: 'i', delta: 'text', more: { deep: true } };
    expect(mapNotification('item/agentMessage/delta', params)).toEqual([
      { type: 'messageDelta', itemId: 'i', text: 'text' },
    ]);
    expect(mapNotification('item/completed', { item: { type: 'hologram', id: 'i' } })).toEqual([
      { type: 'note', level: 'info', text: 'hologram' },
    ]);
    expect(mapNotification('thread/teleported', {})).toBeUndefined();
    expect(() => mapNotification('turn/started', { turn: {} })).toThrow();
  });

  it('tells a retry, but not the final error, which the end of the turn tells', () => {
    const error = { message: 'again', codexErrorInfo: 'serverOverloaded' };
    expect(mapNotification('error', { error, willRetry: true })).toEqual([{ type: 'retrying', message: 'again' }]);
    expect(mapNotification('error', { error, willRetry: false })).toEqual([]);
  });
});
