import { posix } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type PlainCommand, plainCommand } from '../../src/policy/plainCommand';
import { labDirectory, type Ran, ShellLab } from '../rig/shellLab';
import { plainTexts, tricks } from '../rig/shellTricks';

/**
 * What is taken for a plain command runs what it says and nothing else, in the real shells. `npm run test:gate` tries it for an
 * hour; SHELL_SEED repeats a run.
 */
const seconds = Number(process.env.SHELL_SECONDS ?? 60);
const seed = Number(process.env.SHELL_SEED ?? Math.floor(Math.random() * 2 ** 31));
const batch = 100;

let lab: ShellLab | null;
beforeAll(async () => {
  lab = await ShellLab.open();
});
afterAll(() => lab?.close());

/** What is wrong with what one shell did; undefined when it is what was recognised. */
function wrongWith({ directory, staysThere, commands }: PlainCommand, ran: Ran): string | undefined {
  if (ran.wrote) return 'It changed files.';
  const left = [...commands];
  for (const { cwd, argv } of ran.programs) {
    const index = left.findIndex((command) => isCallOf(command, argv));
    if (index < 0) return `It ran ${JSON.stringify(argv)}.`;
    left.splice(index, 1);
    const moved = directory === null ? labDirectory : directoryOf(directory);
    if (cwd !== moved && (staysThere || cwd !== labDirectory)) return `It ran ${JSON.stringify(argv)} in ${cwd}.`;
  }
  // Programs of a pipeline may write at the same time, each its message in several parts, so that only its words are certain.
  const named = commands.map(([program = '']) => program).sort((a, b) => b.length - a.length);
  const said = ['command not found', 'not found', 'shells', 'bash', 'dash', 'zsh', 'line', 'sh'];
  const without = (words: readonly string[], line: string): string =>
    words.reduce((text, word) => text.replaceAll(word, ' '), line);
  const isStrange = named.some((program) => !/^[ -~]*$/.test(program));
  const form = /\/shells\/\w+: (?:line )?(?:\d+: )?|(?<!\S)sh: |zsh:\d+: |command not found|not found/g;
  const isExplained = (line: string): boolean =>
    // bash writes such a name in numbers.
    (isStrange && line.includes("$'")) ||
    [line, line.replace(form, '\n')].some((text) =>
      [
        [...said, ...named],
        [...named, ...said],
      ].some((words) => !/[a-z]/i.test(without(words, text))),
    );
  const unnamed = ran.missing.find((line) => !isExplained(line));
  return unnamed === undefined ? undefined : `It looked for ${unnamed}.`;
}

function directoryOf(path: string): string {
  return posix.resolve(labDirectory, path).replace(/\/link(?=\/|$)/, '/sub');
}

/** A pattern stands for names, of which none is an option. */
function isCallOf(command: readonly string[], argv: readonly string[]): boolean {
  const [program = '', ...args] = command;
  if (program.replace(/^\/stubs\//, '') !== argv[0]) return false;
  if (!command.some((word) => /[*?]/.test(word))) return JSON.stringify(args) === JSON.stringify(argv.slice(1));
  return argv.every((word) => !word.startsWith('-') || command.includes(word));
}

describe('a text that is taken for a plain command', () => {
  it('runs what it says in every shell', async (ctx) => {
    if (!lab) return ctx.skip('There is no bubblewrap, or it may not make namespaces.');
    if (lab.absent.length > 0) console.warn(`Not installed: ${lab.absent.join(', ')}`);
    const rows = await lab.run(plainTexts);
    for (const [index, text] of plainTexts.entries()) {
      const plain = plainCommand(text);
      expect(plain, text).not.toBeNull();
      for (const ran of rows[index] ?? []) {
        expect(plain && wrongWith(plain, ran), `${ran.shell}: ${text}`).toBeUndefined();
        const runsNothing = /missing|^\.\/|^sub\/|^true|^echo/.test(text);
        expect(ran.programs.length > 0 || runsNothing, `${ran.shell}: ${text} ran something`).toBe(true);
      }
    }
  });

  it('is none of those that the shells are known to take otherwise', () => {
    expect(tricks.length).toBeGreaterThan(200);
    expect(tricks.filter((text) => plainCommand(text) !== null)).toEqual([]);
  });

  it(
    `runs what it says in every shell, whatever is made of the known tricks (seed ${seed})`,
    async (ctx) => {
      if (!lab) return ctx.skip('There is no bubblewrap, or it may not make namespaces.');
      const random = randomFrom(seed);
      const deadline = Date.now() + seconds * 1_000;
      const seen = new Set<string>();
      let troubles = 0;
      let calls = 0;
      while (Date.now() < deadline) {
        const texts: string[] = [];
        while (texts.length < batch) {
          const text = mutated(random);
          if (seen.has(text) || plainCommand(text) === null) continue;
          if (seen.size < 1_000_000) seen.add(text);
          texts.push(text);
        }
        const rows = await lab.run(texts);
        for (const [index, text] of texts.entries()) {
          const plain = plainCommand(text);
          for (const ran of rows[index] ?? []) {
            if (ran.trouble !== null) troubles++;
            calls += ran.programs.length;
            expect(
              plain && wrongWith(plain, ran),
              `${ran.shell}: ${JSON.stringify(text)} (seed ${seed})`,
            ).toBeUndefined();
          }
        }
      }
      expect(calls).toBeGreaterThan(100);
      // A busy machine may keep one from its end; all that it did until then was looked at.
      expect(troubles).toBeLessThan(20);
      console.info(`${seen.size} texts, ${calls} programs ran`);
    },
    (seconds + 120) * 1_000,
  );
});

/** Numbers from 0 to below `n`, the same for the same seed. */
function randomFrom(start: number): (n: number) => number {
  let state = start >>> 0;
  return (n) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % n;
  };
}

const corpus = [...plainTexts, ...plainTexts, ...tricks];
const pieces =
  'evil|ls|cat|-x|a.txt|a*|s?b/*|./|../|/|=|:|~|%|@|+|,|-|.|_|0|1|2|9|*|?| |  |\t|\n|\n\n||;|&&|&|>|<|>>|>/dev/null|2>/dev/null|</dev/null|2>&1|>&2|1>&2|$|`|\\|\'|"|\'\'|""|\' \'|"; "|!|#|{|}|(|)|[|]|^|CI=1 |CI=|NO_COLOR= |cd sub && |cd ./link && |cd ..|cd -|eval |test |time |command |if |\u0000|\u001b|é|=ls|~root|$(evil)|`evil`|\r'
    .split('|')
    .map((piece) => (piece === '' ? '|' : piece));

/** A known text, changed in up to six places. */
function mutated(random: (n: number) => number): string {
  const pick = (list: readonly string[]): string => list[random(list.length)] ?? '';
  let text = pick(corpus);
  for (let changes = random(6) + 1; changes > 0; changes--) {
    const at = random(text.length + 1);
    const end = Math.min(text.length, at + random(4));
    const other = pick(corpus);
    const from = random(other.length + 1);
    const part = [pick(pieces), pick(pieces), '', other.slice(from, from + 1 + random(8))][random(4)] ?? '';
    text = text.slice(0, at) + part + text.slice(random(2) === 0 ? at : end);
  }
  return text;
}
