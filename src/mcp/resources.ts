import { ErrorCode, McpError, type Resource, type ResourceTemplate } from '@modelcontextprotocol/sdk/types.js';
import { lastLines } from '../core/boundedText';
import type { DamagedTask, JournalFile } from '../core/ports';
import type { TaskManager } from '../core/taskManager';
import type { TaskSnapshot } from '../core/taskSnapshot';
import { damagedDetail, scoreboard, taskDetail } from './documents';
import { parseTaskUri, type ResourceAddress, scoreboardUri, type TaskResource, taskUri } from './uris';

const pageSize = 50;
/** Bytes of a part when the reader names no limit, and the most that it may name. */
const partLimit = 64 * 1024;
const largestPart = 1024 * 1024;
/** The longest character of UTF-8: a smaller part would never get on. */
const smallestPart = 4;
const logLines = 100;

interface Kind {
  readonly name: string;
  readonly mimeType: string;
  readonly description: string;
}

const kinds: Readonly<Record<TaskResource, Kind>> = {
  '': { name: 'detail', mimeType: 'text/markdown', description: 'Fields, error, what changed, recent output' },
  '/log': { name: 'log', mimeType: 'text/plain', description: 'The last lines of the log' },
  '/log.verbose': { name: 'transcript', mimeType: 'text/plain', description: 'The whole transcript' },
  '/timeline': { name: 'timeline', mimeType: 'text/plain', description: 'A line an event' },
  '/events': { name: 'events', mimeType: 'application/jsonl', description: 'Every notification of Codex' },
  '/events/summary': {
    name: 'events without deltas',
    mimeType: 'application/jsonl',
    description: 'Events without deltas',
  },
  '/diff': { name: 'diff', mimeType: 'text/x-diff', description: 'What the task changed' },
};

const scoreboardResource: Resource = {
  uri: scoreboardUri,
  name: 'scoreboard',
  title: 'All Codex tasks',
  mimeType: 'text/plain',
  description: 'A line a task: status, labels, time, tokens, what it waits for',
};

export const resourceTemplates: readonly ResourceTemplate[] = Object.entries(kinds).map(([path, kind]) => ({
  uriTemplate: `task:///{id}${path}${kind.mimeType === 'text/markdown' ? '' : '{?offset,limit}'}`,
  name: kind.name,
  mimeType: kind.mimeType,
  description: kind.description,
}));

/** The scoreboard, then each task's detail and log, in pages; the cursor is the number of tasks before the page. */
export function listResources(
  all: readonly TaskSnapshot[],
  cursor: string | undefined,
): { resources: Resource[]; nextCursor?: string } {
  if (cursor !== undefined && !/^\d{1,9}$/.test(cursor)) {
    throw new McpError(ErrorCode.InvalidParams, `Unknown cursor "${cursor.slice(0, 50)}".`);
  }
  const start = Number(cursor ?? 0);
  const page = all.slice(start, start + pageSize).flatMap(taskEntries);
  const resources = start === 0 ? [scoreboardResource, ...page] : page;
  const next = start + pageSize;
  return next < all.length ? { resources, nextCursor: String(next) } : { resources };
}

function taskEntries(task: TaskSnapshot): Resource[] {
  return (['', '/log'] as const).map((path) => ({
    uri: taskUri(task.id, path),
    name: `${task.id}${path}`,
    title: task.title,
    mimeType: kinds[path].mimeType,
    description: kinds[path].description,
  }));
}

export interface ResourceText {
  /** MCP's result types are open records. */
  [key: string]: unknown;
  readonly uri: string;
  readonly mimeType: string;
  readonly text: string;
}

/** Reads one resource. Throws an `McpError` for a URI that is not ours or a task that is not among those that are shown. */
export async function readResource(
  tasks: TaskManager,
  uri: string,
  shown: readonly TaskSnapshot[],
  damaged: readonly DamagedTask[] = [],
): Promise<ResourceText> {
  const address = parseTaskUri(uri);
  const mayBePart = address?.resource !== '' || (address.offset === null && address.limit === null);
  if (!address || !mayBePart) throw notFound(uri);
  if (address.id === 'all') {
    if (address.resource !== '') throw notFound(uri);
    return { uri, mimeType: 'text/plain', text: scoreboard(shown, damaged, Date.now()) };
  }
  const lost = address.resource === '' ? damaged.find(({ id }) => id === address.id) : undefined;
  if (lost) return { uri, mimeType: kinds[''].mimeType, text: damagedDetail(lost) };
  const task = shown.find(({ id }) => id === address.id);
  if (!task) throw notFound(uri);
  return { uri, mimeType: kinds[address.resource].mimeType, text: await textOf(tasks, task, address) };
}

