import { createHash } from 'node:crypto';
import { open, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { appendWhole } from '../base/appendWhole';
import { writePrivate } from '../base/privateFile';
import { readLines, readText } from '../base/readText';
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
  readonly decision: 'allowed' | 'denied' | 'asked' | 'malformed' | 'person' | 'attached' | 'gap';
  readonly rule: string | null;
  /** Who approved or refused it, when somebody was asked. */
  readonly by: string | null;
  readonly tasks: readonly string[];
}

const lineSchema = z.looseObject({
  t: z.number(),
  /** The number of the line in all that were ever written; lines of an earlier version have none. */
  n: z.int().optional(),
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

/** Events that wait for a disk that takes none. */
const pendingLimit = 10_000;
/** Characters that are written at once, about. */
const batchLimit = 1024 * 1024;
const headEveryMs = 200;

const headFile = 'audit-head.json';
/** Bytes. */
const headLimit = 4_096;
const headSchema = z.object({ lines: z.int().min(0), hash: z.string() });
/** The newest line that is known: its number and its hash. */
type Head = z.infer<typeof headSchema>;

interface Pending {
  readonly t: number;
  readonly event: AuditEvent;
}

/**
 * A line an event in `audit.jsonl` of a state directory, mode 0600; at 16 MB it becomes `audit.1.jsonl`. Each line holds the
 * hash of the line before it, so that a missing or changed one shows; the newest hash and the number of lines are kept in
 * `audit-head.json`, so that a cut tail shows. One writer a directory. What cannot be written is tried again with the next event.
 */
export class AuditTrail {
  private writing: Promise<void> = Promise.resolve();
  private pending: Pending[] = [];
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
  private lines = 0;
  private savedHead = '';
  private headTimer: NodeJS.Timeout | undefined;
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
    const head = await readHead(dir);
    const start = Math.max(0, size - tailSize);
    // What is older is only counted, and nobody waits for that.
    if (start === 0) for await (const line of linesOf(join(dir, olderFile))) trail.goOnAfter(line);
    else void trail.countOlder(start).catch(() => undefined);
    let isKnown = head === null || head.lines === 0;
    for await (const line of readLines(path, lineLimit, { start })) {
      trail.goOnAfter(line);
      isKnown ||= trail.previous === head?.hash;
    }
    // One line may be longer than the tail.
    if (trail.previous === beginning) for await (const line of linesOf(path)) trail.goOnAfter(line);
    isKnown ||= trail.previous === head?.hash;
    trail.isTorn = await endsInAPart(path, size);
    const isHeadGone = head === null && trail.lines > 0;
    // From here on there always is one.
    if (head === null && !isHeadGone) await trail.saveHead();
    trail.lines = Math.max(trail.lines, head?.lines ?? 0);
    if (!isKnown || isHeadGone)
      trail.recordGap(isHeadGone ? 'audit-head.json is missing' : 'the newest lines are missing');
    return trail;
  }

  /** The latest events, oldest first. */
  get recent(): readonly AuditLine[] {
    return this.recentLines;
  }

  get deniedToday(): number {
    return this.denials.day === today() ? this.denials.count : 0;
  }

  /** Whether what was decided last could be written. */
  get works(): boolean {
    return !this.troubled;
  }

  record(event: AuditEvent): void {
    const t = Date.now();
    if (this.pending.length < pendingLimit) this.pending.push({ t, event });
    this.remember({ t, previous: '', ...event, tasks: [...event.tasks] });
    this.writing = this.writing.then(() => this.writePending());
    this.emitter.fire(undefined);
  }

  private recordGap(rule: string): void {
    this.log('warn', `The audit trail in ${this.dir} was changed while nobody wrote it: ${rule}.`);
    const nobody = { caller: '', client: null, tool: '', keys: [], hash: '', by: null, tasks: [] };
    this.record({ ...nobody, decision: 'gap', rule });
  }

  private goOnAfter(text: string): void {
    this.previous = hashOfLine(text);
    const line = parseLine(text);
    this.lines = line?.n ?? this.lines;
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

  /** Resolves when everything was tried to be written; false when some of it could not be. */
  async flush(): Promise<boolean> {
    await this.writing;
    return this.pending.length === 0;
  }

  /** Writes what is left, and what `audit verify` compares it with. */
  async close(): Promise<void> {
    await this.flush();
    await this.saveHead();
  }

  private async writePending(): Promise<void> {
    while (this.pending.length > 0) {
      let [previous, lines, characters] = [this.previous, this.lines, 0];
      const texts: string[] = [];
      for (const { t, event } of this.pending) {
        if (characters > batchLimit) break;
        const text = JSON.stringify({ t, n: ++lines, ...event, previous });
        previous = hashOfLine(text);
        characters += text.length;
        texts.push(text);
      }
      if (!(await this.write(`${texts.join('\n')}\n`))) return;
      [this.previous, this.lines] = [previous, lines];
      this.pending.splice(0, texts.length);
      this.headTimer ??= setTimeout(() => void this.saveHead(), headEveryMs).unref();
    }
  }

  /** Whether all of it was written; otherwise none of it was. */
  private async write(text: string): Promise<boolean> {
    const path = join(this.dir, auditFile);
    try {
      if (this.bytes > fileLimit) {
        await rename(path, join(this.dir, olderFile));
        this.bytes = 0;
      }
      await appendWhole(path, this.isTorn ? `\n${text}` : text);
      this.isTorn = false;
      this.troubled = false;
      this.bytes += Buffer.byteLength(text);
      return true;
    } catch (error) {
      if (!this.troubled) this.log('error', `The audit trail cannot be written: ${messageOf(error)}`);
      this.troubled = true;
      return false;
    }
  }

  /** A line that is newer than what stands there is none that is missing. */
  private async saveHead(): Promise<void> {
    clearTimeout(this.headTimer);
    this.headTimer = undefined;
    const text = JSON.stringify({ lines: this.lines, hash: this.previous } satisfies Head);
    if (text === this.savedHead) return;
    try {
      await writePrivate(join(this.dir, headFile), text);
      this.savedHead = text;
    } catch (error) {
      this.log('warn', `What the audit trail is compared with cannot be written: ${messageOf(error)}`);
    }
  }
}

/** Null when it is missing, or no such file. */
async function readHead(dir: string): Promise<Head | null> {
  try {
    return headSchema.parse(JSON.parse((await readText(join(dir, headFile), headLimit)) ?? ''));
  } catch {
    return null;
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
  /** The first line with which something is wrong, 0 for the file; null when there is none. */
  readonly broken: { readonly file: string; readonly line: number; readonly why: string } | null;
}

const notFollowing = 'this line does not follow from the one before it: something is missing or was changed';

/** Looks whether a line is missing or was changed, also at the end. */
export async function verifyAudit(dir: string): Promise<AuditReport> {
  const head = await readHead(dir);
  let isHeadSeen = head?.hash === beginning;
  let previous: string | null = null;
  let number: number | null = null;
  let lines = 0;
  let last: AuditReport['broken'] = null;
  for (const name of [olderFile, auditFile]) {
    let line = 0;
    for await (const text of linesOf(join(dir, name))) {
      line++;
      lines++;
      const parsed = parseLine(text);
      const broken = (why: string): AuditReport => ({ lines, broken: { file: join(dir, name), line, why } });
      // The oldest file that is kept begins where an older one ended.
      const follows =
        previous === null ? name === olderFile || parsed?.previous === beginning : parsed?.previous === previous;
      // A writer that was killed leaves half a line, from which the next one follows all the same.
      last = parsed ? null : broken('this is no whole line').broken;
      if (parsed && !follows) return broken(notFollowing);
      if (parsed?.decision === 'gap') return broken(`before this line, ${parsed.rule ?? 'something was changed'}`);
      if (parsed?.n !== undefined && number !== null && parsed.n !== number + 1) return broken(notFollowing);
      number = parsed?.n ?? number;
      previous = hashOfLine(text);
      isHeadSeen ||= previous === head?.hash;
    }
  }
  const end = (why: string): AuditReport => ({ lines, broken: { file: join(dir, auditFile), line: 0, why } });
  if (last) return { lines, broken: last };
  if (head && !isHeadSeen) return end(`its newest lines are missing or were changed: there were ${head.lines} in all`);
  if (!head && number !== null) return end(`${headFile} is missing, so lines at its end may be missing too`);
  return { lines, broken: null };
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
