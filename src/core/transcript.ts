import { BoundedMap } from './boundedMap';
import { beginningBefore, BoundedText, firstLine } from './boundedText';
import type { ChangedFile } from './taskSnapshot';
import type { FileChange, TaskEvent, TokenUsage } from './taskEvent';

/** What one event adds to the logs of its task; an absent field adds nothing. */
export interface LogEntry {
  /** Continuous text: the transcript. */
  readonly verbose?: string;
  /** One line without a time, `cmd …`, `agent …`, `turn …`. */
  readonly summary?: string;
  /** One line without a time, `TAG detail`. */
  readonly timeline?: string;
}

const streamedItems = 50;
const streamedCharacters = 64_000;

/**
 * Turns the events of one task into log text. It remembers which items were streamed, so that a completed item does
 * not repeat its deltas.
 */
export class Transcript {
  /** What was streamed of the items that are not completed, by item; only the newest are kept. */
  private readonly streamed = new BoundedMap<string, BoundedText>(streamedItems);
  private atLineStart = true;
  /** Of the thread so far. */
  private tokens: number | null = null;

  entry(event: TaskEvent): LogEntry {
    switch (event.type) {
      case 'turnStarted':
        return { summary: 'turn started', timeline: `TURN started ${event.turnId}` };
      case 'turnCompleted':
        return this.turnCompleted(event);
      case 'workResumed':
        return this.notice('warning', 'Codex works on this thread by itself.');
      case 'userMessage':
        return { verbose: this.block(quote(event.text)), timeline: `USER ${firstLine(event.text, 120)}` };
      case 'messageDelta':
        return { verbose: this.stream(event.itemId, event.text) };
      case 'message':
        return {
          verbose: this.finished(event.itemId, event.text),
          summary: `agent ${firstLine(event.text, 200)}`,
          timeline: `AGENT ${firstLine(event.text, 120)}`,
        };
      case 'reasoningDelta':
        return { verbose: this.stream(event.itemId, event.text) };
      case 'reasoning':
        return { verbose: this.finished(event.itemId, event.text), timeline: `THINK ${firstLine(event.text, 120)}` };
      case 'commandStarted':
        return {
          verbose: this.block(`$ ${event.command}`),
          summary: `cmd $ ${firstLine(event.command, 200)}`,
          timeline: `CMD ${firstLine(event.command, 120)}`,
        };
      case 'commandOutput':
        return { verbose: this.stream(event.itemId, event.text) };
      case 'commandCompleted':
        return this.commandCompleted(event);
      case 'filesChanging':
        return {};
      case 'filesChanged':
        return this.filesChanged(event);
      case 'toolStarted':
        return {
          verbose: this.block(`⚙ ${event.tool}`),
          summary: `tool ${event.tool}`,
          timeline: `TOOL ${event.tool}`,
        };
      case 'toolCompleted':
        return { verbose: this.block(`[${event.tool}: ${event.outcome}]`) };
      case 'plan': {
        const steps = event.steps.map((step) => `  ${planMarks[step.status]} ${step.step}`).join('\n');
        return { verbose: this.block(`plan:\n${steps}`), timeline: `PLAN ${event.steps.length} steps` };
      }
      case 'diff':
        return {};
      case 'usage':
        this.tokens = event.usage.totalTokens;
        return {};
      case 'model':
        return { verbose: this.block(`[model: ${event.model}]`), timeline: `MODEL ${event.model}` };
      case 'retrying':
        return this.notice('retrying', event.message);
      case 'note':
        return this.notice(event.level, event.text);
    }
  }

  /** A line of the worker's own in the task's log. */
  notice(tag: string, text: string): LogEntry {
    return {
      verbose: this.block(`[${tag}] ${text}`),
      summary: `${tag} ${firstLine(text, 200)}`,
      timeline: `${tag.toUpperCase()} ${firstLine(text, 120)}`,
    };
  }

  private turnCompleted(event: TaskEvent & { type: 'turnCompleted' }): LogEntry {
    const took = event.durationMs === null ? '' : ` in ${formatDuration(event.durationMs)}`;
    const why = event.error === null ? '' : `: ${event.error.message}`;
    const tokens = this.tokens === null ? '' : ` · ${formatTokens(this.tokens)} tokens in all`;
    const text = `turn ${event.outcome}${took}${tokens}${why}`;
    return { verbose: this.block(`── ${text} ──`), summary: text, timeline: `TURN ${event.outcome}${took}${why}` };
  }

