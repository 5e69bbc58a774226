import { BoundedMap } from './boundedMap';
import type { TaskId } from './taskId';
import type { TaskSnapshot } from './taskSnapshot';

/** The call that spawns a task, as far as its repetition has to be recognised. */
export interface SpawnCall {
  /** By what the client says of its conversation and its request: the same when it sends the call again. */
  readonly retryKey: string | undefined;
  /** Resolves to whether the answer reached the caller. */
  readonly answered: Promise<boolean>;
}

/** How long a call whose answer was lost is remembered, in ms. */
const windowMs = 60_000;
/** How long a repetition waits to learn whether the first answer arrived, in ms. */
const answerLimitMs = 2_000;
const callLimit = 200;

interface Sent {
  readonly task: Promise<TaskSnapshot>;
  readonly answered: Promise<boolean>;
  readonly at: number;
}

/**
 * Recognises a spawn that its caller sends again because it never got the answer: it is given the task of the first call.
 * Two equal spawns that both were answered are two tasks.
 */
export class SpawnCalls {
  /** Tasks whose spawn was not answered, by the hash of caller and request, with the time at which that showed. */
  private readonly lost = new BoundedMap<string, { readonly id: TaskId; readonly at: number }>(callLimit);
  private readonly sent = new BoundedMap<string, Sent>(callLimit);
  private readonly now: () => number;

  constructor(now: () => number) {
    this.now = now;
  }

  /** The task of the call that this one repeats. */
  async repeated(hash: string, { retryKey }: SpawnCall): Promise<TaskId | undefined> {
    const lost = this.lost.get(hash);
    if (lost && this.now() - lost.at < windowMs) return lost.id;
    const sent = retryKey === undefined ? undefined : this.sent.get(`${hash} ${retryKey}`);
    const isLost = sent !== undefined && this.now() - sent.at < windowMs && (await wasLost(sent.answered));
    return isLost ? (await sent.task).id : undefined;
  }

  /** A call spawns a task; `onAnswered` is called when its caller has the answer. */
  note(hash: string, { retryKey, answered }: SpawnCall, task: Promise<TaskSnapshot>, onAnswered: () => void): void {
    const key = `${hash} ${retryKey ?? ''}`;
    if (retryKey !== undefined) this.sent.set(key, { task, answered, at: this.now() });
    const settle = async (): Promise<void> => {
      const { id } = await task;
      if (!(await answered)) this.remember(hash, id);
      else {
        this.lost.delete(hash);
        onAnswered();
      }
    };
    // A refused call did nothing.
    settle().catch(() => this.sent.delete(key));
  }

  /** The answer to the spawn of this task got lost, in an earlier run it may be. */
  remember(hash: string, id: TaskId): void {
    this.lost.set(hash, { id, at: this.now() });
  }
}

async function wasLost(answered: Promise<boolean>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), answerLimitMs);
  });
  const arrived = await Promise.race([answered, late]);
  clearTimeout(timer);
  return !arrived;
}