function notFound(uri: string): McpError {
  // −32002 is MCP's code for a resource that is not there.
  return new McpError(-32002, `There is no resource "${uri.slice(0, 200)}". See resources/list.`, { uri });
}

async function textOf(tasks: TaskManager, task: TaskSnapshot, address: ResourceAddress): Promise<string> {
  switch (address.resource) {
    case '':
      return taskDetail(task, Date.now());
    case '/diff':
      return partOfText(task.diff, address);
    case '/log':
      return address.offset === null && address.limit === null
        ? lastLog(tasks, task.id)
        : partOfJournal(tasks, address, 'summary');
    case '/log.verbose':
      return partOfJournal(tasks, address, 'verbose');
    case '/timeline':
      return partOfJournal(tasks, address, 'timeline');
    case '/events':
      return partOfJournal(tasks, address, 'events');
    case '/events/summary':
      return partOfJournal(tasks, address, 'events', (text) =>
        wholeLines(text)
          .filter((line) => !isDelta(line))
          .join(''),
      );
  }
}

/** The last lines of the log, and how to read it from its beginning. */
async function lastLog(tasks: TaskManager, id: string): Promise<string> {
  const { size } = await tasks.readJournal(id, 'summary', 0, 0);
  const { text } = await tasks.readJournal(id, 'summary', Math.max(0, size - partLimit), partLimit);
  const lines = lastLines(text, logLines);
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

async function partOfJournal(
  tasks: TaskManager,
  address: ResourceAddress,
  file: JournalFile,
  select: (text: string) => string = (text) => text,
): Promise<string> {
  const { offset, limit } = range(address);
  const part = await tasks.readJournal(address.id, file, offset, limit);
  const ended = part.nextOffset >= part.size;
  // A part ends with a whole line, so that each part can be read by itself.
  const lineEnd = part.text.lastIndexOf('\n') + 1;
  const whole = ended || lineEnd === 0 ? part.text : part.text.slice(0, lineEnd);
  const next = part.nextOffset - Buffer.byteLength(part.text.slice(whole.length));
  const gone =
    part.start > offset && file !== 'events' ? `[the first ${part.start} bytes are not kept any more]\n` : '';
  const text = gone + select(whole);
  return next < part.size ? withNext(text, address, next) : text;
}

function partOfText(text: string, address: ResourceAddress): string {
  const { offset, limit } = range(address);
  const bytes = Buffer.from(text);
  const start = characterStart(bytes, offset);
  const end = partEnd(bytes, start, start + limit);
  const part = bytes.subarray(start, end).toString('utf8');
  return end < bytes.length ? withNext(part, address, end) : part;
}

/** A part ends with a whole line where one fits, so that the parts together are the text, and never in a character. */
function partEnd(bytes: Buffer, start: number, wanted: number): number {
  if (wanted >= bytes.length) return bytes.length;
  const lineEnd = bytes.lastIndexOf('\n', wanted - 1) + 1;
  return lineEnd > start ? lineEnd : characterStart(bytes, wanted);
}

/** The first byte of the character that `offset` points into. */
function characterStart(bytes: Buffer, offset: number): number {
  let start = Math.min(offset, bytes.length);
  while (start > 0 && ((bytes[start] ?? 0) & 0xc0) === 0x80) start--;
  return start;
}

function range({ offset, limit }: ResourceAddress): { offset: number; limit: number } {
  return { offset: offset ?? 0, limit: Math.max(smallestPart, Math.min(limit ?? partLimit, largestPart)) };
}

/** A part, and on a line of its own where the next one is. */
function withNext(part: string, { id, resource, limit }: ResourceAddress, offset: number): string {
  const lineEnd = part === '' || part.endsWith('\n') ? '' : '\n';
  return `${part}${lineEnd}next: ${taskUri(id, resource)}?offset=${offset}${limit === null ? '' : `&limit=${limit}`}\n`;
}

function wholeLines(text: string): string[] {
  return text.split(/(?<=\n)/);
}

/** The method stands at the beginning of each line: `{"t":…,"n":…,"method":"item/agentMessage/delta",…`. */
function isDelta(line: string): boolean {
  return /^\{"t":\d+,(?:"n":\d+,)?"method":"[^"]*[dD]elta"/.test(line);
}
