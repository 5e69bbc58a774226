import assert from 'node:assert/strict';
import * as vscode from 'vscode';

/** Runs inside the real extension host, with Copilot's real agent loop on the scripted chat model. */
export async function run(): Promise<void> {
  const names = await liveTools();
  for (const tool of ['spawn-task', 'wait-task', 'respond-task', 'message-task', 'cancel-task']) {
    assert.ok(names.includes(`mcp_codex_worker_${tool}`), `${tool} is not among ${names.join(', ')}`);
  }
  // A tool that only reads runs at once; one that starts work asks the person first.
  const waited = await vscode.lm.invokeTool('mcp_codex_worker_wait-task', {
    input: {},
    toolInvocationToken: undefined,
  });
  assert.match(JSON.stringify(waited.content), /No task of yours runs/);
  assert.deepEqual(await ask('call spawn-task {"prompt": "say hi"}'), {
    type: 'confirmation',
    kind: 'toolInvocation',
    toolId: 'mcp_codex_worker_spawn-task',
  });
}

/** Starts the MCP server until its tools are known: the first call can come before the provider is registered. */
async function liveTools(): Promise<string[]> {
  for (let attempt = 0; attempt < 60; attempt++) {
    await vscode.commands.executeCommand('workbench.mcp.startServer', '*', { waitForLiveTools: true });
    const names = vscode.lm.tools.map((tool) => tool.name).filter((name) => name.startsWith('mcp_codex_worker'));
    if (names.length >= 5) return names;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  throw new Error(`The tools did not appear; there are: ${vscode.lm.tools.map((tool) => tool.name).join(', ')}`);
}

async function ask(query: string): Promise<unknown> {
  return vscode.commands.executeCommand('workbench.action.chat.open', {
    query,
    mode: 'agent',
    modelSelector: { vendor: 'lab' },
    blockOnResponse: true,
  });
}
