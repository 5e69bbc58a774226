import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';

type Fields = Readonly<Record<string, unknown>>;

/** Writes one streamed answer of the Responses API: output items as server-sent events, then the whole. */
export class ModelResponse {
  readonly id = newId('resp');
  private readonly output: Fields[] = [];
  private sequence = 0;
  private readonly response: ServerResponse;
  private readonly model: string;
  readonly closed: AbortSignal;

  constructor(response: ServerResponse, model: string, closed: AbortSignal) {
    this.response = response;
    this.model = model;
    this.closed = closed;
  }

  async begin(): Promise<void> {
    this.response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    await this.send('response.created', { response: this.whole('in_progress') });
  }

  /** A message streamed as `parts`, with a pause before each. */
  async message(parts: readonly string[], pauseMs = 0): Promise<void> {
    const id = newId('msg');
    const index = this.output.length;
    const place = { item_id: id, output_index: index, content_index: 0 };
    const empty = { type: 'message', id, role: 'assistant', status: 'in_progress', content: [] };
    await this.send('response.output_item.added', { output_index: index, item: empty });
    await this.send('response.content_part.added', { ...place, part: textPart('') });
    for (const part of parts) {
      if (pauseMs > 0) await pause(pauseMs, this.closed);
      if (this.closed.aborted) return;
      await this.send('response.output_text.delta', { ...place, delta: part });
    }
    const text = parts.join('');
    await this.send('response.output_text.done', { ...place, text });
    const item = { ...empty, status: 'completed', content: [textPart(text)] };
    this.output.push(item);
    await this.send('response.output_item.done', { output_index: index, item });
  }

  async reasoning(text: string): Promise<void> {
    const id = newId('rs');
    const item = { type: 'reasoning', id, summary: [{ type: 'summary_text', text }], encrypted_content: null };
    const place = { item_id: id, output_index: this.output.length, summary_index: 0 };
    await this.send('response.output_item.added', { output_index: this.output.length, item: { ...item, summary: [] } });
    await this.send('response.reasoning_summary_part.added', { ...place, part: { type: 'summary_text', text: '' } });
    for (const word of words(text)) await this.send('response.reasoning_summary_text.delta', { ...place, delta: word });
    await this.send('response.output_item.done', { output_index: this.output.length, item });
    this.output.push(item);
  }

  /** A call of a function tool. `name` may carry a namespace: `mcp__server/tool`. */
  call(name: string, args: unknown): Promise<void> {
    const [, namespace, tool = name] = /^(?:(.+)\/)?([^/]+)$/.exec(name) ?? [];
    const text = typeof args === 'string' ? args : JSON.stringify(args);
    return this.item({
      type: 'function_call',
      id: newId('fc'),
      call_id: newId('call'),
      ...(namespace === undefined ? {} : { namespace }),
      name: tool,
      arguments: text,
    });
  }

  /** A call of a tool that takes free text. */
  custom(name: string, input: string): Promise<void> {
    return this.item({ type: 'custom_tool_call', id: newId('ctc'), call_id: newId('call'), name, input });
  }

  async end(inputCharacters: number): Promise<void> {
    // About four characters make a token.
    const input = Math.ceil(inputCharacters / 4);
    const output = Math.max(1, Math.ceil(JSON.stringify(this.output).length / 4));
    const usage = {
      input_tokens: input,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: output,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: input + output,
    };
    await this.send('response.completed', { response: { ...this.whole('completed'), usage } });
    this.response.end();
  }

  /** Ends with `response.failed` or `response.incomplete` instead. */
  async endAs(status: 'failed' | 'incomplete', details: Fields): Promise<void> {
    await this.send(`response.${status}`, { response: { ...this.whole(status), ...details } });
    this.response.end();
  }

  /** Cuts the connection in the middle of an item. */
  async drop(): Promise<void> {
    const item = { type: 'message', id: newId('msg'), role: 'assistant', status: 'in_progress', content: [] };
    await this.send('response.output_item.added', { output_index: 0, item });
    await pause(50, this.closed);
    this.response.destroy();
  }

  private async item(item: Fields): Promise<void> {
    const index = this.output.length;
    this.output.push(item);
    await this.send('response.output_item.added', { output_index: index, item: { ...item, status: 'in_progress' } });
    await this.send('response.output_item.done', { output_index: index, item: { ...item, status: 'completed' } });
  }

  private whole(status: string): Fields {
    return { id: this.id, object: 'response', status, model: this.model, output: this.output };
  }

  private async send(type: string, data: Fields): Promise<void> {
    if (this.response.destroyed) return;
    const json = JSON.stringify({ type, sequence_number: this.sequence++, ...data });
    if (this.response.write(`event: ${type}\ndata: ${json}\n\n`)) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.response.off('drain', done).off('close', done);
        resolve();
      };
      this.response.on('drain', done).on('close', done);
    });
  }
}

/** Resolves after `ms`, or at once when the signal aborts. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
  });
}

export function words(text: string): string[] {
  return text.match(/\S+\s*|\s+/g) ?? [text];
}

function textPart(text: string): Fields {
  return { type: 'output_text', text, annotations: [] };
}

function newId(prefix: string): string {
  return `${prefix}_${randomUUID().replaceAll('-', '')}`;
}
