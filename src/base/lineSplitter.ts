import { StringDecoder } from 'node:string_decoder';

/** Longest line that is taken, in characters. The longest one seen was 1.1 MB, the echo of a 1 MB prompt. */
export const lineLimit = 64 * 1024 * 1024;

/** Cuts a stream of bytes into lines. Lines and UTF-8 characters may be split over chunks. */
export class LineSplitter {
  private readonly decoder = new StringDecoder('utf8');
  private parts: string[] = [];
  private length = 0;
  private readonly onLine: (line: string) => void;
  private readonly onTooLong: () => void;
  private readonly limit: number;

  constructor(onLine: (line: string) => void, onTooLong: () => void, limit = lineLimit) {
    this.onLine = onLine;
    this.onTooLong = onTooLong;
    this.limit = limit;
  }

  push(chunk: Buffer): void {
    const text = this.decoder.write(chunk);
    let start = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', start)) {
      this.keep(text.slice(start, end));
      this.flush();
      start = end + 1;
    }
    if (start < text.length) this.keep(text.slice(start));
  }

  /** What came after the last line break is a line too. */
  end(): void {
    this.keep(this.decoder.end());
    this.flush();
  }

  private keep(rest: string): void {
    this.length += rest.length;
    if (this.length <= this.limit) this.parts.push(rest);
    else this.parts = [];
  }

  private flush(): void {
    const tooLong = this.length > this.limit;
    const line = this.parts.join('');
    this.parts = [];
    this.length = 0;
    if (tooLong) this.onTooLong();
    else if (line.trim() !== '') this.onLine(line);
  }
}
