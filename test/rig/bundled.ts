import { execa } from 'execa';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../..');

/** One of our programs as it ships. */
export function bundled(name: 'stdio' | 'keeper' | 'attach'): string {
  return join(root, 'dist', `${name}.js`);
}

/** Before the tests that run one. */
export async function setup(): Promise<void> {
  await execa(process.execPath, [join(root, 'esbuild.mjs')], { cwd: root });
}
