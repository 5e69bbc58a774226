import { userDataDir } from './base/userDirs';
import { pipeInto } from './pipe/attachedPipe';
import { StdioClient } from './pipe/stdioClient';
import { isWindowId } from './pipe/windows';

/** The program that the editor hands to its harnesses: a pipe into the window that its environment names, and nothing else. */

const noWindow = 3;

function log(message: string): void {
  process.stderr.write(`Codex Worker: ${message}\n`);
}

async function main(): Promise<number> {
  // A harness that closes our log must not end us.
  process.stderr.on('error', () => undefined);
  const window = process.env.CODEX_WORKER_WINDOW ?? '';
  if (!isWindowId(window)) {
    log(
      'CODEX_WORKER_WINDOW names no window. This program is started by the editor; other clients use "mcp-codex-worker --attach".',
    );
    return noWindow;
  }
  const session = process.env.COPILOT_AGENT_SESSION_ID;
  await pipeInto({
    dataDir: userDataDir(),
    window,
    // Harnesses wait with limits of their own: what was in flight is refused, so that they can tell their model.
    client: new StdioClient(process.stdin, process.stdout, { repeats: () => false }),
    hello: { entrance: 'definition', ...(session === undefined ? {} : { session }) },
    stopped: new Promise(() => undefined),
    log,
  });
  return 0;
}

void main().then((code) => process.exit(code));
