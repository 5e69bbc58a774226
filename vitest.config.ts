import { defineConfig } from 'vitest/config';

const project = (name: string, timeoutMs: number, parallel: boolean, needsEditor: boolean) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout: timeoutMs,
    hookTimeout: timeoutMs,
    fileParallelism: parallel,
    globalSetup: [
      ...(name === 'unit' ? [] : ['test/rig/bundled.ts']),
      ...(needsEditor ? ['test/rig/globalSetup.ts'] : []),
    ],
  },
});

/** MCP's conformance suite needs Node 24, which comes with the editor where this one is older. */
const isOldNode = Number(process.versions.node.split('.', 1)[0]) < 24;

export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: [
      project('unit', 10_000, true, false),
      project('process', 60_000, true, false),
      project('mcp', 60_000, true, isOldNode),
      // One real editor at a time is what two cores carry.
      project('editor', 180_000, false, true),
    ],
  },
});
