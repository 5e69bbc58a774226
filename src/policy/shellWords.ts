import { parse } from 'unbash';
import { runnerOf } from './runners';

/** Nodes of the parser, as far as they matter here. Every part that can hold a command is walked, whatever its type. */
type Node = Readonly<Record<string, unknown>> & { readonly type?: string };

const textLimit = 20_000;
const depthLimit = 10;
/** Words of a command of which each may be a program, with what follows it; later ones stand alone. */
const wordLimit = 50;

/**
 * Program and arguments of each command that a shell may run from a text, as far as a parser finds it: of pipelines, lists,
 * substitutions and of programs that run others. It is enough to restrict, and no proof of what does not run. Never throws;
 * what is no shell command has none.
 */
export function commandsIn(text: string): readonly (readonly string[])[] {
  const finder = new Finder();
  finder.script(text, 0);
  return finder.commands;
}

class Finder {
  readonly commands: string[][] = [];

  script(text: string, depth: number): void {
    if (depth > depthLimit || text.length > textLimit) return;
    try {
      // As plain data: parts of words are made only when they are asked for.
      this.walk(JSON.parse(JSON.stringify(parse(text))), depth);
    } catch {
      // It does not end, or nests deeper than the stack.
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
    for (const child of Object.values(node)) this.walk(child, depth);
  }

  private command(node: Node, depth: number): void {
    const words = [node.name, ...((node.suffix as unknown[] | undefined) ?? [])].filter(isWord);
    // A word that only the shell knows may be anything; it is left as it is written.
    const argv = words.map((word) => literal(word) ?? textOf(word));
    if (argv.length === 0) return;
    this.commands.push(argv);
    this.inside(argv, depth);
  }

  /** What a program runs that itself is named by its arguments. */
  private inside([path = '', ...args]: readonly string[], depth: number): void {
    const runner = runnerOf(nameOf(path));
    if (!runner || depth > depthLimit) return;
    const rest = runner(args);
    if (rest) {
      if (rest.length > 0) this.commands.push([...rest]);
      this.inside(rest, depth + 1);
      return;
    }
    for (const [index, word] of args.entries()) {
      this.commands.push(index < wordLimit ? args.slice(index) : [word]);
      // It may be a script.
      if (/[^\w./-]/.test(word)) this.script(word, depth + 1);
    }
  }
}

/** `rm` for `/bin/rm`, and `powershell` for `C:\\…\\PowerShell.EXE`. */
export function nameOf(program: string): string {
  const name = program.split('/').at(-1) ?? program;
  const isWindows = /\.(?:exe|cmd|bat|com)$/i.test(name);
  return isWindows ? (name.split('\\').at(-1) ?? name).slice(0, -4).toLowerCase() : name;
}

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
