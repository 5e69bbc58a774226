import { resolve } from 'node:path';
import type { RequestQuestion } from '../core/pendingRequest';
import { countLines } from '../core/transcript';
import type { InnerAction } from './policy';
import { type PlainCommand, plainCommand } from './plainCommand';
import { realDirectory, realPath } from './realPath';
import { runnerOf } from './runners';
import { commandsIn, nameOf } from './shellWords';

/** Something that Codex wants to do, in the form in which rules look at it. */
export interface InnerCall {
  readonly tool: InnerAction;
  readonly args: Readonly<Record<string, unknown>>;
  /** See `Action`. */
  readonly readings?: readonly Readonly<Record<string, unknown>>[];
}

/** Whether a rule may accept it: not what allows more than it shows, or what only a person can fill in. */
export function isPlain(question: RequestQuestion): boolean {
  switch (question.type) {
    case 'command_approval':
      return question.grantsMore !== true;
    case 'file_approval':
      return question.grantsMore !== true && question.changes.length > 0;
    case 'elicitation':
      return question.toolCall !== null;
    default:
      return true;
  }
}

/** What stands there decides what Codex, we or Git do next. */
const protectedNames = ['.codex', '.codex-worker', '.git'];

/**
 * The first path of a change that no rule accepts: it leads, links followed, into a directory that decides what is done next,
 * or nobody knows where. Undefined when there is none.
 */
export function protectedPathOf(question: RequestQuestion, cwd: string): string | undefined {
  if (question.type !== 'file_approval') return undefined;
  const paths = question.changes.flatMap(({ path, movedTo }) => (movedTo === undefined ? [path] : [path, movedTo]));
  return paths.find((path) => {
    const real = realPath(path, cwd);
    // As it is written, too: what is a link now may be a directory when the change is made.
    return real === null || [path, real].some((one) => namesProtected(one));
  });
}

function namesProtected(path: string): boolean {
  return path
    .toLowerCase()
    .split(/[/\\]/)
    .some((part) => protectedNames.includes(part));
}

/** Undefined for a question that is no action of Codex. */
export function innerCallOf(question: RequestQuestion, cwd: string): InnerCall | undefined {
  switch (question.type) {
    case 'command_approval':
      return { tool: 'codex/command', ...commandCall(question, cwd) };
    case 'file_approval':
      return { tool: 'codex/file-change', ...fileCall(question, cwd) };
    case 'permission_approval': {
      const { permissions, reason } = question;
      return { tool: 'codex/permissions', args: { permissions, ...reasonOf(reason) } };
    }
    case 'elicitation': {
      const { serverName: server, mode, message, url, toolCall } = question;
      const call = toolCall ? { tool: toolCall.tool, arguments: toolCall.arguments } : {};
      return { tool: 'codex/elicitation', args: { server, mode, message, ...(url === null ? {} : { url }), ...call } };
    }
    case 'user_input':
    case 'dynamic_tool':
    case 'recovery':
      return undefined;
  }
}

/**
 * `programs`, `program` and `argv` are there when it is certain what runs, and the last two for one command only: so a rule
 * that allows by them never allows what it does not see. For rules that restrict there is a reading for each command that may
 * run, in each directory where it may.
 */
function commandCall(
  { command, cwd, reason }: CommandQuestion,
  taskDirectory: string,
): Pick<InnerCall, 'args' | 'readings'> {
  const start = cwd === '' ? taskDirectory : cwd;
  const plain = plainCommand(command);
  const directory = plain?.directory ?? null;
  const moved = directory === null ? start : directoryAfter(directory, start);
  const certain = plain && moved !== null ? allThatRuns(plain.commands) : undefined;
  const common = { command, ...reasonOf(reason), unparsed: certain === undefined };

  const possible = [...(certain ?? []), ...commandsIn(command)];
  const programs = namesIn(possible);
  const readings = possible.flatMap((argv) =>
    namesIn([argv]).flatMap((program) =>
      [...new Set([start, moved ?? start])].map((place) => ({ ...common, cwd: place, programs, program, argv })),
    ),
  );
  if (!certain) return { args: { ...common, cwd: start }, readings };
  const [only, ...others] = certain;
  const args = {
    ...common,
    ...(directory === null || plain?.staysThere ? { cwd: moved } : {}),
    programs: [...new Set(certain.flatMap(([program = '']) => program))],
    ...(only && others.length === 0 ? { program: only[0], argv: only } : {}),
  };
  return { args, readings };
}

/** Each program as it is written, and without its path. */
function namesIn(commands: PlainCommand['commands']): readonly string[] {
  return [...new Set(commands.flatMap(([program = '']) => [program, nameOf(program)]))];
}

/** Undefined when one of them runs a program that its arguments do not tell for certain. */
function allThatRuns(commands: PlainCommand['commands']): PlainCommand['commands'] | undefined {
  const all = [...commands];
  // It grows while it is walked.
  for (const [program = '', ...args] of all) {
    const runner = runnerOf(nameOf(program));
    const rest = runner ? runner(args) : [];
    if (!rest) return undefined;
    if (rest.length > 0) all.push(rest);
  }
  return all;
}

/** Null where a shell that counts `..` by the name and one that counts it by the place would differ, or nothing is there. */
function directoryAfter(path: string, base: string): string | null {
  const real = realDirectory(path, base);
  return real === realDirectory(resolve(base, path), base) ? real : null;
}

type CommandQuestion = RequestQuestion & { type: 'command_approval' };

/** For rules that restrict there is another reading, with the places where the paths lead. */
function fileCall(
  { changes, reason }: RequestQuestion & { type: 'file_approval' },
  cwd: string,
): Pick<InnerCall, 'args' | 'readings'> {
  const counts = changes.map(countLines);
  const paths = changes
    .flatMap(({ path, movedTo }) => (movedTo === undefined ? [path] : [path, movedTo]))
    .map((one) => resolve(cwd, one));
  const args = {
    paths,
    kinds: changes.map(({ kind }) => kind),
    added_lines: counts.reduce((sum, { added }) => sum + added, 0),
    removed_lines: counts.reduce((sum, { removed }) => sum + removed, 0),
    ...reasonOf(reason),
  };
  return { args, readings: [{ ...args, paths: paths.map((path) => realPath(path, cwd) ?? path) }] };
}

function reasonOf(reason: string | null): { readonly reason?: string } {
  return reason === null ? {} : { reason };
}
