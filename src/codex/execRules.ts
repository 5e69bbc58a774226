/**
 * Strings and comments of Starlark, in which Codex's rule files are written. A string without its end is one as well, so that
 * each quote is looked at once: a rule with such a string decides nothing.
 */
const token =
  /("""[\s\S]*?(?:"""|$)|'''[\s\S]*?(?:'''|$)|"(?:\\[\s\S]|[^"\\\n])*"?|'(?:\\[\s\S]|[^'\\\n])*'?)|#[^\n]*/g;

/**
 * Whether a rule file of Codex may let a command run without being asked. A rule does so unless it decides `prompt` or
 * `forbidden`, also one without a decision (seen with 0.169.0). What cannot be told plainly counts as a rule that does so.
 */
export function letsCommandsRun(rules: string): boolean {
  const strings: string[] = [];
  const code = rules.replace(token, (_, text: string | undefined) => {
    if (text === undefined) return '';
    strings.push(text);
    return `«${strings.length - 1}»`;
  });
  return code
    .split(/\bprefix_rule\b/)
    .slice(1)
    .some((rest) => {
      const call = argumentsOf(rest);
      const decisions = call === null ? [] : [...call.matchAll(/\bdecision\s*=\s*«(\d+)»\s*(?=[,)])/g)];
      const [decision] = decisions.map(([, index]) => strings[Number(index)] ?? '');
      return decisions.length !== 1 || !/^(["'])(?:prompt|forbidden)\1$/.test(decision ?? '');
    });
}

/** What stands in the parentheses that follow, with the last one; null when none do. */
function argumentsOf(code: string): string | null {
  if (!/^\s*\(/.test(code)) return null;
  let depth = 0;
  for (let at = code.indexOf('('); at < code.length; at++) {
    if (code[at] === '(') depth++;
    else if (code[at] === ')' && --depth === 0) return code.slice(0, at + 1);
  }
  return null;
}
