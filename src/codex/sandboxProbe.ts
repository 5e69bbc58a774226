import { CallError } from '../core/errors';
import type { Sandbox } from '../core/ports';
import { run } from '../process/childProcess';

/**
 * Runs `true` in Codex's sandbox (80 ms). A container without user namespaces cannot, and then every command of a task
 * would fail while its turn says `completed`. Throws `codex_unavailable` with what to do.
 */
export async function probeSandbox(
  codexPath: string,
  sandbox: Sandbox,
  env: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  if (sandbox === 'danger-full-access' || process.platform === 'win32') return;
  const args = ['sandbox', '-c', `sandbox_mode="${sandbox}"`, '--', 'true'];
  const { exitCode, stderr } = await run(codexPath, args, { timeoutMs: 10_000, env });
  if (exitCode === 0) return;
  const reason = stderr.trim().split('\n').at(-1) ?? '';
  throw new CallError('codex_unavailable', `Codex's sandbox "${sandbox}" does not start on this machine: ${reason}`, {
    hint: 'It needs user namespaces and bubblewrap, which many containers forbid: allow them, or use danger-full-access where the container itself is the sandbox (the person must switch it on).',
  });
}
