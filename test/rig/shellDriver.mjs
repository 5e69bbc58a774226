// Runs texts in shells, inside a sandbox of test/rig/shellLab.ts: `/lab/in.json` has the texts and the shells, `/lab/out.json` gets
// what happened.
import { spawnSync } from 'node:child_process';
import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const { texts, shells } = JSON.parse(readFileSync('/lab/in.json', 'utf8'));
const work = '/place/home';
const trace = '/lab/trace';

function furnish() {
  rmSync(work, { recursive: true, force: true });
  mkdirSync(join(work, 'sub'), { recursive: true });
  mkdirSync(join(work, 'src'));
  for (const name of [
    'a.txt',
    'b.txt',
    '-rf',
    '--evil',
    '1',
    '2',
    'sub/x.ts',
    'sub/-y',
    'src/a.ts',
    'src/-b.ts',
    'x evil',
  ])
    writeFileSync(join(work, name), 'x');
  symlinkSync('sub', join(work, 'link'));
}

function contents(dir) {
  return readdirSync(dir, { withFileTypes: true })
    .map((entry) => {
      const path = join(dir, entry.name);
      const { size, mtimeMs } = lstatSync(path);
      return entry.isDirectory() ? contents(path) : `${path} ${size} ${mtimeMs}`;
    })
    .join('\n');
}

furnish();
let before = contents('/place');
const out = texts.map((text) =>
  shells.map(([name, ...args]) => {
    writeFileSync(trace, '');
    const env = { PATH: '/stubs', HOME: work, CDPATH: '', LC_ALL: 'C.UTF-8' };
    const [file, ...first] = args;
    const { stderr, error, signal } = spawnSync(file, [...first, text], {
      cwd: work,
      env,
      timeout: 10_000,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const after = contents('/place');
    const isChanged = after !== before;
    if (isChanged) {
      furnish();
      before = contents('/place');
    }
    return {
      shell: name,
      trace: readFileSync(trace, 'utf8'),
      stderr: String(stderr ?? '').slice(0, 2_000),
      isChanged,
      trouble: error?.message ?? signal ?? null,
    };
  }),
);
writeFileSync('/lab/out.json', JSON.stringify(out));
