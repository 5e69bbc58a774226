import js from '@eslint/js';
import tseslint from 'typescript-eslint';

const layer = (name) => `(^|/)(${name})(/|$)`;
const siblings = ['codex', 'policy', 'store', 'git', 'mcp', 'clients'];
const above = ['ui', 'demo', 'worker', 'extension', 'stdio', 'attach', 'programOptions'];

/** What each layer may not import; see "How it is built" in the README. */
const forbidden = {
  base: [...siblings, 'core', 'process', 'pipe', ...above],
  pipe: [...siblings, 'core', 'process', ...above],
  core: [...siblings, 'process', 'pipe', ...above],
  process: [...siblings, 'core', 'pipe', ...above],
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

function restrict(files, allowed, layers = []) {
  const patterns = Object.entries(packages)
    .filter(([name]) => !allowed.includes(name))
    .map(([, rule]) => rule);
  if (layers.length > 0) {
    patterns.push({ regex: `^\\..*${layer(layers.join('|'))}`, message: 'This layer may not import that one.' });
  }
  return { files, rules: { 'no-restricted-imports': ['error', { patterns }] } };
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
