import { join } from 'node:path';
import { z } from 'zod';
import { writePrivate } from '../base/privateFile';
import { readText } from '../base/readText';
import type { Disposable } from '../core/disposable';
import { Emitter } from '../core/emitter';
import { messageOf } from '../core/errors';
import { hashOf } from '../core/hash';
import type { Log } from '../core/ports';
import { everyTool, innerActions, isPermissive, type Policy } from './policy';
import { readPolicy } from './readPolicy';

export interface HeldPoliciesOptions {
  readonly stateDir: string;
  readonly log: Log;
  /** Whether a task is at work below a folder that was spawned at that time, in ms since the epoch, or before; null while unknown. */
  readonly isAtWork: (root: string, until: number) => boolean | null;
}

/** What a workspace's policy said until then. */
interface Held {
  readonly text: string;
  /** Tasks that were spawned until then began under it, in ms since the epoch. */
  readonly until: number;
  readonly policy: Policy;
  /** Whether somebody was told, which waits until it is known that tasks are at work. */
  readonly isTold: boolean;
}

interface Folder {
  /** The last good text of its file; null without one. */
  inForce: string | null;
  held: Held[];
}

const file = 'workspace-policies.json';
const fileLimit = 16 * 1024 * 1024;
const storedSchema = z.record(
  z.string(),
  z.object({ inForce: z.string().nullable(), held: z.array(z.object({ text: z.string(), until: z.number() })) }),
);
const folderLimit = 200;
/** Of one folder. A task that changes its policy more often than that is up to no good. */
const heldLimit = 8;
const lookEveryMs = 500;

/**
 * A task may write to the policy of its workspace, or move it away. So what a policy said goes on holding beside what it says
 * now, until no task is at work that began under it, or a person lets it go; over restarts too.
 */
export class HeldPolicies implements Disposable {
  private readonly folders = new Map<string, Folder>();
  private readonly emitter = new Emitter<undefined>();
  /** A policy begins or ends to be held. */
  readonly onDidChange = this.emitter.event;
  private readonly heldEmitter = new Emitter<string>();
  /** The policy of a folder was changed while tasks are at work there. */
  readonly onDidHold = this.heldEmitter.event;
  private looking: NodeJS.Timeout | undefined;
  private saving: Promise<unknown> = Promise.resolve();
  private readonly options: HeldPoliciesOptions;

  private constructor(options: HeldPoliciesOptions) {
    this.options = options;
  }

  static async open(options: HeldPoliciesOptions): Promise<HeldPolicies> {
    const held = new HeldPolicies(options);
    await held.load();
    return held;
  }

  /** By a name for each. One that nobody began under any more is let go first. */
  policies(): ReadonlyMap<string, Policy> {
    this.letGo(({ until }, root) => this.options.isAtWork(root, until) === false);
    this.tell();
    const all = [...this.folders].flatMap(([root, { held }]) =>
      held.map((one) => [nameOf(root, one), one.policy] as const),
    );
    return new Map(all);
  }

  /** The names under which they are counted. */
  get names(): ReadonlySet<string> {
    return new Set([...this.folders].flatMap(([root, { held }]) => held.map((one) => nameOf(root, one))));
  }

  /** Folders of which somebody was told. */
  get told(): readonly string[] {
    return [...this.folders].flatMap(([root, { held }]) => (held.some(({ isTold }) => isTold) ? [root] : []));
  }

  /** Folders where an older policy holds. */
  get roots(): readonly string[] {
    return [...this.folders].flatMap(([root, { held }]) => (held.length > 0 ? [root] : []));
  }

  /** Takes note of what the file of a folder says. */
  follow(root: string, text: string | null): void {
    const folder = this.folders.get(root);
    if (!folder) {
      this.folders.set(root, { inForce: text, held: [] });
      if (text !== null) this.save();
      return;
    }
    const { inForce } = folder;
    if (inForce === text) return;
    folder.inForce = text;
    if (inForce !== null) this.hold(root, folder, inForce);
    this.save();
  }

  private hold(root: string, folder: Folder, text: string): void {
    const until = Date.now();
    const { policy } = readPolicy(text);
    if (!policy || isPermissive(policy) || this.options.isAtWork(root, until) === false) return;
    folder.held = folder.held.filter((one) => one.text !== text);
    folder.held.push({ text, until, policy, isTold: false });
    // What is too much is let go for one that allows nothing.
    if (folder.held.length > heldLimit) folder.held = [{ text: tooMany, until, policy: denyAll, isTold: false }];
    this.watch();
    this.tell();
    this.emitter.fire(undefined);
  }

