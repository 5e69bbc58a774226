/** What a person is told before the first task that may write. */
export function trustNotice(cwd: string): string {
  return `Codex marks ${cwd} as a trusted project in its own config.toml when a task that may write starts there.`;
}
