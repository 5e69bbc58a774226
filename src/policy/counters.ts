import { z } from 'zod';
import type { CounterUse, CounterWindow, WindowUnit } from './policy';

export const unitMs: Readonly<Record<WindowUnit, number>> = { minute: 60_000, hour: 3_600_000, day: 86_400_000 };

/** Counters that are one caller's own; the oldest are forgotten, which a caller cannot cause for another's. */
const slidingLimit = 10_000;

interface Aligned {
  /** Start of the window, in ms since the epoch. */
  start: number;
  readonly unit: WindowUnit;
  value: number;
}

interface Hit {
  at: number;
  readonly by: number;
}

const storedSchema = z.object({
  aligned: z.record(
    z.string(),
    z.object({ start: z.number(), unit: z.enum(['minute', 'hour', 'day']), value: z.number() }),
  ),
  sliding: z.record(z.string(), z.array(z.object({ at: z.number(), by: z.number() }))),
});

/**
 * What was counted for one policy. Windows of a unit are aligned to UTC and shared by all callers; sliding ones are each
 * caller's own. A clock that is set back ends no window.
 */
export class Counters {
  private readonly aligned = new Map<string, Aligned>();
  private readonly sliding = new Map<string, { readonly seconds: number; hits: Hit[] }>();
  private readonly now: () => number;
  /** Changes with everything that is counted or taken back. */
  revision = 0;

  constructor(now: () => number = Date.now) {
    this.now = now;
  }

  valueOf(scope: string, counter: string, caller: string): number {
    const name = `${scope}.${counter}`;
    const aligned = this.aligned.get(name);
    if (aligned) return this.startNow(aligned) > aligned.start ? 0 : aligned.value;
    return this.hitsOf(`${name} ${caller}`).reduce((sum, { by }) => sum + by, 0);
  }

  /** When `by` more will have room, in ms from now. */
  freeIn({ scope, counter, window, max }: CounterUse, by: number, caller: string): number {
    if (window.kind === 'aligned') return this.startOf(window.unit) + unitMs[window.unit] - this.now();
    let over = this.valueOf(scope, counter, caller) + by - (max ?? Infinity);
    for (const hit of this.hitsOf(`${scope}.${counter} ${caller}`)) {
      over -= hit.by;
      if (over <= 0) return Math.max(0, hit.at + window.seconds * 1_000 - this.now());
    }
    return window.seconds * 1_000;
  }

  /** Counts; the result takes it back, once. Look for room and count in one go: nothing may come in between. */
  add({ scope, counter, window }: CounterUse, by: number, caller: string): () => void {
    const name = `${scope}.${counter}`;
    this.revision++;
    return window.kind === 'aligned'
      ? this.addAligned(name, window.unit, by)
      : this.addSliding(`${name} ${caller}`, window, by);
  }

  private addAligned(name: string, unit: WindowUnit, by: number): () => void {
    const known = this.aligned.get(name);
    const start = known?.unit === unit ? this.startNow(known) : this.startOf(unit);
    const current = known?.unit === unit && known.start >= start ? known : { start, unit, value: 0 };
    current.value += by;
    this.aligned.set(name, current);
    return once(() => {
      this.revision++;
      current.value = Math.max(0, current.value - by);
    });
  }

  private addSliding(key: string, { seconds }: CounterWindow & { kind: 'sliding' }, by: number): () => void {
    const hit = { at: this.now(), by };
    const hits = [...this.hitsOf(key), hit];
    // The one that was used last is the newest.
    this.sliding.delete(key);
    this.sliding.set(key, { seconds, hits });
    if (this.sliding.size > slidingLimit) this.sliding.delete(this.sliding.keys().next().value ?? '');
    return once(() => {
      this.revision++;
      const entry = this.sliding.get(key);
      if (entry) entry.hits = entry.hits.filter((one) => one !== hit);
    });
  }

  private hitsOf(key: string): readonly Hit[] {
    const entry = this.sliding.get(key);
    if (!entry) return [];
    const now = this.now();
    const windowMs = entry.seconds * 1_000;
    // What was counted by a clock that had jumped ahead counts from now.
    entry.hits = entry.hits
      .map((hit) => (hit.at > now + windowMs ? Object.assign(hit, { at: now }) : hit))
      .filter(({ at }) => at > now - windowMs);
    return entry.hits;
  }

  /** The start of the window that is now. One that a clock began which had jumped ahead begins now, with what it counted. */
  private startNow(entry: Aligned): number {
    const start = this.startOf(entry.unit);
    if (entry.start > start + unitMs[entry.unit]) entry.start = start;
    return start;
  }

  private startOf(unit: WindowUnit): number {
    const now = this.now();
    return now - (now % unitMs[unit]);
  }

  /** What `load` takes. */
  save(): string {
    const sliding = [...this.sliding].map(([key, { seconds, hits }]) => [`${seconds} ${key}`, hits] as const);
    return JSON.stringify({ aligned: Object.fromEntries(this.aligned), sliding: Object.fromEntries(sliding) });
  }

  /** Throws when the text is not what `save` gave. */
  load(text: string): void {
    const { aligned, sliding } = storedSchema.parse(JSON.parse(text));
    for (const [name, entry] of Object.entries(aligned)) this.aligned.set(name, entry);
    for (const [stored, hits] of Object.entries(sliding)) {
      const [seconds = ''] = stored.split(' ', 1);
      this.sliding.set(stored.slice(seconds.length + 1), { seconds: Number(seconds), hits });
    }
  }
}

function once(work: () => void): () => void {
  let done = false;
  return () => {
    if (!done) work();
    done = true;
  };
}
