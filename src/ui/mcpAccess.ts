import * as vscode from 'vscode';
import { z } from 'zod';
import type { Finding } from '../worker';
import { shutOut } from './accessRules';

const part = 'Access';

/** What keeps agents out of this window, or tasks from running in it; nothing when nothing does. */
export function examineAccess(serverName: string, extensionId: string): readonly Finding[] {
  return [
    ...shutOut(serverName, valueOf),
    ...(vscode.workspace.isTrusted ? [] : [untrusted]),
    ...agentsWindow(extensionId),
  ];
}

const untrusted: Finding = {
  part,
  state: 'warning',
  text: 'This workspace is not trusted, so no task may run in it.',
  advice: 'Run "Workspaces: Manage Workspace Trust" if you trust it.',
};

const agentsWindowSetting = 'extensions.supportAgentsWindow';

/** The Agents window runs an extension with code only when the person's settings name it. */
function agentsWindow(extensionId: string): readonly Finding[] {
  const known = vscode.workspace.getConfiguration().inspect(agentsWindowSetting);
  const named = z.record(z.string(), z.boolean()).safeParse(valueOf(agentsWindowSetting)).data ?? {};
  if (known?.defaultValue === undefined || named[extensionId] === true) return [];
  return [
    {
      part,
      state: 'ok',
      text: `The Agents window does not load Codex Worker: ${agentsWindowSetting} does not name it.`,
      advice: 'If you use the Agents window, let it load Codex Worker.',
      offers: 'agentsWindow',
    },
  ];
}

export async function supportAgentsWindow(extensionId: string): Promise<void> {
  const configuration = vscode.workspace.getConfiguration();
  const named = configuration.inspect<Record<string, boolean>>(agentsWindowSetting)?.globalValue ?? {};
  const value = { ...named, [extensionId]: true };
  await configuration.update(agentsWindowSetting, value, vscode.ConfigurationTarget.Global);
}

function valueOf(setting: string): unknown {
  return vscode.workspace.getConfiguration().get(setting);
}
