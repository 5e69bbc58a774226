/**
 * Text for a place where the editor makes icons of `$(name)`: a shell's `$(pwd)` must stay to be seen. What is no name of an
 * icon, such as `$(seq 3)`, is shown as it is, a backslash before it too (seen with 1.139).
 */
export function plainText(text: string): string {
  return text.replaceAll(/\$\((?=[A-Za-z0-9-]+(?:~[A-Za-z]+)?\))/g, '\\$(');
}

/** Brackets that look like brackets: the editor takes `[…](command:…)` in a notification's text for a link. */
export function withoutLinks(text: string): string {
  return text.replaceAll('[', '［').replaceAll(']', '］');
}
