import { context } from 'esbuild';
import { mkdirSync, writeFileSync } from 'node:fs';

const watch = process.argv.includes('--watch');

/** Each program is bundled whole; `vscode` is the editor's own. */
const build = await context({
  entryPoints: {
    extension: 'src/extension.ts',
    stdio: 'src/stdio.ts',
    keeper: 'src/keeper.ts',
    attach: 'src/attach.ts',
  },
  outdir: 'dist',
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  external: ['vscode'],
  // Its CommonJS form loads its parts in a way that no bundler can follow.
  alias: { 'jsonc-parser': 'jsonc-parser/lib/esm/main.js' },
  minify: !watch,
  keepNames: true,
  sourcemap: watch,
  logLevel: 'warning',
});

// The editor loads CommonJS, the sources are modules.
mkdirSync('dist', { recursive: true });
writeFileSync('dist/package.json', '{ "type": "commonjs" }\n');

if (watch) {
  await build.watch();
} else {
  await build.rebuild();
  await build.dispose();
}
