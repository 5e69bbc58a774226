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
/** A spawn that waits for the task's news takes no longer, in ms. */
const longestCallMs = 300_000;
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
  private readonly lost = new BoundedMap<string, { readonly id: Promise<TaskId>; readonly at: number }>(callLimit);
  private readonly sent = new BoundedMap<string, Sent>(callLimit);
  private readonly now: () => number;

  constructor(now: () => number) {
    this.now = now;
  }

  /** The task of the call that this one repeats. */
  async repeated(hash: string, { retryKey }: SpawnCall): Promise<TaskId | undefined> {
    const lost = this.lost.get(hash);
    // One that was refused after all made no task.
    if (lost && this.now() - lost.at < windowMs) return lost.id.catch(() => undefined);
    const sent = retryKey === undefined ? undefined : this.sent.get(`${hash} ${retryKey}`);
    const isLost = sent !== undefined && this.now() - sent.at < windowMs && (await wasLost(sent.answered));
    return isLost ? (await sent.task).id : undefined;
  }

  /** A call spawns a task; `onAnswered` is called when its caller has the answer. */
  note(hash: string, { retryKey, answered }: SpawnCall, task: Promise<TaskSnapshot>, onAnswered: () => void): void {
    const key = `${hash} ${retryKey ?? ''}`;
    if (retryKey !== undefined) this.sent.set(key, { task, answered, at: this.now() });
    const settle = async (): Promise<void> => {
      // Its task may still be in the making.
      if (!(await answered))
        this.remember(
          hash,
          task.then(({ id }) => id),
        );
      else if (await isMade(task)) {
        this.lost.delete(hash);
        onAnswered();
      }
    };
    // A refused call did nothing.
    task.catch(() => {
      this.sent.delete(key);
      this.lost.delete(hash);
    });
    void settle();
  }

  /** The answer to the spawn of a task of an earlier run may have got lost when that run ended. */
  restore(hash: string, { id, createdAt }: Pick<TaskSnapshot, 'id' | 'createdAt'>): void {
    if (this.now() - createdAt < longestCallMs + windowMs) this.remember(hash, Promise.resolve(id));
  }

  private remember(hash: string, id: Promise<TaskId>): void {
    id.catch(() => undefined);
    this.lost.set(hash, { id, at: this.now() });
  }
}

function isMade(task: Promise<unknown>): Promise<boolean> {
  return task.then(
    () => true,
    () => false,
  );
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
