import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';

/** The policy that Create Policy makes for all of a person's windows. */
export function userPolicyPath(env: NodeJS.ProcessEnv = process.env): string {
  const named = env.CODEX_WORKER_DATA ?? '';
  return join(isAbsolute(named) ? named : join(homedir(), '.codex-worker'), 'policy.yaml');
}

/** The directory of this product in the user's data directory. `CODEX_WORKER_DATA` names another one. */
export function userDataDir(env: NodeJS.ProcessEnv = process.env, platform = process.platform): string {
  const named = env.CODEX_WORKER_DATA ?? '';
  if (isAbsolute(named)) return named;
  if (platform === 'win32') return join(env.LOCALAPPDATA ?? join(homedir(), 'AppData', 'Local'), 'codex-worker');
  if (platform === 'darwin') return join(homedir(), 'Library', 'Application Support', 'codex-worker');
  return join(env.XDG_DATA_HOME ?? join(homedir(), '.local', 'share'), 'codex-worker');
}
