import { join } from 'node:path';
import { z } from 'zod';
import { readPrivate, writePrivate } from '../base/privateFile';
import { identity, processTable } from './processTable';

/** What a keeper tells whoever looks for it, in `keeper.json` of the state directory. */
const recordSchema = z.object({
  version: z.literal(1),
  /** `pid:startTime`; see processTable.ts. */
  keeper: z.string(),
  server: z.string().nullable(),
  /** A Unix socket or a Windows named pipe. */
  address: z.string(),
  token: z.string(),
  /** What the server works for; see `ServerOptions`. */
  purpose: z.string().default(''),
  /** Every line of this server has a higher position; see backlog.ts. */
  begins: z.number().default(0),
});
export type KeeperRecord = z.infer<typeof recordSchema>;

const recordLimit = 64 * 1024;

/** What the keeper of gated threads has in a state directory; see execGate/. */
export function gatedDir(stateDir: string): string {
  return join(stateDir, 'gated');
}

/** Where a keeper of a state directory may have its files. */
export function keeperDirs(stateDir: string): readonly string[] {
  return [stateDir, gatedDir(stateDir)];
}

export function recordPath(stateDir: string): string {
  return join(stateDir, 'keeper.json');
}

export function backlogPath(stateDir: string): string {
  return join(stateDir, 'backlog.jsonl');
}

export async function writeRecord(stateDir: string, record: KeeperRecord): Promise<void> {
  await writePrivate(recordPath(stateDir), JSON.stringify(record));
}

/** The record of a keeper that is alive; null when there is none. */
export async function readRecord(stateDir: string): Promise<KeeperRecord | null> {
  const record = await readAnyRecord(stateDir);
  if (!record) return null;
  const alive = (await processTable().list()).some((entry) => identity(entry) === record.keeper);
  return alive ? record : null;
}

/** The record that is there, of a dead keeper too. */
export async function readAnyRecord(stateDir: string): Promise<KeeperRecord | null> {
  try {
    return recordSchema.parse(JSON.parse((await readPrivate(recordPath(stateDir), recordLimit)) ?? ''));
  } catch {
    return null;
  }
}
