/** The lines of a thread in their order, also when something that belongs between them has to be looked for. */
export class LineOrder {
  private waiting: (() => void)[] | null = null;
  private position: number | null = null;

  /** Where the first line that is held stands in all that the server said; null when none is. */
  get heldFrom(): number | null {
    return this.waiting ? this.position : null;
  }

  /** Takes a line now, or after what is held. */
  take(line: () => void): void {
    if (this.waiting) this.waiting.push(line);
    else line();
  }

  /** Holds a line, and all that come after it, until `before` is done; it must have a limit and never reject. */
  hold(before: Promise<void>, line: () => void, position: number | null): void {
    this.position = position;
    const waiting = [line];
    this.waiting = waiting;
    void before.then(() => {
      if (this.waiting === waiting) this.release();
    });
  }

  /** Takes everything that is held now. */
  release(): void {
    const [first, ...rest] = this.waiting ?? [];
    this.waiting = null;
    // What is held again by one of them holds those after it.
    first?.();
    for (const line of rest) this.take(line);
  }
}
