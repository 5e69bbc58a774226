import { z } from 'zod';
import type { Finding } from '../worker';

/** Settings that keep agents from us although our server is well (VS Code 1.139): pure, so that it can be tested by itself. */

const part = 'Access';
const namedServer = z.object({ serverName: z.string().optional(), serverCommand: z.array(z.string()).optional() });
const servers = z.array(namedServer).nullish();
const advice = 'Change the setting, or ask whoever manages this editor.';

/** What shuts agents out; nothing when nothing does. `valueOf` gives the value of a setting. */
export function shutOut(serverName: string, valueOf: (setting: string) => unknown): readonly Finding[] {
  const isNamed = (setting: string): boolean =>
    servers.safeParse(valueOf(setting)).data?.some((one) => one.serverName === serverName) ?? false;
  const allowed = servers.safeParse(valueOf('chat.mcp.allowedServers')).data;
  // What names commands or addresses only cannot be judged here.
  const isLeftOut = allowed?.every((one) => one.serverName !== undefined && one.serverName !== serverName) ?? false;
  const reasons: readonly (readonly [boolean, string])[] = [
    [valueOf('chat.mcp.access') === 'none', 'chat.mcp.access is "none", so no MCP server may run'],
    [valueOf('chat.mcp.access') === 'registry', 'chat.mcp.access is "registry", so only servers of the registry may run'],
    [valueOf('chat.mcp.allowManagedServersOnly') === true, 'chat.mcp.allowManagedServersOnly lets only managed servers run'],
    [isLeftOut, `chat.mcp.allowedServers does not name "${serverName}"`],
    [isNamed('chat.mcp.deniedServers'), `chat.mcp.deniedServers names "${serverName}"`],
    [valueOf('chat.agent.enabled') === false, 'chat.agent.enabled is off, so there is no agent mode'],
  ]; // prettier-ignore
  return reasons
    .filter(([holds]) => holds)
    .map(([, text]) => ({ part, state: 'error', text: `Agents are shut out: ${text}.`, advice }));
}
