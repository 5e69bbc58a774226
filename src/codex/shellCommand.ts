/**
 * Takes the shell wrapper off: `/bin/bash -lc 'npm test'` becomes `npm test`. Anything else stays as it is, a shell at an
 * unusual place too: it may be any program.
 */
export function unwrapShell(command: string): string {
  const match = /^(?:(?:\/usr|\/usr\/local|\/opt\/homebrew)?\/bin\/)?(?:ba|z|da|k)?sh\s+-l?c\s+(\S[\s\S]*)$/.exec(
    command,
  );
  const script = match?.[1];
  return (script === undefined ? undefined : unquote(script)) ?? command;
}

/**
 * The script that a shell gets: `["/bin/bash", "-c", "npm test"]` becomes `npm test`. Any other command becomes a line that a
 * shell would read as these words.
 */
export function unwrapArgv(argv: readonly string[]): string {
  const [shell = '', flag = '', script] = argv;
  const isScript =
    /^(?:\/usr|\/usr\/local|\/opt\/homebrew)?\/bin\/(?:ba|z|da|k)?sh$/.test(shell) && /^-l?c$/.test(flag);
  return isScript && argv.length === 3 && script !== undefined ? script : argv.map(quoted).join(' ');
}

function quoted(word: string): string {
  return /^[\w@%+:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** The one word that a shell reads from `text`; undefined when there are more words or an open quote. */
function unquote(text: string): string | undefined {
  const pieces = /^(?:'([^']*)'|"((?:[^"\\]|\\[\s\S])*)"|\\([\s\S])|([^\s'"\\;&|<>()$`]+))/;
  let rest = text;
  let word = '';
  while (rest !== '') {
    const match = pieces.exec(rest);
    if (!match) return undefined;
    const [whole, single, double, escaped, plain] = match;
    word += single ?? double?.replace(/\\([$`"\\\n])/g, '$1') ?? escaped ?? plain ?? '';
    rest = rest.slice(whole.length);
  }
  return word;
}
