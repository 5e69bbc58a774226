import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What a CODEX_HOME for the scripted model may choose. */
export interface CodexHomeOptions {
  readonly modelUrl: string;
  /** More lines of `config.toml`, after all others. */
  readonly more?: string;
}

/** Makes a CODEX_HOME that needs no login and no network: Codex's own program, the scripted model behind it. */
export async function writeCodexHome(dir: string, options: CodexHomeOptions): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await writeFile(join(dir, 'config.toml'), configToml(options), { mode: 0o600 });
}

function configToml({ modelUrl, more = '' }: CodexHomeOptions): string {
  return `# Made by Codex Worker: the real Codex CLI with a scripted model on loopback.
model = "gpt-5.5"                      # bundled metadata with plain tools
model_provider = "scripted"
check_for_update_on_startup = false
allow_login_shell = false              # no profile of the user in a command

[analytics]
enabled = false

[features]
unbounded_connection_retries = false   # otherwise an unreachable model never fails the turn
shell_snapshot = false                 # otherwise every new thread runs a login shell once

[tools.update_plan]
enabled = true

[model_providers.scripted]
name = "scripted"
base_url = "${modelUrl}"
wire_api = "responses"
requires_openai_auth = false
supports_websockets = false
request_max_retries = 0
stream_max_retries = 0
stream_idle_timeout_ms = 60000
${more}`;
}
