import { execa } from 'execa';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheDir, exists } from './installEditor';

/** It brings the runtime 1.0.85, which VS Code 1.139.1 starts for its Copilot harness. */
const version = '1.0.14';

/** The directory whose node_modules has the SDK; installs it on first need: 130 MB in the user's cache directory. */
export async function installCopilot(log: (line: string) => void): Promise<string> {
  const dir = cacheDir(`copilot-sdk-${version}`);
  if (await exists(join(dir, 'complete'))) return dir;
  log(`Installing the Copilot SDK ${version} from npm into ${dir} (once) …`);
  const work = `${dir}.new`;
  for (const one of [dir, work]) await rm(one, { recursive: true, force: true });
  await mkdir(work, { recursive: true });
  await writeFile(join(work, 'package.json'), '{"private":true}\n');
  await execa('npm', ['install', `@github/copilot-sdk@${version}`, '--no-audit', '--no-fund'], { cwd: work });
  await writeFile(join(work, 'complete'), '');
  await rename(work, dir);
  return dir;
}
