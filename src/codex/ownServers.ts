import { realpath } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { z } from 'zod';
import { readText } from '../base/readText';
import type { RpcPeer } from './rpc';

const configResult = z.object({
  config: z.looseObject({
    mcp_servers: z
      .record(z.string(), z.looseObject({ command: z.string().optional(), args: z.array(z.string()).optional() }))
      .nullish(),
  }),
});

const packageLimit = 1024 * 1024;
/** A name that a dotted key of the configuration can hold. */
const plainName = /^[\w-]+$/;

/**
 * Switches off our own program among the MCP servers of the person: Codex would start it for each thread of a task, only to be
 * refused there. It is known by what it runs, whatever it is called. One that this does not see refuses by itself.
 */
export async function withoutOwnServers(rpc: RpcPeer, cwd: string): Promise<Readonly<Record<string, unknown>>> {
  const answer = await rpc.request('config/read', { includeLayers: false, cwd }).catch(() => null);
  const servers = Object.entries(configResult.safeParse(answer).data?.config.mcp_servers ?? {});
  const own = await Promise.all(
    servers.map(async ([name, { command = '', args = [] }]) => {
      const isOwn = plainName.test(name) && (await Promise.all([command, ...args].map(isOwnProgram))).includes(true);
      return isOwn ? [[`mcp_servers.${name}.enabled`, false] as const] : [];
    }),
  );
  return Object.fromEntries(own.flat());
}

/** The launcher that other clients are given, what npm links, or a program of this package. */
async function isOwnProgram(word: string): Promise<boolean> {
  if (/^mcp-codex-worker(?:\.cmd)?$/.test(basename(word))) return true;
  if (!isAbsolute(word) || !/(?:^|[\\/])(?:stdio|attach)\.js$/.test(word)) return false;
  const real = await realpath(word).catch(() => word);
  const manifest = await readText(join(dirname(dirname(real)), 'package.json'), packageLimit).catch(() => null);
  return manifest !== null && /"name"\s{0,9}:\s{0,9}"codex-worker"/.test(manifest);
}
