import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createTools, listedTool } from '../../src/mcp/mcpServer';
import { readArguments } from '../../src/mcp/readArguments';

const tools = createTools();
const schemaOf = (name: string) => tools.find((tool) => tool.name === name)!.inputSchema;
const read = (name: string, args: Record<string, unknown>) => readArguments(schemaOf(name), args);

describe('arguments as clients send them', () => {
  it.each([
    ['cancel-task', { task_id: '["a-b-1","c-d-2"]' }, { task_id: ['a-b-1', 'c-d-2'] }],
    ['cancel-task', { task_id: ' [ "a-b-1" ] ' }, { task_id: ['a-b-1'] }],
    ['wait-task', { timeout_ms: '30000', until: null }, { timeout_ms: 30_000 }],
    ['wait-task', { task_id: null, timeout_ms: 0 }, { timeout_ms: 0 }],
    ['spawn-task', { prompt: 'x', labels: '["a"]', timeout_ms: '1e3' }, { prompt: 'x', labels: ['a'], timeout_ms: 1_000 }],
    ['spawn-task', { prompt: 'x', context_files: '[{"path":"/a","description":null}]' }, { prompt: 'x', context_files: [{ path: '/a' }] }],
    ['spawn-task', { prompt: 'x', output_schema: '{"type":"object"}' }, { prompt: 'x', output_schema: { type: 'object' } }],
    ['respond-task', { answers: '{"q1":"[1]"}' }, { answers: { q1: '[1]' } }],
    ['respond-task', { content: '{"n":null}' }, { content: { n: null } }],
  ])('%s takes %j', (name, given, meant) => expect(read(name, given)).toEqual(meant)); // prettier-ignore

  it.each([
    ['spawn-task', { prompt: '{"a":1}' }],
    ['spawn-task', { prompt: '[1]' }],
    ['spawn-task', { prompt: '5' }],
    ['spawn-task', { prompt: null }],
    ['message-task', { task_id: 'a', message: '["a"]' }],
    ['respond-task', { result: '{"a":1}' }],
    ['respond-task', { result: '[1]' }],
    ['respond-task', { answers: { q1: '["a"]', q2: ['{"b":1}'] } }],
    ['wait-task', { timeout_ms: '30 s' }],
    ['wait-task', { timeout_ms: '0x10' }],
    ['wait-task', { timeout_ms: '' }],
    ['wait-task', { timeout_ms: ' 5' }],
    ['wait-task', { timeout_ms: 'true' }],
    ['wait-task', { task_id: '["a"' }],
    ['wait-task', { task_id: '{"a":1}' }],
    ['wait-task', { no_such_field: null }],
    ['spawn-task', { prompt: 'x', labels: '{"a":1}' }],
    ['spawn-task', { prompt: 'x', output_schema: '[1]' }],
  ])('%s leaves %j as it is', (name, given) => expect(read(name, given)).toEqual(given));

  it('makes all text well-formed, also what comes as JSON text', () => {
    expect(read('spawn-task', { prompt: 'a\ud800b', labels: '["\\ud83d"]', ['x\udc00']: ['\udc00'] })).toEqual({
      prompt: 'a\ufffdb',
      labels: ['\ufffd'],
      'x\ufffd': ['\ufffd'],
    });
  });

  it('never throws, and changes nothing that is meant already', () => {
    fc.assert(
      fc.property(fc.constantFrom(...tools), fc.dictionary(fc.string(), fc.jsonValue()), (tool, args) => {
        const once = readArguments(tool.inputSchema, args);
        expect(readArguments(tool.inputSchema, once)).toEqual(once);
      }),
    );
  });
});

describe('the list of tools', () => {
  const walk = (value: unknown, see: (schema: Record<string, unknown>) => void): void => {
    if (typeof value !== 'object' || value === null) return;
    see(value as Record<string, unknown>);
    for (const inner of Object.values(value)) walk(inner, see);
  };

  it('is lean: some clients give all of it to their model', () => {
    expect(Buffer.byteLength(JSON.stringify({ tools: tools.map(listedTool) }))).toBeLessThan(12_000);
  });

  it.each(tools.map((tool) => [tool.name, tool] as const))('%s has schemas that every client takes', (_name, tool) => {
    for (const schema of [tool.inputSchema, tool.outputSchema]) {
      expect(['oneOf', 'anyOf', 'allOf'].filter((key) => key in schema)).toEqual([]);
      walk(schema, (inner) => {
        expect(Object.keys(inner)).not.toContain('propertyNames');
        expect(Object.keys(inner)).not.toContain('$schema');
        const properties = (inner.properties ?? {}) as Record<string, Record<string, unknown>>;
        for (const [name, field] of Object.entries(properties)) expect([name, field.type ?? field.anyOf]).toEqual([name, expect.anything()]); // prettier-ignore
      });
    }
    expect(tool.outputSchema).not.toHaveProperty('required');
  });
});
