import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

const files: Readonly<Record<string, string>> = {
  'README.md': `# Codex Worker demo

The real Codex CLI works in this folder, but a **scripted model** answers it: no account, and nothing leaves this machine.

1. Press F1 and choose **Codex Worker: New Task**. Type: \`Fix the failing test\`
2. Watch it in the sidebar. It asks before it leaves the sandbox to run the tests: click the check mark to allow it.
3. Start another one: \`Count slowly\`. Open its log, then click the stop button: the task and its process are dead.
4. And: \`Ask me\`. It asks a question; click the arrow to answer it.
`,
  'package.json': '{ "name": "greeter", "private": true, "type": "module", "scripts": { "test": "node --test" } }\n',
  'src/greet.js': `export function greet(name) {
  return 'Hello ' + name;
}
`,
  'test/greet.test.js': `import assert from 'node:assert/strict';
import { test } from 'node:test';
import { greet } from '../src/greet.js';

test('greets by name', () => {
  assert.equal(greet('Ada'), 'Hello, Ada!');
});
`,
};

/** Writes a small project with a failing test into `dir`. */
export async function writeSampleWorkspace(dir: string): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(dir, name)), { recursive: true });
    await writeFile(join(dir, name), text);
  }
}
