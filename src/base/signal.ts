/** Lets code wait until a condition holds, checked whenever the signal is fired. */
export class Signal {
  private readonly waiting = new Set<() => void>();

  fire(): void {
    for (const check of [...this.waiting]) check();
  }

  /** True as soon as `holds`, false after `limitMs`. */
  until(holds: () => boolean, limitMs: number): Promise<boolean> {
    if (holds()) return Promise.resolve(true);
    return new Promise((resolve) => {
      const finish = (result: boolean): void => {
        clearTimeout(timer);
        this.waiting.delete(check);
        resolve(result);
      };
      const check = (): void => {
        if (holds()) finish(true);
      };
      const timer = setTimeout(() => finish(false), Math.max(0, limitMs));
      this.waiting.add(check);
    });
  }
}
