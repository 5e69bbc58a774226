import js from '@eslint/js';
import regexp from 'eslint-plugin-regexp';
import tseslint from 'typescript-eslint';

const layer = (name) => `(^|/)(${name})(/|$)`;
const siblings = ['codex', 'policy', 'store', 'git', 'mcp', 'clients'];
const gate = 'execGate';
const above = ['ui', 'demo', 'worker', 'extension', 'stdio', 'attach', 'programOptions'];

/** What each layer may not import; see "How it is built" in the README. */
const forbidden = {
  base: [...siblings, 'core', 'process', 'pipe', gate, ...above],
  pipe: [...siblings, 'core', 'process', gate, ...above],
  core: [...siblings, 'process', 'pipe', gate, ...above],
  process: [...siblings, 'core', 'pipe', gate, ...above],
  [gate]: [...siblings, 'core', 'pipe', ...above],
  ...Object.fromEntries(siblings.map((own) => [own, [...siblings.filter((other) => other !== own), ...above]])),
  demo: [...siblings, 'core', 'ui', 'worker', 'extension', 'stdio'],
  ui: [...siblings, 'process', 'extension', 'stdio'],
};

const packages = {
  vscode: { group: ['vscode'], message: 'Only extension.ts and ui/ know the editor.' },
  mcp: { group: ['@modelcontextprotocol/*'], message: 'Only mcp/ knows the MCP SDK.' },
  processes: {
    group: ['child_process', 'node:child_process', 'execa', 'execa/*'],
    message: 'Only process/ starts child processes.',
  },
};

/** Files come in through base/readText.ts, which is bounded; nothing waits for a disk while everything else stands still. */
const fileAccess = [
  {
    name: 'node:fs',
    allowImportNames: ['constants', 'watchFile', 'unwatchFile'],
    message: 'Nothing in src/ uses the file system synchronously; use node:fs/promises.',
  },
  {
    name: 'node:fs/promises',
    importNames: ['readFile', 'open', 'default'],
    message: 'Read files with base/readText.ts or base/privateFile.ts, which have limits.',
  },
];

/** Each has its reason. */
const mayReachFiles = [
  // The door itself, and appending to and reading parts of journals, whose sizes it knows.
  ...[
    'src/base/readText.ts',
    'src/base/privateFile.ts',
    'src/base/appendWhole.ts',
    'src/store/segmentedFile.ts',
    'src/policy/audit.ts',
  ],
  // Files of the kernel, which have no size.
  ...['src/base/processStart.ts', 'src/process/procTable.ts', 'src/process/lineage.ts'],
  // A decision is one step, in which no call of an agent may come in between; each path is looked up once.
  'src/policy/realPath.ts',
  // The last words of a program that ends.
  'src/keeper.ts',
];

function restrict(files, allowed, layers = []) {
  const paths = allowed.includes('files') ? [] : fileAccess;
  const patterns = Object.entries(packages)
    .filter(([name]) => !allowed.includes(name))
    .map(([, rule]) => rule);
  if (layers.length > 0) {
    patterns.push({ regex: `^\\..*${layer(layers.join('|'))}`, message: 'This layer may not import that one.' });
  }
  return { files, rules: { 'no-restricted-imports': ['error', { paths, patterns }] } };
}

export default tseslint.config(
  { ignores: ['dist', 'out', 'node_modules', 'test/transcripts'] },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.strictTypeChecked, ...tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/no-deprecated': [
        'error',
        // The high-level server of the SDK cannot hold our tools' contract; see mcpServer.ts.
        { allow: [{ from: 'package', name: 'Server', package: '@modelcontextprotocol/sdk' }] },
      ],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      'no-restricted-exports': ['error', { restrictDefaultExports: { direct: true } }],
      eqeqeq: 'error',
    },
  },
  restrict(['src/**/*.ts'], []),
  restrict(['src/worker.ts'], [], ['ui', 'demo', 'extension', 'stdio', 'keeper']),
  restrict(['src/keeper.ts'], [], ['core', ...siblings, ...above]),
  restrict(['src/attach.ts'], [], ['core', 'process', ...siblings, ...above]),
  restrict(['src/stdio.ts'], [], [...siblings, 'process', 'ui', 'demo', 'extension']),
  restrict(['src/extension.ts'], ['vscode'], [...siblings, 'process', 'demo', 'stdio']),
  ...Object.entries(forbidden).map(([name, layers]) =>
    restrict([`src/${name}/**/*.ts`], { ui: ['vscode'], mcp: ['mcp'], process: ['processes'] }[name] ?? [], layers),
  ),
  ...mayReachFiles.map((file) => {
    const name = file.split('/')[1];
    const own = { mcp: ['mcp'], process: ['processes'] }[name] ?? [];
    const layers = file === 'src/keeper.ts' ? ['core', ...siblings, ...above] : forbidden[name];
    return restrict([file], [...own, 'files'], layers);
  }),
  {
    // Most of what is matched is text of somebody else: a pattern that takes its time lets everything wait.
    files: ['src/**/*.ts'],
    // The second puts its pattern together from a list.
    ignores: ['src/demo/**', 'src/base/redaction.ts'],
    plugins: { regexp },
    rules: {
      'regexp/no-super-linear-backtracking': ['error', { report: 'potential' }],
      'regexp/no-super-linear-move': ['error', { report: 'potential' }],
      'no-restricted-syntax': [
        'error',
        {
          selector: "NewExpression[callee.name='RegExp']",
          message: 'Patterns that come from outside go through core/linearPattern.ts; the others are literals.',
        },
      ],
    },
  },
  {
    files: ['test/**/*.ts', '*.config.ts'],
    rules: { 'no-restricted-exports': 'off', '@typescript-eslint/no-non-null-assertion': 'off' },
  },
  {
    files: ['test/editor/{chatModel,driver}/*.js'],
    languageOptions: {
      sourceType: 'commonjs',
      globals: { require: 'readonly', exports: 'readonly', process: 'readonly' },
    },
  },
  { files: ['**/*.mjs'], languageOptions: { globals: { process: 'readonly', console: 'readonly' } } },
);
