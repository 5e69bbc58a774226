import { stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { readLines } from '../base/readText';
import type { Notification } from './threadText';

/** Of a line in Codex's session file; it is as large as what the model was told at once. */
const lineLimit = 1024 * 1024;
/** Bytes of one turn. */
const turnLimit = 64 * 1024 * 1024;
const lookLimitMs = 2_000;
const callLimit = 10_000;

/** Names of the tools that run a command (of Codex 0.169.0; the others are those of its older models). */
const commandTools = new Set(['exec_command', 'shell', 'shell_command']);

const lineSchema = z.object({
  type: z.literal('response_item'),
  payload: z.discriminatedUnion('type', [
    z.object({ type: z.literal('function_call'), call_id: z.string(), name: z.string(), arguments: z.string() }),
    z.object({
      type: z.literal('function_call_output'),
      call_id: z.string(),
      output: z.union([z.string(), z.array(z.object({ text: z.string().optional() }))]),
    }),
  ]),
});

const argumentsSchema = z.object({
  cmd: z.string().optional(),
  command: z.union([z.string(), z.array(z.string())]).optional(),
  workdir: z.string().nullish(),
});

/**
 * Commands that Codex told its model about, and nobody else: it emits no item for one that the sandbox did not start, or that
 * a rule of its own refused (seen with 0.169.0). They stand in the session file of the thread, which is on the disk when the
 * turn's end is told.
 */
export class SilentCommands {
  private path: string | null = null;
  private from = 0;
  /** The calls that have an item. Null while a turn runs whose begin was not seen. */
  private told: Set<string> | null = null;

  /** The thread was loaded, and has this session file. */
  async follow(path: string | null | undefined): Promise<void> {
    this.path = path ?? null;
    this.from = this.path === null ? 0 : await sizeOf(this.path);
  }

  turnStarted(): void {
    this.told = this.path === null ? null : new Set();
  }

  commandTold(itemId: string): void {
    if (this.told && this.told.size < callLimit) this.told.add(itemId);
  }

  /** Looks for those of the turn that ends now; null when there is nothing to look at. */
  turnEnds(threadId: string, turnId: string, cwd: string): Promise<readonly Notification[]> | null {
    const { path, told } = this;
    this.told = null;
    if (path === null || told === null) return null;
    return Promise.race([this.find(path, told, { threadId, turnId, cwd }), delay(lookLimitMs, [], { ref: false })]);
  }

  private async find(path: string, told: ReadonlySet<string>, turn: Turn): Promise<readonly Notification[]> {
    const start = this.from;
    const end = await sizeOf(path);
    this.from = end;
    if (end - start > turnLimit) return [];
    const calls = new Map<string, CommandCall>();
    const found: Notification[] = [];
    for await (const line of readLines(path, lineLimit, { start, end })) {
      const payload = payloadOf(line);
      if (payload?.type === 'function_call') {
        const call = commandTools.has(payload.name) && !told.has(payload.call_id) ? callOf(payload.arguments) : null;
        if (call && calls.size < callLimit) calls.set(payload.call_id, call);
      } else if (payload) {
        const call = calls.get(payload.call_id);
        calls.delete(payload.call_id);
        if (call) found.push(...itemOf(payload.call_id, call, textOf(payload.output), turn));
      }
    }
    return found;
  }
}

interface Turn {
  readonly threadId: string;
  readonly turnId: string;
  readonly cwd: string;
}

interface CommandCall {
  readonly command: string;
  readonly cwd: string | null;
}

function payloadOf(line: string): z.infer<typeof lineSchema>['payload'] | null {
  // Most lines are others, some of them long.
  if (!line.includes('"function_call')) return null;
  try {
    return lineSchema.safeParse(JSON.parse(line)).data?.payload ?? null;
  } catch {
    return null;
  }
}

function callOf(json: string): CommandCall | null {
  try {
    const { cmd, command = cmd, workdir } = argumentsSchema.parse(JSON.parse(json));
    const text = typeof command === 'string' ? command : command?.join(' ');
    return text === undefined ? null : { command: text, cwd: workdir ?? null };
  } catch {
    return null;
  }
}

function textOf(output: string | readonly { readonly text?: string | undefined }[]): string {
  return typeof output === 'string' ? output : output.map(({ text = '' }) => text).join('');
}

/** As Codex tells of any other command. */
function itemOf(id: string, call: CommandCall, told: string, { threadId, turnId, cwd }: Turn): readonly Notification[] {
  const header = '\nOutput:\n';
  const begin = told.indexOf(header);
  const exitCode = /^Process exited with code (-?\d{1,10})$/m.exec(begin < 0 ? '' : told.slice(0, begin))?.[1];
  const item = {
    type: 'commandExecution',
    id,
    command: call.command,
    cwd: call.cwd ?? cwd,
    status: exitCode === '0' ? 'completed' : 'failed',
    aggregatedOutput: begin < 0 ? told : told.slice(begin + header.length),
    exitCode: exitCode === undefined ? null : Number(exitCode),
    durationMs: null,
  };
  const started = { ...item, status: 'inProgress', aggregatedOutput: null, exitCode: null };
  return [
    { method: 'item/started', params: { threadId, turnId, item: started } },
    { method: 'item/completed', params: { threadId, turnId, item } },
  ];
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}
