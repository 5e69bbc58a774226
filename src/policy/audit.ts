import { createHash } from 'node:crypto';
import { appendFile, open, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { readLines } from '../base/readText';
import { Emitter } from '../core/emitter';
import { messageOf } from '../core/errors';
import type { Log } from '../core/ports';

/** What was decided about a call. Argument values are not in it. */
export interface AuditEvent {
  readonly caller: string;
  /** Name and version of the client's program, as far as it said. */
  readonly client: string | null;
  readonly tool: string;
  /** Names of the arguments. */
  readonly keys: readonly string[];
  /** SHA-256 of the arguments' JSON with sorted keys; of the text where they were none. */
  readonly hash: string;
  readonly decision: 'allowed' | 'denied' | 'asked' | 'malformed' | 'person' | 'attached';
  readonly rule: string | null;
  /** Who approved or refused it, when somebody was asked. */
  readonly by: string | null;
  readonly tasks: readonly string[];
}

const lineSchema = z.looseObject({
  t: z.number(),
  previous: z.string(),
  caller: z.string(),
  client: z.string().nullable(),
  tool: z.string(),
  decision: z.string(),
  rule: z.string().nullable(),
  by: z.string().nullable(),
  tasks: z.array(z.string()),
});
export type AuditLine = z.infer<typeof lineSchema>;

export const auditFile = 'audit.jsonl';
const olderFile = 'audit.1.jsonl';
const fileLimit = 16 * 1024 * 1024;
/** Before the first line. */
const beginning = '0'.repeat(64);
const recentLimit = 200;
/** Bytes of the newest file that are read before anything else goes on: more than the latest events take. */
const tailSize = 512 * 1024;
/** Characters; a line has some hundreds, and more where somebody named much. */
const lineLimit = 4 * 1024 * 1024;

/**
 * A line an event in `audit.jsonl` of a state directory, mode 0600; at 16 MB it becomes `audit.1.jsonl`. Each line holds the
 * hash of the line before it, so that a missing or changed one shows. One writer a directory.
 */
export class AuditTrail {
  private writing: Promise<void> = Promise.resolve();
  private readonly recentLines: AuditLine[] = [];
  /** Denials of a day, which changes with UTC. */
  private denials = { day: 0, count: 0 };
  private readonly emitter = new Emitter<undefined>();
  readonly onDidRecord = this.emitter.event;
  private bytes: number;
  private troubled = false;
  /** A writer was killed in the middle of a line. */
  private isTorn = false;
  private previous = beginning;
  private readonly dir: string;
  private readonly log: Log;

  private constructor(dir: string, bytes: number, log: Log) {
    this.dir = dir;
    this.bytes = bytes;
    this.log = log;
  }

  /** Goes on after the last line that is there. */
  static async open(dir: string, log: Log): Promise<AuditTrail> {
    const path = join(dir, auditFile);
    const { size } = await stat(path).catch(() => ({ size: 0 }));
    const trail = new AuditTrail(dir, size, log);
    const start = Math.max(0, size - tailSize);
    // What is older is only counted, and nobody waits for that.
    if (start === 0) for await (const line of linesOf(join(dir, olderFile))) trail.goOnAfter(line);
    else void trail.countOlder(start).catch(() => undefined);
    for await (const line of readLines(path, lineLimit, { start })) trail.goOnAfter(line);
    // One line may be longer than the tail.
    if (trail.previous === beginning) for await (const line of linesOf(path)) trail.goOnAfter(line);
    trail.isTorn = await endsInAPart(path, size);
    return trail;
  }

  /** The latest events, oldest first. */
  get recent(): readonly AuditLine[] {
    return this.recentLines;
  }

  get deniedToday(): number {
    return this.denials.day === today() ? this.denials.count : 0;
  }

  record(event: AuditEvent): void {
    const line = { t: Date.now(), ...event, tasks: [...event.tasks], previous: this.previous };
    const text = JSON.stringify(line);
    this.previous = hashOfLine(text);
    this.remember(line);
    this.writing = this.writing.then(() => this.write(`${text}\n`));
    this.emitter.fire(undefined);
  }

  private goOnAfter(text: string): void {
    this.previous = hashOfLine(text);
    const line = parseLine(text);
    if (line) this.remember(line);
  }

  private async countOlder(end: number): Promise<void> {
    for await (const text of linesOf(join(this.dir, olderFile))) this.count(parseLine(text));
    for await (const text of readLines(join(this.dir, auditFile), lineLimit, { end })) this.count(parseLine(text));
    this.emitter.fire(undefined);
  }

  private count(line: AuditLine | null): void {
    if (line?.decision !== 'denied' || dayOf(line.t) !== today()) return;
    this.denials = { day: today(), count: this.deniedToday + 1 };
  }

  private remember(line: AuditLine): void {
    this.count(line);
    this.recentLines.push(line);
    if (this.recentLines.length > recentLimit) this.recentLines.shift();
  }

  /** Resolves when everything is written, as far as it can be. */
  flush(): Promise<void> {
    return this.writing;
  }

  private async write(text: string): Promise<void> {
    const path = join(this.dir, auditFile);
    try {
      if (this.bytes > fileLimit) {
        await rename(path, join(this.dir, olderFile));
        this.bytes = 0;
      }
      await appendFile(path, this.isTorn ? `\n${text}` : text, { mode: 0o600 });
      this.isTorn = false;
      this.bytes += Buffer.byteLength(text);
    } catch (error) {
      if (!this.troubled) this.log('error', `The audit trail cannot be written: ${messageOf(error)}`);
      this.troubled = true;
    }
  }
}

/** Whether the last line has no end. */
async function endsInAPart(path: string, size: number): Promise<boolean> {
  const file = size === 0 ? null : await open(path);
  try {
    const last = await file?.read(Buffer.alloc(1), 0, 1, size - 1);
    return last?.buffer[0] !== undefined && last.buffer[0] !== 0x0a;
  } finally {
    await file?.close();
  }
}

function today(): number {
  return dayOf(Date.now());
}

function dayOf(time: number): number {
  return Math.floor(time / 86_400_000);
}

export interface AuditReport {
  readonly lines: number;
  /** The first line that does not follow from the one before it; null when all do. */
  readonly broken: { readonly file: string; readonly line: number } | null;
}

/** Looks whether a line is missing or was changed. What was cut off at the end of the newest file cannot show. */
export async function verifyAudit(dir: string): Promise<AuditReport> {
  let previous: string | null = null;
  let lines = 0;
  let torn: AuditReport['broken'] = null;
  for (const name of [olderFile, auditFile]) {
    let line = 0;
    for await (const text of linesOf(join(dir, name))) {
      line++;
      lines++;
      const parsed = parseLine(text);
      // The oldest file that is kept begins where an older one ended.
      const follows =
        previous === null ? name === olderFile || parsed?.previous === beginning : parsed?.previous === previous;
      // A writer that was killed leaves half a line, from which the next one follows all the same.
      torn = parsed ? null : { file: join(dir, name), line };
      if (parsed && !follows) return { lines, broken: { file: join(dir, name), line } };
      previous = hashOfLine(text);
    }
  }
  return { lines, broken: torn };
}

/** All lines that are kept, oldest first; what is no line of a trail is left out. */
export async function* readAudit(dir: string): AsyncGenerator<AuditLine> {
  for (const name of [olderFile, auditFile]) {
    for await (const text of linesOf(join(dir, name))) {
      const line = parseLine(text);
      if (line) yield line;
    }
  }
}

/** One line of the trail, for people. */
export function describeDecision({ t, decision, tool, tasks, caller, client, rule, by }: AuditLine): string {
  const why = [rule, by].filter((part) => part !== null).join(', ');
  const parts = [
    new Date(t).toISOString(),
    decision,
    tool,
    tasks.join(' '),
    `by ${client ?? caller}`,
    why && `(${why})`,
  ];
  return parts.filter((part) => part !== '').join(' ');
}

function parseLine(text: string): AuditLine | null {
  try {
    return lineSchema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

function linesOf(path: string): AsyncGenerator<string> {
  return readLines(path, lineLimit);
}

function hashOfLine(line: string): string {
  return createHash('sha256').update(line).digest('hex');
}
