/** Text for a place where the editor makes icons of `$(name)`: a shell's `$(pwd)` must stay to be seen. */
export function plainText(text: string): string {
  return text.replaceAll('$(', '\\$(');
}
