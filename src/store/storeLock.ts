import { randomUUID } from 'node:crypto';
import { link, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { readText } from '../base/readText';
import { hashOf } from '../core/hash';
import { identity, processTable } from '../process/processTable';

const ownerSchema = z.object({ pid: z.int(), identity: z.string() });

/** Held by the one program that may bring back the tasks of a state directory. */
export interface StoreLock {
  release(): Promise<void>;
}

const ownerFile = 'owner.json';
const ownerLimit = 4_096;
const attempts = 5;

/**
 * Takes the lock of a state directory, from a dead owner too; null while another program holds it. Owners are told apart
 * by process id and start time.
 *
 * Each step is one that the file system lets only one program do: a free lock is made by a hard link, and each dead owner
 * has one successor, the program that linked the file named after it. Only that successor replaces the owner's file.
 */
export async function takeStoreLock(stateDir: string): Promise<StoreLock | null> {
  const taker = await Taker.create(stateDir);
  try {
    for (let attempt = 0; attempt < attempts; attempt++) {
      const taken = await taker.tryOnce();
      if (taken === 'owned') return { release: () => taker.release() };
      if (taken === 'held') return null;
    }
    return null;
  } finally {
    await taker.cleanUp();
  }
}

type Outcome = 'owned' | 'held' | 'changed';

class Taker {
  private readonly owner: string;
  private readonly draft: string;
  private readonly dir: string;
  private readonly text: string;

  private constructor(dir: string, own: string) {
    const id = randomUUID();
    this.dir = dir;
    this.owner = join(dir, ownerFile);
    this.draft = join(dir, `${ownerFile}.${id}`);
    this.text = JSON.stringify({ pid: process.pid, identity: own, id });
  }

  static async create(dir: string): Promise<Taker> {
    const own = (await processTable().list()).find(({ pid }) => pid === process.pid);
    const taker = new Taker(dir, own ? identity(own) : `${process.pid}:?`);
    await writeFile(taker.draft, taker.text, { mode: 0o600 });
    return taker;
  }

  async tryOnce(): Promise<Outcome> {
    if (await this.linkTo(this.owner)) return 'owned';
    const held = await textOf(this.owner);
    if (held === null) return 'changed';
    if (await isAlive(held)) return 'held';
    const succession = await this.succeed(held);
    if (typeof succession === 'string') return succession;
    // Somebody who was faster may have taken the lock and tidied up before this claim was made.
    if ((await textOf(this.owner)) !== held) {
      await rm(succession.claim, { force: true });
      return 'changed';
    }
    await rename(this.draft, this.owner);
    await this.removeClaims();
    return 'owned';
  }

  /** Claims the succession of a dead owner, or of the last of its successors that died before they replaced it. */
  private async succeed(dead: string): Promise<{ readonly claim: string } | Outcome> {
    const claim = join(this.dir, `${ownerFile}.after-${hashOf(dead).slice(0, 16)}`);
    if (await this.linkTo(claim)) return { claim };
    const successor = await textOf(claim);
    if (successor === null) return 'changed';
    return (await isAlive(successor)) ? 'held' : this.succeed(successor);
  }

  async release(): Promise<void> {
    if ((await textOf(this.owner)) === this.text) await rm(this.owner, { force: true });
  }

  async cleanUp(): Promise<void> {
    await rm(this.draft, { force: true });
  }

  private async removeClaims(): Promise<void> {
    const names = await readdir(this.dir);
    const claims = names.filter((name) => name.startsWith(`${ownerFile}.after-`));
    await Promise.all(claims.map((name) => rm(join(this.dir, name), { force: true })));
  }

  /** False when the file exists already. */
  private async linkTo(path: string): Promise<boolean> {
    try {
      await link(this.draft, path);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw error;
    }
  }
}

/** Looked up anew each time: an owner may be younger than the last look. A torn file has none; a link is never torn. */
async function isAlive(text: string): Promise<boolean> {
  const owner = parseOwner(text);
  return owner !== null && (await processTable().list()).some((entry) => identity(entry) === owner);
}

function parseOwner(text: string): string | null {
  try {
    return ownerSchema.parse(JSON.parse(text)).identity;
  } catch {
    return null;
  }
}

function textOf(path: string): Promise<string | null> {
  return readText(path, ownerLimit).catch(() => null);
}
