import { z } from 'zod';

/** What a client says at the keeper's door: how long the server's work goes on without it, in ms; null until it is done. */
export const helloSchema = z.object({ keepMs: z.number().nullable() });

/**
 * Between a keeper and its client, a line each. To the keeper: `{…}` goes to the server as it is, `!{…}` is a command. From
 * it: `123 {…}` is the server's line at position 123, `!{…}` is news of the keeper's own.
 */
export const commandSchema = z.union([
  /** How long the server's work goes on without a client, in ms; null until it is done. */
  z.object({ keepMs: z.number().nullable() }),
  z.object({ acknowledge: z.number() }),
  z.object({ end: z.enum(['stop', 'kill']) }),
]);
export type KeeperCommand = z.infer<typeof commandSchema>;

const exitInfo = z.object({
  exitCode: z.number().nullable(),
  signal: z.string().nullable(),
  startError: z.string().nullable(),
});

export const newsSchema = z.union([
  /** Everything that the client missed has been said. */
  z.object({ caughtUp: z.literal(true) }),
  z.object({ stderr: z.string() }),
  z.object({ exit: exitInfo }),
]);
export type KeeperNews = z.infer<typeof newsSchema>;

export const controlMark = '!';

export function controlLine(message: KeeperCommand | KeeperNews): string {
  return `${controlMark}${JSON.stringify(message)}\n`;
}

/** What a control line says; null for another one, of a version to come. */
export function parseControl<T>(schema: z.ZodType<T>, line: string): T | null {
  try {
    return schema.safeParse(JSON.parse(line.slice(controlMark.length))).data ?? null;
  } catch {
    return null;
  }
}