  private commandCompleted(event: TaskEvent & { type: 'commandCompleted' }): LogEntry {
    const output = this.unseen(event.itemId, event.output ?? '');
    const result = event.outcome === 'declined' ? 'declined' : `exit ${event.exitCode ?? '?'}`;
    const took = event.durationMs === null ? '' : ` · ${formatDuration(event.durationMs)}`;
    const text = output === '' ? '' : this.block(output.replace(/\n$/, ''));
    const verdict = `${result}${took}`;
    return {
      verbose: text + this.block(`[${verdict}]`),
      summary: `cmd [${verdict}] ${firstLine(event.command, 160)}`,
      timeline: `EXIT ${verdict} ${firstLine(event.command, 100)}`,
    };
  }

  private filesChanged(event: TaskEvent & { type: 'filesChanged' }): LogEntry {
    const lines = event.changes.map((change) => {
      const { added, removed } = countLines(change);
      return `${change.kind} ${movedPath(change)} (+${added} −${removed})`;
    });
    const refused = event.outcome === 'completed' ? '' : ` [${event.outcome}]`;
    return {
      verbose: lines.map((line) => this.block(`✎ ${line}${refused}`)).join(''),
      summary: `files${refused} ${firstLine(lines.join(', '), 200)}`,
      timeline: `FILES${refused} ${firstLine(lines.join(', '), 120)}`,
    };
  }

  /** The output that was not streamed: all of a short command's, and the first moments of a long one (seen). */
  private unseen(itemId: string, output: string): string {
    const streamed = this.streamed.take(itemId);
    if (streamed === undefined) return output;
    const head = beginningBefore(streamed, output);
    return head === '' ? '' : `[before that]\n${head}`;
  }

  private stream(itemId: string, text: string): string {
    const streamed = this.streamed.get(itemId);
    const start = streamed !== undefined || this.atLineStart ? '' : '\n';
    const kept = streamed ?? new BoundedText(streamedCharacters);
    kept.append(text);
    if (!streamed) this.streamed.set(itemId, kept);
    if (text !== '') this.atLineStart = text.endsWith('\n');
    return start + text;
  }

  private finished(itemId: string, text: string): string {
    return this.streamed.take(itemId) === undefined ? this.block(text) : this.endLine();
  }

  private block(text: string): string {
    if (text === '') return '';
    const start = this.endLine();
    this.atLineStart = true;
    return `${start}${text}\n`;
  }

  private endLine(): string {
    const end = this.atLineStart ? '' : '\n';
    this.atLineStart = true;
    return end;
  }
}

const planMarks = { pending: '○', in_progress: '◐', completed: '●' } as const;

function quote(text: string): string {
  return text
    .split('\n')
    .map((line) => `> ${line}`)
    .join('\n');
}

/** `850 ms`, `3.2 s`, `4 m 05 s`, `2 h 03 m`. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 999.5) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 59.5) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const whole = Math.round(seconds);
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} m ${pad(whole % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${pad(minutes % 60)} m`;
}

/** `HH:MM:SS` in the local time zone. */
export function formatClock(time: number): string {
  const date = new Date(time);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map(pad).join(':');
}

function pad(value: number): string {
  return String(value).padStart(2, '0');
}

/** `840`, `5.1k`, `1.2M` tokens. */
export function formatTokens(tokens: number): string {
  if (tokens < 1000) return String(tokens);
  return tokens < 1_000_000 ? `${(tokens / 1000).toFixed(1)}k` : `${(tokens / 1_000_000).toFixed(1)}M`;
}

/** Percent of the context window that the last model call filled; null when the window is not known. */
export function contextUsed(usage: TokenUsage): number | null {
  if (usage.contextWindow === null || usage.contextWindow <= 0) return null;
  return Math.round((usage.lastTokens / usage.contextWindow) * 1000) / 10;
}

/** Lines that a change adds and removes. Codex gives an added or deleted file as its whole text. */
export function countLines(change: FileChange): { added: number; removed: number } {
  const lines = change.patch.split('\n');
  if (change.kind !== 'update') {
    const count = lines.at(-1) === '' ? lines.length - 1 : lines.length;
    return change.kind === 'add' ? { added: count, removed: 0 } : { added: 0, removed: count };
  }
  let [isInHunk, added, removed] = [false, 0, 0];
  for (const line of lines) {
    if (line.startsWith('@@')) isInHunk = true;
    // The names of the files stand before the first hunk; in one it is a line that begins so.
    else if (!isInHunk && /^(?:---|\+\+\+) /.test(line)) continue;
    else if (line.startsWith('+')) added++;
    else if (line.startsWith('-')) removed++;
  }
  return { added, removed };
}

/** `path`, or `path → new path`. */
export function movedPath({ path, movedTo }: FileChange): string {
  return movedTo === undefined ? path : `${path} → ${movedTo}`;
}

export function changedFile(change: FileChange): ChangedFile {
  return { path: change.movedTo ?? change.path, kind: change.kind, ...countLines(change) };
}
