/** Characters that wait for the channel; beyond it the oldest are skipped, and the reader is told. */
const waitingLimit = 512 * 1024;

/** Collects text between two appends, so that a flood of events costs a few appends a second. */
export class OutputQueue {
  private parts: string[] = [];
  private length = 0;
  private skipped = 0;

  push(text: string): void {
    this.parts.push(text);
    this.length += text.length;
    while (this.length > waitingLimit) {
      const oldest = this.parts.shift() ?? '';
      const kept = this.parts.length === 0 ? oldest.slice(-waitingLimit) : '';
      if (kept !== '') this.parts.push(kept);
      this.skipped += oldest.length - kept.length;
      this.length -= oldest.length - kept.length;
    }
  }

  /** What to append now; `logPath` is where the reader finds what was skipped. */
  take(logPath: string): string {
    const text = this.parts.join('');
    const notice = this.skipped === 0 ? '' : `\n[${this.skipped} characters skipped; all of it is in ${logPath}]\n`;
    this.parts = [];
    this.length = 0;
    this.skipped = 0;
    return notice + text;
  }
}
