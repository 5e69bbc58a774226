import { parse } from 'unbash';

/** What a shell command runs, as far as that can be told from its text. */
export interface ShellWords {
  /** Program and arguments of each command that is certain, in their order: of pipelines, lists, substitutions and wrappers. */
  readonly commands: readonly (readonly string[])[];
  /** Words that may name a program that runs, where that is not certain. */
  readonly suspects: readonly string[];
  /** Whether it is one plain command: no other runs beside or inside it, and nothing is redirected. */
  readonly plain: boolean;
  /** Whether something may run that is not among the commands. */
  readonly unparsed: boolean;
}

/** Nodes of the parser, as far as they matter here. Every part that can hold a command is walked, whatever its type. */
type Node = Readonly<Record<string, unknown>> & { readonly type?: string };

const textLimit = 20_000;
const depthLimit = 10;
const shells = new Set([
  'bash',
  'sh',
  'dash',
  'zsh',
  'ksh',
  'ash',
  'busybox',
  'fish',
  'csh',
  'tcsh',
  'pwsh',
  'powershell',
  'cmd',
  'cmd.exe',
  'rbash',
  'mksh',
  'yash',
  'tclsh',
]);
/** Run the program that their arguments name. */
const wrappers = new Set([
  'env',
  'command',
  'exec',
  'builtin',
  'nohup',
  'nice',
  'ionice',
  'time',
  'timeout',
  'setsid',
  'stdbuf',
  'sudo',
  'doas',
  'chroot',
  'unshare',
  'xargs',
  'parallel',
  'watch',
  'flock',
  'script',
  'strace',
  'find',
  'ssh',
  'su',
  'runuser',
  'trap',
  'coproc',
  'taskset',
  'chrt',
  'setpriv',
  'prlimit',
  'unbuffer',
  'pkexec',
  'systemd-run',
  'fakeroot',
  'xvfb-run',
  'dbus-run-session',
  'nsenter',
  'ip',
  'gdb',
  'ltrace',
  'ld.so',
  'start-stop-daemon',
  'entr',
  'at',
  'batch',
]);
/**
 * Builtins that run what no text of the command shows, or change what a name means; also such as evaluate a subscript of
 * their arguments, and with it the commands that are written there.
 */
const opaque = new Set([
  'eval',
  'source',
  '.',
  'alias',
  'enable',
  'hash',
  'declare',
  'typeset',
  'local',
  'let',
  'unset',
  'export',
  'readonly',
  'read',
  'mapfile',
  'readarray',
  'getopts',
  'wait',
  'bind',
  'complete',
  'compgen',
  'compopt',
  'jobs',
  'fc',
  'set',
  'shopt',
]);
/** Builtins that do so with certain arguments only. */
const opaqueWith: Readonly<Record<string, (args: readonly string[]) => boolean>> = {
  printf: ([first = '']) => first.startsWith('-'),
  test: (args) => args.some((one) => one === '-v' || one === '-R'),
  '[': (args) => args.some((one) => one === '-v' || one === '-R'),
};
/** Options that take no value, with which a wrapper's program is still certain. */
const harmless: Readonly<Record<string, RegExp>> = {
  env: /^(-i|-)$/,
  nohup: /^$/,
  setsid: /^-[cfw]$/,
  time: /^-p$/,
  command: /^$/,
  exec: /^$/,
};

/** Never throws: what is no shell command is `unparsed`. */
export function shellWords(text: string): ShellWords {
  const found = new Finder();
  found.script(text, 0);
  const { commands, unparsed, beside } = found;
  return { commands, suspects: [...found.suspects], unparsed, plain: !unparsed && !beside && commands.length === 1 };
}

class Finder {
  readonly commands: string[][] = [];
  readonly suspects = new Set<string>();
  unparsed = false;
  /** Something is there besides one simple command. */
  beside = false;

  script(text: string, depth: number): void {
    if (depth > depthLimit || text.length > textLimit || text.trim() === '') {
      this.unparsed = true;
      return;
    }
    try {
      // As plain data: parts of words are made only when they are asked for.
      const script = JSON.parse(JSON.stringify(parse(text))) as Node;
      const errors = script.errors;
      if (Array.isArray(errors) && errors.length > 0) this.unparsed = true;
      this.walk(script, depth);
    } catch {
      this.unparsed = true;
    }
  }

  private walk(value: unknown, depth: number): void {
    if (Array.isArray(value)) {
      for (const one of value) this.walk(one, depth);
      return;
    }
    if (typeof value !== 'object' || value === null) return;
    const node = value as Node;
    if (node.type === 'Command') this.command(node, depth);
    else if (node.type === 'Redirect') this.redirect(node);
    else if (typeof node.type === 'string' && !simple.has(node.type)) {
      this.beside = true;
      // Everything else may evaluate what it is given, change what a name means, or be new to us.
      if (!composed.has(node.type)) this.unparsed = true;
    }
    for (const child of Object.values(node)) this.walk(child, depth);
  }

