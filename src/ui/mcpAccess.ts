import * as vscode from 'vscode';
import { z } from 'zod';
import type { Finding } from '../worker';

/** Settings of the person or the organisation that keep agents from us although our server is well (VS Code 1.139). */

const part = 'Access';
const namedServer = z.object({ serverName: z.string().optional(), serverCommand: z.array(z.string()).optional() });
const servers = z.array(namedServer).nullish();

/** What shuts agents out of this window; nothing when nothing does. */
export function examineAccess(serverName: string, extensionId: string): readonly Finding[] {
  const refused = [
    valueOf('chat.mcp.access') === 'none' ? 'chat.mcp.access is "none": no MCP server may run' : '',
    valueOf('chat.mcp.access') === 'registry' ? 'chat.mcp.access is "registry": only servers of the registry may run' : '',
    valueOf('chat.mcp.allowManagedServersOnly') === true ? 'chat.mcp.allowManagedServersOnly lets only managed servers run' : '',
    isNotAllowed(serverName) ? `chat.mcp.allowedServers does not name "${serverName}"` : '',
    names('chat.mcp.deniedServers', serverName) ? `chat.mcp.deniedServers names "${serverName}"` : '',
    valueOf('chat.agent.enabled') === false ? 'chat.agent.enabled is off: there is no agent mode' : '',
  ].filter((text) => text !== ''); // prettier-ignore
  const advice = 'Change the setting, or ask whoever manages this editor.';
  return [
    ...refused.map((text): Finding => ({ part, state: 'error', text: `Agents are shut out: ${text}.`, advice })),
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

function isNotAllowed(serverName: string): boolean {
  const allowed = servers.safeParse(valueOf('chat.mcp.allowedServers')).data;
  // What names commands or addresses only cannot be judged here.
  return allowed?.every((one) => one.serverName !== undefined && one.serverName !== serverName) ?? false;
}

function names(setting: string, serverName: string): boolean {
  return servers.safeParse(valueOf(setting)).data?.some((one) => one.serverName === serverName) ?? false;
}

function valueOf(setting: string): unknown {
  return vscode.workspace.getConfiguration().get(setting);
}
