import { CallError } from './errors';
import type { TurnInput, Unsaid } from './ports';

const queueLimit = 50;

/** What is still to be said to a task: in the turn that was asked for and has not begun, and in the turns behind it. */
export class UnsaidMessages {
  private next: TurnInput | null = null;
  private queue: TurnInput[] = [];
  private readonly onChange: (unsaid: Unsaid) => void;

  /** `onChange` is told whatever is to be kept. */
  constructor(onChange: (unsaid: Unsaid) => void) {
    this.onChange = onChange;
  }

  get queued(): number {
    return this.queue.length;
  }

  /** The input of the turn that has not begun. */
  get unbegun(): TurnInput | null {
    return this.next;
  }

  /** Takes over what an earlier run did not say. */
  restore({ next, queue }: Unsaid): void {
    this.next = next;
    this.queue = [...queue];
  }

  /** Throws `queue_full`. */
  enqueue(input: TurnInput, taskId: string): void {
    if (this.queue.length >= queueLimit) {
      throw new CallError('queue_full', `Task ${taskId} has ${queueLimit} messages waiting already.`, {
        hint: 'Wait for its turn to end.',
        retryable: true,
      });
    }
    this.queue.push(input);
    this.changed();
  }

  /** The turn of this input was asked for. */
  begins(input: TurnInput): void {
    this.next = input;
    this.changed();
  }

  /** The turn has begun: Codex has its input. */
  begun(): void {
    if (this.next === null) return;
    this.next = null;
    this.changed();
  }

  take(): TurnInput | undefined {
    return this.queue.shift();
  }

  /** Drops the queue and gives it. */
  drop(): readonly TurnInput[] {
    const dropped = this.queue.splice(0);
    if (dropped.length > 0) this.changed();
    return dropped;
  }

  private changed(): void {
    this.onChange({ next: this.next, queue: [...this.queue] });
  }
}
