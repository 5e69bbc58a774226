// What a fresh clone and a bare machine lack, before anything else can run: `npm start` and `npm test` call it.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../..');
const run = (program, args) =>
  execFileSync(program, args, { cwd: root, stdio: 'inherit', shell: process.platform === 'win32' });
const has = (program) => spawnSync('which', [program], { stdio: 'ignore' }).status === 0;

if (!existsSync(join(root, 'node_modules', '.package-lock.json'))) run('npm', ['ci', '--no-audit', '--no-fund']);

// The editor from npm builds two native addons on its first installation; tests run commands in several shells, confined.
const packages = {
  ...{ python3: 'python3', make: 'make', 'g++': 'g++' },
  ...(process.argv.includes('--tests') ? { zsh: 'zsh', busybox: 'busybox', dash: 'dash' } : {}),
};
const missing =
  process.platform === 'linux' ? Object.keys(packages).flatMap((tool) => (has(tool) ? [] : [packages[tool]])) : [];
if (missing.length > 0) {
  if (process.getuid?.() === 0 && has('apt-get')) {
    run('apt-get', ['update', '-q']);
    run('apt-get', ['install', '-qy', '--no-install-recommends', ...missing]);
  } else console.warn(`These packages of the system are missing: ${missing.join(', ')}.`);
}