  /** What is written to a file is not told by any command. */
  private redirect({ operator, target }: Node): void {
    this.beside = true;
    const to = isWord(target) ? literal(target) : null;
    const writes = String(operator).includes('>');
    if (writes && to !== '/dev/null' && !(String(operator).endsWith('&') && to !== null && /^\d+$|^-$/.test(to))) {
      this.unparsed = true;
    }
  }

  private command(node: Node, depth: number): void {
    const words = [node.name, ...((node.suffix as unknown[] | undefined) ?? [])].filter(isWord);
    // A variable such as PATH decides what a name means.
    if (((node.prefix as unknown[] | undefined) ?? []).length > 0) this.unparsed = true;
    if (words.length === 0) return;
    const texts = words.map(literal);
    const [program] = texts;
    if (program === null || program === undefined) {
      this.unparsed = true;
      return;
    }
    if (texts.includes(null)) this.beside = true;
    // A word that only the shell knows may be anything; as an argument it is left as it is written.
    const argv = words.map((word, index) => texts[index] ?? textOf(word));
    this.commands.push(argv);
    this.inside(argv, texts.includes(null), depth);
  }

  /** What a program runs that itself is named by its arguments. */
  private inside(argv: readonly string[], isUncertain: boolean, depth: number): void {
    const [path = '', ...args] = argv;
    const program = path.split('/').pop() ?? '';
    if (opaque.has(program) || opaqueWith[program]?.(args) === true || program.startsWith('ld-linux'))
      this.unparsed = true;
    if (shells.has(program)) this.shell(args, isUncertain, depth);
    else if (wrappers.has(program)) this.wrapped(program, args, isUncertain, depth);
  }

  private shell(args: readonly string[], isUncertain: boolean, depth: number): void {
    const [option = '', script, ...others] = args;
    this.beside = true;
    if (isUncertain || !/^-[a-z]*c$/.test(option) || script === undefined || others.length > 0) {
      this.unparsed = true;
      for (const one of args) this.suspects.add(one);
    } else this.script(script, depth + 1);
  }

  private wrapped(program: string, args: readonly string[], isUncertain: boolean, depth: number): void {
    this.beside = true;
    const skip = harmless[program];
    const at = args.findIndex((one) => !skip?.test(one));
    const rest = at < 0 ? [] : args.slice(at);
    if (isUncertain || !skip || rest.length === 0 || /^-|^\w+=/.test(rest[0] ?? '')) {
      this.unparsed = true;
      for (const one of args) this.suspects.add(one);
      return;
    }
    this.commands.push([...rest]);
    this.inside(rest, false, depth + 1);
  }
}

const simple = new Set([
  'Script',
  'Statement',
  'Command',
  'Word',
  'Literal',
  'SingleQuoted',
  'DoubleQuoted',
  'AnsiCQuoted',
]);

/** Nodes that only put commands together, whose parts are walked. */
const composed = new Set([
  'AndOr',
  'Pipeline',
  'CompoundList',
  'BraceGroup',
  'Subshell',
  'If',
  'Elif',
  'While',
  'Case',
  'CaseItem',
  'Function',
  'Coproc',
  'Time',
  'Negation',
  'Redirected',
  'FileDescriptor',
  'HereDoc',
  'HereDocBody',
  'HereDocDelimiter',
  'HereString',
  'CommandExpansion',
  'ProcessSubstitution',
  'SimpleExpansion',
  'BraceExpansion',
  'Glob',
]);

function isWord(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && (value as Node).type === 'Word';
}

/** The text of a word; null when only the shell can tell it. */
function literal(word: Node): string | null {
  const parts = word.parts as readonly Node[] | undefined;
  if (parts && !parts.every(isLiteral)) return null;
  const text = typeof word.value === 'string' ? word.value : null;
  // Without quotes these are patterns, or another directory.
  return text === null || (!parts && /[*?[\]{}~]/.test(text)) ? null : text;
}

function textOf({ text, value }: Node): string {
  if (typeof text === 'string') return text;
  return typeof value === 'string' ? value : '';
}

function isLiteral(part: Node): boolean {
  if (part.type === 'DoubleQuoted') return ((part.parts as readonly Node[] | undefined) ?? []).every(isLiteral);
  if (part.type === 'Literal') return !/[*?[\]{}~]/.test(textOf(part));
  return part.type === 'SingleQuoted' || part.type === 'AnsiCQuoted';
}
