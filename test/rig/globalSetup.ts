import { installCopilot } from './installCopilot';
import { installBrowser } from './installBrowser';
import { installEditor } from './installEditor';

/** Before the tests that need them, once and not by several at a time. */
export async function setup(): Promise<void> {
  const log = (line: string): void => void process.stdout.write(`${line}\n`);
  await installEditor(log);
  await installBrowser(log);
  await installCopilot(log);
}
