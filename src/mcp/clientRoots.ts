import type { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { RootsListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';

/** Takes the addresses of the directories that a client named, in their order; resolves when they hold. */
export type TakeRoots = (uris: readonly string[]) => Promise<void>;

/** One that is wrong costs that one: the SDK's own form refuses all of them then. */
const answer = z.looseObject({ roots: z.array(z.looseObject({ uri: z.string().optional().catch(undefined) })) });

/** How long a client may take to name its roots, in ms. */
const limitMs = 5_000;

/**
 * Asks a client for its roots once it is initialized, and again when it says that they changed. The result gives what a call
 * has to wait for, so that the first one knows them already.
 */
export function followRoots(server: Server, take: TakeRoots): () => Promise<void> {
  let known: Promise<void> = Promise.resolve();
  const ask = (): void => {
    if (!server.getClientCapabilities()?.roots) return;
    known = server.request({ method: 'roots/list' }, answer, { timeout: limitMs }).then(
      ({ roots }) => take(roots.flatMap(({ uri }) => uri ?? [])),
      // A client that does not answer has named none.
      () => take([]),
    );
  };
  server.oninitialized = ask;
  server.setNotificationHandler(RootsListChangedNotificationSchema, ask);
  return () => known;
}
