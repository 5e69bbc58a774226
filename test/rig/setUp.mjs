// What a fresh clone and a bare machine lack, before anything else can run: `npm start` and `npm test` call it.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../..');
const run = (program, args) =>
  execFileSync(program, args, { cwd: root, stdio: 'inherit', shell: process.platform === 'win32' });
const has = (program) => spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0;

if (!existsSync(join(root, 'node_modules', '.package-lock.json'))) run('npm', ['ci', '--no-audit', '--no-fund']);

// The editor from npm builds two native addons on its first installation.
const missing = process.platform === 'linux' ? ['python3', 'make', 'g++'].filter((tool) => !has(tool)) : [];
if (missing.length > 0) {
  if (process.getuid?.() === 0 && has('apt-get')) {
    run('apt-get', ['update', '-q']);
    run('apt-get', ['install', '-qy', '--no-install-recommends', ...missing]);
  } else console.warn(`The editor from npm needs ${missing.join(', ')} for its first installation.`);
}
