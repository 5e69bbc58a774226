import { realpath } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { z } from 'zod';
import { isWithin } from '../base/within';
import { CallError } from '../core/errors';
import type { RpcPeer } from './rpc';

const configResult = z.object({
  config: z.looseObject({
    sandbox_workspace_write: z
      .looseObject({
        writable_roots: z.array(z.string()).nullish(),
        exclude_tmpdir_env_var: z.boolean().nullish(),
        exclude_slash_tmp: z.boolean().nullish(),
      })
      .nullish(),
  }),
});

/**
 * Throws `not_available` where commands in the sandbox "workspace-write" could write into the directory of doors, and so come
 * out of the sandbox through a program that has no sandbox. What they may write is what Codex 0.169.0 lets them: the task's
 * directory, the temporary ones, and what the person's configuration adds.
 */
export async function assertDoorsOutside(rpc: RpcPeer, cwd: string, doorsDir: string): Promise<void> {
  const answer = await rpc.request('config/read', { includeLayers: false, cwd });
  const own = configResult.parse(answer).config.sandbox_workspace_write;
  const roots = [
    cwd,
    ...(own?.writable_roots ?? []),
    ...(own?.exclude_tmpdir_env_var === true ? [] : [tmpdir()]),
    ...(own?.exclude_slash_tmp === true || process.platform === 'win32' ? [] : ['/tmp']),
  ];
  const real = await realpath(doorsDir).catch(() => doorsDir);
  for (const root of roots) {
    if (!isWithin(await realpath(root).catch(() => root), real)) continue;
    throw new CallError(
      'not_available',
      `Commands of this task could write to ${root}, which holds ${doorsDir}: what is in there keeps sandboxed commands out of this program.`,
      {
        hint: 'Give the task a cwd that does not hold that directory, or the sandbox read-only. The person can move the directory: the environment variable CODEX_WORKER_DATA names its parent.',
      },
    );
  }
}
