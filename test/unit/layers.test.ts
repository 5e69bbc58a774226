import { ESLint } from 'eslint';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');

/** What the layer rule says to a line in a file of that layer. */
async function complaints(file: string, line: string, rules = ['no-restricted-imports']): Promise<number> {
  const eslint = new ESLint({
    cwd: root,
    overrideConfig: {
      files: ['**/*.ts'],
      languageOptions: { parserOptions: { projectService: false, project: null } },
    },
    ruleFilter: ({ ruleId }) => rules.includes(ruleId),
  });
  const [result] = await eslint.lintText(`${line}\n`, { filePath: join(root, file) });
  if (result?.messages.some((message) => message.fatal)) throw new Error(JSON.stringify(result.messages));
  return result?.messages.length ?? 0;
}

describe('the layer rule', () => {
  it.each([
    ['src/base/x.ts', "import { a } from '../core/errors';"],
    ['src/base/x.ts', "import { a } from '../process/childProcess';"],
    ['src/pipe/x.ts', "import { a } from '../core/errors';"],
    ['src/pipe/x.ts', "import { Client } from '@modelcontextprotocol/sdk/client/index.js';"],
    ['src/attach.ts', "import { a } from './mcp/results';"],
    ['src/clients/x.ts', "import { a } from '../mcp/results';"],
    ['src/core/x.ts', "import { a } from '../process/childProcess';"],
    ['src/core/x.ts', "import * as vscode from 'vscode';"],
    ['src/core/x.ts', "import { execa } from 'execa';"],
    ['src/process/x.ts', "import { a } from '../core/errors';"],
    ['src/codex/x.ts', "import { a } from '../mcp/results';"],
    ['src/codex/x.ts', "import { spawn } from 'node:child_process';"],
    ['src/mcp/x.ts', "import { a } from '../codex/rpc';"],
    ['src/mcp/tools/x.ts', "import { a } from '../../store/taskFiles';"],
    ['src/store/x.ts', "import { Client } from '@modelcontextprotocol/sdk/client/index.js';"],
    ['src/ui/x.ts', "import { a } from '../codex/rpc';"],
    ['src/ui/x.ts', "import { a } from '../extension';"],
    ['src/worker.ts', "import * as vscode from 'vscode';"],
    ['src/worker.ts', "import { a } from './ui/settings';"],
    ['src/stdio.ts', "import { a } from './ui/settings';"],
    ['src/stdio.ts', "import { a } from './codex/rpc';"],
    ['src/extension.ts', "import { a } from './store/taskFiles';"],
    ['src/demo/x.ts', "import { a } from '../worker';"],
  ])('bites in %s: %s', async (file, line) => expect(await complaints(file, line)).toBe(1));

  it.each([
    ['src/core/x.ts', "import { a } from '../base/redaction';"],
    ['src/process/x.ts', "import { a } from '../base/redaction';"],
    ['src/codex/x.ts', "import { a } from '../core/errors';"],
    ['src/codex/x.ts', "import { a } from '../process/childProcess';"],
    ['src/mcp/x.ts', "import { Server } from '@modelcontextprotocol/sdk/server/index.js';"],
    ['src/ui/x.ts', "import * as vscode from 'vscode';"],
    ['src/ui/x.ts', "import { Worker } from '../worker';"],
    ['src/process/x.ts', "import { execa } from 'execa';"],
    ['src/worker.ts', "import { a } from './codex/rpc';"],
  ])('lets pass in %s: %s', async (file, line) => expect(await complaints(file, line)).toBe(0));
});

describe('the rule on files', () => {
  it.each([
    ['src/core/x.ts', "import { readFileSync } from 'node:fs';"],
    ['src/ui/x.ts', "import { existsSync, constants } from 'node:fs';"],
    ['src/policy/x.ts', "import * as fs from 'node:fs';"],
    ['src/worker.ts', "import { readFile } from 'node:fs/promises';"],
    ['src/store/x.ts', "import { open } from 'node:fs/promises';"],
  ])('bites in %s: %s', async (file, line) => expect(await complaints(file, line)).toBe(1));

  it.each([
    ['src/base/readText.ts', "import { open } from 'node:fs/promises';"],
    ['src/policy/realPath.ts', "import { realpathSync } from 'node:fs';"],
    ['src/policy/x.ts', "import { watchFile } from 'node:fs';"],
    ['src/core/x.ts', "import { realpath, stat } from 'node:fs/promises';"],
  ])('lets pass in %s: %s', async (file, line) => expect(await complaints(file, line)).toBe(0));

  it('leaves the exceptions within their layer', async () => {
    expect(await complaints('src/policy/realPath.ts', "import { a } from '../codex/rpc';")).toBe(1);
  });
});

describe('the rule on patterns', () => {
  const rules = ['regexp/no-super-linear-backtracking', 'regexp/no-super-linear-move', 'no-restricted-syntax'];
  it.each([
    ["export const a = /(a+)+$/.test('x');", true],
    ["export const a = /^\\s+(.*)x$/.test('x');", true],
    ['export const a = new RegExp(process.title);', true],
    ["export const a = /^[a-z]+$/.test('x');", false],
  ])('bites in %s: %s', async (line, bites) =>
    expect((await complaints('src/core/x.ts', line, rules)) > 0).toBe(bites),
  );
});
