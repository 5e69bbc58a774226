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

  constructor(onLine: (line: string) => void, onTooLong: () => void) {
    this.onLine = onLine;
    this.onTooLong = onTooLong;
  }

  push(chunk: Buffer): void {
    const text = this.decoder.write(chunk);
    let start = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', start)) {
      this.parts.push(text.slice(start, end));
      this.flush();
      start = end + 1;
    }
    if (start < text.length) this.keep(text.slice(start));
  }

  private keep(rest: string): void {
    this.length += rest.length;
    if (this.length <= lineLimit) this.parts.push(rest);
    else this.parts = [];
  }

  private flush(): void {
    const tooLong = this.length > lineLimit;
    const line = this.parts.join('');
    this.parts = [];
    this.length = 0;
    if (tooLong) this.onTooLong();
    else if (line.trim() !== '') this.onLine(line);
  }
}
