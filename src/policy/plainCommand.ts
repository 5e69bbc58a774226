/** What a shell runs, without doubt: the one reading of a text that bash, dash, ash and zsh share. */
export interface PlainCommand {
  /** Where it goes first, as it is written; null when it stays where it is. */
  readonly directory: string | null;
  /** Whether all of it runs in that directory or not at all. */
  readonly staysThere: boolean;
  /** Program and arguments of each command, in their order; a pattern of file names stands as it is written. */
  readonly commands: readonly (readonly string[])[];
}

const textLimit = 20_000;

/** First words that are no program everywhere: they are syntax, change what other words mean, or evaluate their arguments. */
const noPrograms = new Set(
  [
    // Reserved words, and what zsh takes in front of a command.
    'if then else elif fi for while until do done case esac select function time coproc in repeat foreach end always',
    'nocorrect noglob',
    // Builtins of bash, dash, ash and zsh. Four of them only print or end as every program would: echo, false, pwd and true.
    'alias autoload bg bind bindkey break builtin bye caller cap cd chdir clone command comparguments compcall compctl',
    'compdescribe compfiles compgen compgroups complete compopt compquote comptags comptry compvalues continue declare',
    'dirs disable disown echotc echoti emulate enable eval exec exit export fc fg float functions getcap getln getopts',
    'hash help history integer jobs kill let limit local log logout mapfile popd print printf private pushd pushln r read',
    'readarray readonly rehash return sched set setcap setopt shift shopt source stat strftime suspend sysopen sysread',
    'syswrite test times trap ttyctl type typeset ulimit umask unalias unfunction unhash unlimit unset unsetopt vared wait',
    'whence where which zbuild zcompile zcurses zdelattr zf_chgrp zf_chmod zf_chown zf_ln zf_mkdir zf_mv zf_rm zf_rmdir',
    'zf_sync zformat zftp zgdbmpath zgetattr zle zlistattr zmodload zparseopts zprof zpty zregexparse zselect zsetattr',
    'zsocket zstat zstyle zsystem ztcp ztie zuntie',
  ].flatMap((words) => words.split(' ')),
);

/** Variables that may be set for a command: none decides what runs. */
const harmlessVariables = new Set(['CI', 'NO_COLOR', 'FORCE_COLOR', 'NODE_ENV', 'RUST_BACKTRACE', 'PYTHONUNBUFFERED']);

const blanks = /[ \t]+/y;
const newlines = /[ \t]*(?:\n[ \t]*)+/y;
const operator = /&&|\|\|?|;/y;
const bareText = /[\w\-./:,+@%=*?]+/y;
const singleQuoted = /'([^'\p{Cc}\p{Cs}]*)'/uy;
const doubleQuoted = /"([^"$`\\!\p{Cc}\p{Cs}]*)"/uy;
const redirection = /[0-9]?(?:>>?\/dev\/null|<\/dev\/null|>&[0-9])(?=[ \t\n|&;]|$)/y;

interface Word {
  /** As the program gets it. */
  readonly text: string;
  /** As it is written. */
  readonly source: string;
  readonly hasPattern: boolean;
}

/**
 * Reads a text that the small grammar covers completely: words and quoted text without anything that a shell expands, joined by
 * `|`, `&&`, `||`, `;` and line ends, redirected to `/dev/null` or another descriptor. Null for everything else. What is
 * recognised runs nothing but the commands that are given, in each of the four shells; a fuzzer that executes it says so. Takes
 * time in proportion to the length of the text.
 */
export function plainCommand(text: string): PlainCommand | null {
  return text.length > textLimit ? null : new Reader(text).script();
}

class Reader {
  private at = 0;
  private readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  script(): PlainCommand | null {
    const commands: string[][] = [];
    const joints: string[] = [];
    this.take(newlines);
    const directory = this.directory();
    for (;;) {
      const command = this.command();
      if (!command) return null;
      commands.push(command);
      const joint = this.joint();
      if (joint === null) return null;
      if (joint === '') break;
      joints.push(joint);
    }
    return { directory, staysThere: joints.every((joint) => joint === '&&' || joint === '|'), commands };
  }

  /** Takes `cd PATH &&` off the front: the one way in which a shell may go elsewhere, as what follows depends on it. */
  private directory(): string | null {
    const start = this.at;
    this.take(blanks);
    const path = this.take(/cd[ \t]+/y) && this.word();
    this.take(blanks);
    // `cd -` and in zsh `cd +1` go where nobody reads it.
    if (path && !path.hasPattern && /^[\w./]/.test(path.text) && this.take(/&&/y)) {
      this.take(newlines);
      return path.text;
    }
    this.at = start;
    return null;
  }

  /** What joins this command to the next one; '' at the end, null for anything that is neither. */
  private joint(): string | null {
    const isNewLine = this.take(newlines) !== undefined;
    if (this.at === this.text.length) return '';
    // A line may not begin with an operator.
    if (isNewLine) return ';';
    const joint = this.take(operator)?.[0];
    if (joint !== undefined) this.take(newlines);
    return joint ?? null;
  }

  /** Up to its end or the operator behind it; null when it is none. */
  private command(): string[] | null {
    const words: string[] = [];
    this.take(blanks);
    for (;;) {
      if (words.length > 0 && this.take(redirection)) {
        this.take(blanks);
        continue;
      }
      const word = this.word();
      if (word === null) return null;
      if (word === undefined) return words.length > 0 ? words : null;
      const isAssigned = words.length === 0 && isAssignment(word);
      if (!isAssigned) {
        if (!(words.length === 0 ? isProgram(word) : isArgument(word))) return null;
        words.push(word.text);
      }
      this.take(blanks);
    }
  }

  /** Undefined where none begins; null where one begins that is not covered. */
  private word(): Word | null | undefined {
    const start = this.at;
    let text = '';
    let hasPattern = false;
    for (;;) {
      const bare = this.take(bareText)?.[0];
      const part = bare ?? this.take(singleQuoted)?.[1] ?? this.take(doubleQuoted)?.[1];
      if (part === undefined) break;
      text += part;
      hasPattern ||= bare !== undefined && /[*?]/.test(bare);
    }
    const next = this.text[this.at] ?? '';
    if (!(next === '' || ' \t\n|&;'.includes(next))) return null;
    if (this.at === start) return undefined;
    const source = this.text.slice(start, this.at);
    // zsh expands `=name` at the beginning of a word, behind an empty quotation too.
    return text.startsWith('=') ? null : { text, source, hasPattern };
  }

  private take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.text) ?? undefined;
    if (match) this.at = pattern.lastIndex;
    return match;
  }
}

function isAssignment({ source }: Word): boolean {
  const [name = '', ...values] = source.split('=');
  return values.length === 1 && harmlessVariables.has(name) && !/[*?]/.test(source);
}

/** No name of a file can become an option. */
function isArgument({ source, hasPattern }: Word): boolean {
  return !hasPattern || /^[A-Za-z0-9./]/.test(source);
}

function isProgram({ text, hasPattern }: Word): boolean {
  return !hasPattern && /^[\w./][^=~]*$/.test(text) && !isBuiltin(text);
}

/** `.` reads a file of commands, and `..` is a directory, into which a shell may go. */
function isBuiltin(text: string): boolean {
  return noPrograms.has(text) || /^\.{1,2}\/?$/.test(text);
}
