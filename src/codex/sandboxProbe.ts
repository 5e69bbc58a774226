import { CallError } from '../core/errors';
import type { Sandbox } from '../core/ports';
import { run } from '../process/childProcess';

/** Whether a command's output is what is said in its place when its sandbox does not start (the words of 0.169.0). */
export function isSandboxRefusal(output: string | null): boolean {
  return /^(?:error building bubblewrap command|bwrap): /.test(output ?? '');
}

/**
 * Runs `true` in Codex's sandbox (80 ms), where a task is to work. A container without user namespaces cannot, and neither
 * can a directory with a link where the sandbox wants a directory: then every command of a task would fail while its turn
 * says `completed`. Throws `codex_unavailable` with what to do.
 */
export async function probeSandbox(
  codexPath: string,
  sandbox: Sandbox,
  cwd: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  if (sandbox === 'danger-full-access' || process.platform === 'win32') return;
  const args = ['sandbox', '-c', `sandbox_mode="${sandbox}"`, '--', 'true'];
  const { exitCode, stderr } = await run(codexPath, args, { timeoutMs: 10_000, env, cwd });
  if (exitCode === 0) return;
  const reason = stderr.trim().split('\n').at(-1) ?? '';
  // The words of bubblewrap's front end in 0.169.0.
  const isLink = reason.includes('symlink');
  throw new CallError('codex_unavailable', `Codex's sandbox "${sandbox}" does not start in ${cwd}: ${reason}`, {
    hint: isLink
      ? 'A link stands where the sandbox wants a directory of its own, such as .codex or .agents: replace it by a directory, or give the task another cwd.'
      : 'It needs user namespaces and bubblewrap, which many containers forbid. Ask the person to allow them on this machine.',
  });
}
