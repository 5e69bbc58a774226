/** Text for a place where the editor makes icons of `$(name)`: a shell's `$(pwd)` must stay to be seen. */
export function plainText(text: string): string {
  return text.replaceAll('$(', '\\$(');
}

/** Brackets that look like brackets: the editor takes `[…](command:…)` in a notification's text for a link. */
export function withoutLinks(text: string): string {
  return text.replaceAll('[', '［').replaceAll(']', '］');
}
