import { resolve } from 'node:path';
import type { RequestQuestion } from '../core/pendingRequest';
import { countLines } from '../core/transcript';
import type { InnerAction } from './policy';
import { realPath } from './realPath';
import { shellWords } from './shellWords';

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
      return { tool: 'codex/command', ...commandCall(question) };
    case 'file_approval':
      return { tool: 'codex/file-change', args: fileArguments(question, cwd) };
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
 * `program` and `argv` are there for one plain command only, and `programs` when it is certain what runs: so a rule that
 * allows by them never allows what it does not see. For rules that deny there is a reading for each command that may run.
 */
function commandCall({ command, cwd, reason }: CommandQuestion): Pick<InnerCall, 'args' | 'readings'> {
  const { commands, suspects, plain, unparsed } = shellWords(command);
  const [argv] = commands;
  const common = { command, ...(cwd === '' ? {} : { cwd }), ...reasonOf(reason), unparsed };
  const programs = [...new Set(commands.flatMap(([program = '']) => program))];
  const possible = [...new Set([...programs, ...suspects].flatMap((program) => [program, nameOf(program)]))];
  const readings = [...commands, ...suspects.map((program) => [program])].flatMap((one) => {
    const names = [...new Set([one[0] ?? '', nameOf(one[0] ?? '')])];
    return names.map((program) => ({ ...common, programs: possible, program, argv: one }));
  });
  const args = {
    ...common,
    ...(unparsed ? {} : { programs }),
    ...(plain && argv ? { program: argv[0], argv } : {}),
  };
  return { args, readings };
}

type CommandQuestion = RequestQuestion & { type: 'command_approval' };

/** `rm` for `/bin/rm`, and `powershell` for `C:\\…\\PowerShell.EXE`. */
export function nameOf(program: string): string {
  const name = program.split('/').at(-1) ?? program;
  const isWindows = /\.(?:exe|cmd|bat|com)$/i.test(name);
  return isWindows ? (name.split('\\').at(-1) ?? name).slice(0, -4).toLowerCase() : name;
}

function fileArguments(
  { changes, reason }: RequestQuestion & { type: 'file_approval' },
  cwd: string,
): InnerCall['args'] {
  const counts = changes.map(countLines);
  return {
    paths: changes.flatMap(({ path, movedTo }) =>
      [path, ...(movedTo ? [movedTo] : [])].map((one) => resolve(cwd, one)),
    ),
    kinds: changes.map(({ kind }) => kind),
    added_lines: counts.reduce((sum, { added }) => sum + added, 0),
    removed_lines: counts.reduce((sum, { removed }) => sum + removed, 0),
    ...reasonOf(reason),
  };
}

function reasonOf(reason: string | null): { readonly reason?: string } {
  return reason === null ? {} : { reason };
}
