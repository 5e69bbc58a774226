import { type Disposable, toDisposable } from './disposable';

/** Subscribe with a listener; dispose the result to unsubscribe. */
export type Event<T> = (listener: (value: T) => void) => Disposable;

/** Fires values to listeners. A listener that throws is reported and does not stop the others. */
export class Emitter<T> implements Disposable {
  private readonly listeners = new Set<(value: T) => void>();

  private readonly onListenerError: (error: unknown) => void;

  constructor(onListenerError: (error: unknown) => void = reportLater) {
    this.onListenerError = onListenerError;
  }

  readonly event: Event<T> = (listener) => {
    const own = (value: T): void => listener(value);
    this.listeners.add(own);
    return toDisposable(() => this.listeners.delete(own));
  };

  fire(value: T): void {
    for (const listener of [...this.listeners]) {
      try {
        listener(value);
      } catch (error) {
        this.onListenerError(error);
      }
    }
  }

  dispose(): void {
    this.listeners.clear();
  }
}

let reportBug: ((error: unknown) => void) | null = null;

/** Has the bugs of listeners told in a log: one in a view must not end the program and its tasks. */
export function tellListenerBugs(report: (error: unknown) => void): void {
  reportBug = report;
}

/** An error of a listener is a bug of the listener. Where nobody wants to be told it surfaces as an uncaught one. */
function reportLater(error: unknown): void {
  queueMicrotask(() => {
    if (!reportBug) throw error;
    reportBug(error);
  });
}