  private tell(): void {
    for (const [root, folder] of this.folders) {
      const isNew = folder.held.some(({ until, isTold }) => !isTold && this.options.isAtWork(root, until) === true);
      if (!isNew) continue;
      folder.held = folder.held.map((one) => ({ ...one, isTold: true }));
      this.options.log(
        'warn',
        `The policy of ${root} was changed while tasks are at work there: what it said before holds beside it until they have ended.`,
      );
      this.heldEmitter.fire(root);
    }
  }

  /** The person wants what the files say now, and nothing else. */
  release(): void {
    this.letGo(() => true);
  }

  private letGo(isOver: (held: Held, root: string) => boolean): void {
    let changed = false;
    for (const [root, folder] of this.folders) {
      const left = folder.held.filter((one) => !isOver(one, root));
      if (left.length === folder.held.length) continue;
      const wasTold = folder.held.some(({ isTold }) => isTold);
      folder.held = left;
      changed = true;
      if (left.length === 0 && wasTold)
        this.options.log('info', `What the policy of ${root} said before holds no longer.`);
    }
    if (!changed) return;
    this.save();
    this.emitter.fire(undefined);
  }

  private watch(): void {
    this.looking ??= setInterval(() => {
      if (this.policies().size > 0) return;
      clearInterval(this.looking);
      this.looking = undefined;
    }, lookEveryMs).unref();
  }

  /** Resolves when everything is written, as far as it can be. */
  async flush(): Promise<void> {
    await this.saving;
  }

  dispose(): void {
    clearInterval(this.looking);
    this.emitter.dispose();
    this.heldEmitter.dispose();
  }

  private async load(): Promise<void> {
    const { stateDir, log } = this.options;
    try {
      const stored = storedSchema.parse(JSON.parse((await readText(join(stateDir, file), fileLimit)) ?? '{}'));
      for (const [root, { inForce, held }] of Object.entries(stored)) {
        this.folders.set(root, {
          inForce,
          held: held.map((one) => ({ ...one, policy: policyOf(one.text), isTold: false })),
        });
      }
      if (this.roots.length > 0) this.watch();
    } catch (error) {
      log('warn', `What policies of workspaces said before is lost: ${messageOf(error).slice(0, 300)}`);
    }
  }

  private save(): void {
    for (const root of this.folders.keys()) {
      if (this.folders.size <= folderLimit) break;
      if (this.folders.get(root)?.held.length === 0) this.folders.delete(root);
    }
    const stored = Object.fromEntries(
      [...this.folders].map(([root, { inForce, held }]) => [
        root,
        { inForce, held: held.map(({ text, until }) => ({ text, until })) },
      ]),
    );
    const { stateDir, log } = this.options;
    this.saving = this.saving
      .then(() => writePrivate(join(stateDir, file), JSON.stringify(stored)))
      .catch((error: unknown) => log('warn', `What policies of workspaces say cannot be kept: ${messageOf(error)}`));
  }
}

function nameOf(root: string, { text }: Held): string {
  return `${workspaceName(root)} before ${hashOf(text).slice(0, 8)}`;
}

/** The name of a workspace's policy among those that apply. */
export function workspaceName(root: string): string {
  return `workspace ${root}`;
}

/** The name of the policy that one was held for, by the name of what is held; null for any other name. */
export function heldFor(name: string): string | null {
  return /^(.*) before [0-9a-f]{8}$/s.exec(name)?.[1] ?? null;
}

/** In place of the text of a policy. */
const tooMany = 'too many';

const denyAll: Policy = (() => {
  const rule =
    '{rules: [{action: deny, name: changed too often, reason: The policy of this workspace changed too often while tasks are at work.}]}';
  const tools = [everyTool, ...innerActions].map((tool) => `"${tool}": ${rule}`);
  const { policy } = readPolicy(`tools: {${tools.join(', ')}}`);
  if (!policy) throw new Error('The policy that denies everything is wrong.');
  return policy;
})();

/** Of a text that was good once; another version of this program may think otherwise. */
function policyOf(text: string): Policy {
  return readPolicy(text).policy ?? denyAll;
}
