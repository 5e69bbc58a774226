import { readdir, realpath, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join, relative, isAbsolute, sep } from 'node:path';
import type { Address } from '../base/door';
import { isAlive } from '../base/processStart';
import { isPrivateDir, makePrivateDir, readPrivate, writePrivate } from '../base/privateFile';

/** How other programs find the windows of the editor: one file for each, `windows/<id>.json` in the user's data directory. */

const recordVersion = 1;
const fileLimit = 64 * 1024;
const fileName = /^([0-9a-f]{16}(?:-\d{1,3})?)\.json$/;
/** More windows than anybody opens. */
const windowLimit = 200;

/** A window of the editor that runs, or did. */
export interface WindowRecord extends Address {
  readonly version: 1;
  /** A hash of where the window keeps its state: the same over reloads. */
  readonly id: string;
  /** The extension host, and when it started; see processStart.ts. */
  readonly pid: number;
  readonly started: number;
  /** Absolute paths; empty for a window without a folder. */
  readonly folders: readonly string[];
  readonly worker: {
    /** Of the product. */
    readonly version: string;
    readonly trusted: boolean;
    /** The machine; several may share a home directory. */
    readonly host: string;
    /** When the window was opened, in ms since the epoch. */
    readonly opened: number;
  };
}

/** A file that is there and says nothing that this version understands. */
export interface UnreadableWindow {
  readonly id: string;
  readonly why: 'private' | 'version' | 'damaged';
}

export function windowsDir(dataDir: string): string {
  return join(dataDir, 'windows');
}

export function isWindowId(text: string): boolean {
  return fileName.test(`${text}.json`);
}

export async function writeWindow(dataDir: string, record: WindowRecord): Promise<void> {
  await makePrivateDir(windowsDir(dataDir));
  await writePrivate(pathOf(dataDir, record.id), `${JSON.stringify(record)}\n`);
}

/** Removes the file of a window unless another one has it by now. */
export async function removeWindow(dataDir: string, { id, pid, started }: WindowRecord): Promise<void> {
  const now = await readWindow(dataDir, id);
  if (now && 'pid' in now && now.pid === pid && now.started === started) await rm(pathOf(dataDir, id), { force: true });
}

/** What the file of a window says; null when there is none. */
export async function readWindow(dataDir: string, id: string): Promise<WindowRecord | UnreadableWindow | null> {
  if (!isWindowId(id)) return null;
  const isPrivate = await isPrivateDir(windowsDir(dataDir));
  const text = isPrivate ? await readPrivate(pathOf(dataDir, id), fileLimit) : null;
  if (text !== null) return parse(id, text);
  const names = await namesIn(dataDir);
  return names.includes(`${id}.json`) ? { id, why: 'private' } : null;
}

export interface Windows {
  readonly alive: readonly WindowRecord[];
  readonly unreadable: readonly UnreadableWindow[];
}

/** All windows; the files of those that were killed are removed. */
export async function listWindows(dataDir: string): Promise<Windows> {
  const names = await namesIn(dataDir);
  const ids = names.flatMap((name) => fileName.exec(name)?.[1] ?? []).slice(0, windowLimit);
  const records = (await Promise.all(ids.map((id) => readWindow(dataDir, id)))).filter((one) => one !== null);
  const alive: WindowRecord[] = [];
  for (const record of records) {
    // A process of another machine cannot be looked for here, nor its socket reached.
    if (!('pid' in record) || record.worker.host !== hostname()) continue;
    if (await isAlive(record.pid, record.started)) alive.push(record);
    else await removeWindow(dataDir, record);
  }
  return { alive, unreadable: records.filter((one) => 'why' in one) };
}

/**
 * The window that works in a directory: the one whose folder holds it most closely. Of several the one that `preferred`
 * names, else the one that was opened last.
 */
export async function windowOf(
  directory: string,
  windows: readonly WindowRecord[],
  preferred?: string,
): Promise<WindowRecord | null> {
  const real = await realpath(directory).catch(() => directory);
  const fits = await Promise.all(windows.map(async (record) => ({ record, depth: await closest(record, real) })));
  const holding = fits.filter(({ depth }) => depth >= 0);
  const best = Math.max(...holding.map(({ depth }) => depth));
  const candidates = holding.filter(({ depth }) => depth === best).map(({ record }) => record);
  const named = candidates.find(({ id }) => id === preferred);
  return named ?? candidates.toSorted((a, b) => b.worker.opened - a.worker.opened)[0] ?? null;
}

/** The length of the longest folder that holds the directory; -1 when none does. */
async function closest({ folders }: WindowRecord, directory: string): Promise<number> {
  const lengths = await Promise.all(
    folders.map(async (folder) => {
      const real = await realpath(folder).catch(() => folder);
      const inside = relative(real, directory);
      const isInside = inside !== '..' && !inside.startsWith(`..${sep}`) && !isAbsolute(inside);
      return isInside ? real.length : -1;
    }),
  );
  return Math.max(-1, ...lengths);
}

function namesIn(dataDir: string): Promise<readonly string[]> {
  return readdir(windowsDir(dataDir)).catch((): string[] => []);
}

/** What a file says before it is known to be of this version. */
type MaybeRecord = Partial<Omit<WindowRecord, 'version'>> & { readonly version?: unknown };

function pathOf(dataDir: string, id: string): string {
  return join(windowsDir(dataDir), `${id}.json`);
}

function parse(id: string, text: string): WindowRecord | UnreadableWindow {
  try {
    const record = JSON.parse(text) as MaybeRecord | null;
    if (typeof record?.version === 'number' && record.version !== recordVersion) return { id, why: 'version' };
    return isRecord(record) && record.id === id ? record : { id, why: 'damaged' };
  } catch {
    return { id, why: 'damaged' };
  }
}

function isRecord(record: MaybeRecord | null): record is WindowRecord {
  const texts = [record?.address, record?.token, record?.worker?.version, record?.worker?.host];
  return (
    record?.version === recordVersion &&
    texts.every((text) => typeof text === 'string') &&
    Number.isSafeInteger(record.pid) &&
    Number.isFinite(record.started) &&
    Array.isArray(record.folders) &&
    record.folders.every((folder) => typeof folder === 'string')
  );
}
