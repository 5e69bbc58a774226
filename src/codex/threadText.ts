import { BoundedMap } from '../core/boundedMap';
import { redactJson, Redaction } from '../base/redaction';
import { deltaParams, endedItemParams } from './protocol';

/** A notification of Codex. */
export interface Notification {
  readonly method: string;
  readonly params: unknown;
}

interface Stream extends Notification {
  readonly itemId: string;
  readonly text: Redaction;
}

/** More items than ever stream at once on one thread. */
const streamLimit = 50;

/** Names and places: what is done with them needs them as they are. */
const asItIs = /^(?:id|[a-z]+Id|path|move_path|cwd|grantRoot|method|type|status)$/;

/**
 * What Codex says about one thread, as people, agents and files get it: without secrets, also those that come in pieces.
 * Codex itself is answered by what it really said, and rules judge that.
 */
export class ThreadText {
  /** What streams, by method and item. */
  private readonly streams = new BoundedMap<string, Stream>(streamLimit);

  /** What is shown of a notification's parameters, the same object where they hold no secret, and the rests of what it ends. */
  take({ method, params }: Notification): { readonly rests: readonly Notification[]; readonly shown: unknown } {
    const streamed = deltaParams.safeParse(params).data;
    if (!streamed) return { rests: this.endedBy(method, params), shown: this.redacted(params) };
    const { itemId, delta, summaryIndex = 0, contentIndex = 0 } = streamed;
    const key = `${method} ${itemId} ${summaryIndex} ${contentIndex}`;
    const stream = this.streams.get(key) ?? { method, params, itemId, text: new Redaction() };
    this.streams.set(key, stream);
    const text = stream.text.push(delta);
    return { rests: [], shown: text === delta ? params : withDelta(params, text) };
  }

  /** Parameters of a request, say. */
  redacted(params: unknown): unknown {
    return redactJson(params, isName);
  }

  private endedBy(method: string, params: unknown): readonly Notification[] {
    const itemId = method === 'item/completed' ? endedItemParams.safeParse(params).data?.item.id : null;
    if (itemId === undefined || (itemId === null && method !== 'turn/completed')) return [];
    return [...this.streams].flatMap(([key, stream]) => {
      if (itemId !== null && stream.itemId !== itemId) return [];
      this.streams.take(key);
      const rest = stream.text.flush();
      return rest === '' ? [] : [{ method: stream.method, params: withDelta(stream.params, rest) }];
    });
  }
}

function withDelta(params: unknown, delta: string): unknown {
  return { ...(params as object), delta };
}

function isName(name: string): boolean {
  return asItIs.test(name);
}
