import { unwatchFile, watchFile } from 'node:fs';
import { readText, readTextWithin } from '../base/readText';
import type { Disposable } from '../core/disposable';
import { Emitter } from '../core/emitter';
import { messageOf } from '../core/errors';
import { everyTool, innerActions, isPermissive, type Policy, type Rule } from './policy';
import { describeMistake, type Mistake, policyLimit, readPolicy } from './readPolicy';

export interface PolicyFileOptions {
  readonly path: string;
  /** What holds while there is no file; null makes a missing file a mistake. */
  readonly missing: Policy | null;
  /** The directory that the file must not lead out of; null where a person chose it. */
  readonly within: string | null;
}

/** A change takes effect within half a second: this often the file is looked at, in ms. */
const lookEveryMs = 100;
/** A writer may be in the middle of it: what is shorter, or has no rules, is believed when it is still so after this time. */
const shorterMs = 100;
const noRulesMs = 400;
/** What is empty or gone may come back: editors and tools write that way. */
const emptyMs = 1_000;

/**
 * One policy file and what it says now. While it is bad the last good policy stays in force; until it has been read, and when
 * it is bad at the first look, everything is denied.
 */
export class PolicyFile implements Disposable {
  private current: Policy;
  private found: readonly Mistake[] = [];
  private text: string | null = null;
  /** What is not believed yet, and since when, in ms of `performance.now()`. */
  private doubted: { readonly text: string | null; readonly since: number } | null = null;
  private good: string | null | undefined;
  private wasRead = false;
  private lookingAgain: NodeJS.Timeout | undefined;
  private looking: Promise<void>;
  private disposed = false;
  private readonly emitter = new Emitter<undefined>();
  /** It was read again, with or without mistakes. */
  readonly onDidChange = this.emitter.event;
  /** Resolves when it has been read once. Never rejects. */
  readonly first: Promise<void>;
  readonly path: string;
  private readonly options: PolicyFileOptions;

  constructor(options: PolicyFileOptions) {
    const { path } = options;
    this.path = path;
    this.options = options;
    this.current = denyAll(`The policy file ${path} is bad, so everything is denied until it is corrected.`);
    this.first = this.looking = this.look();
    watchFile(path, { interval: lookEveryMs, persistent: false }, this.onLook);
  }

  get policy(): Policy {
    return this.current;
  }

  /** The text of the policy that is in force; null for what holds without a file, undefined before the first look. */
  get goodText(): string | null | undefined {
    return this.good;
  }

  /** What is wrong with the file; then its last good state is in force. */
  get mistakes(): readonly Mistake[] {
    return this.found;
  }

  dispose(): void {
    this.disposed = true;
    clearTimeout(this.lookingAgain);
    unwatchFile(this.path, this.onLook);
    this.emitter.dispose();
  }

  private readonly onLook = (): void => {
    this.looking = this.looking.then(() => this.look());
  };

  private async look(): Promise<void> {
    if (this.isDisposed()) return;
    const isChanged = await this.read();
    if (isChanged && !this.isDisposed()) this.emitter.fire(undefined);
  }

  /** It changes while a file is read. */
  private isDisposed(): boolean {
    return this.disposed;
  }

  /** Whether something changed. */
  private async read(): Promise<boolean> {
    const before = this.found;
    const { path, missing, within } = this.options;
    try {
      const text = await (within === null ? readText(path, policyLimit) : readTextWithin(within, path, policyLimit));
      if (text === null && !missing) throw new Error('there is no such file');
      if (this.wasRead && text === this.text && this.found.length === 0) {
        this.doubted = null;
        return false;
      }
      if (this.isDoubtful(text)) return false;
      this.text = text;
      if (text === null) {
        const isNew = this.current !== missing;
        this.current = missing ?? this.current;
        this.good = null;
        this.found = [];
        return isNew;
      }
      this.take(text);
      return true;
    } catch (error) {
      this.found = [{ ...fileStart, message: `cannot be read: ${messageOf(error)}` }];
      return before[0]?.message !== this.found[0]?.message;
    }
  }

  /** Whether it has to be looked at again before it counts. */
  private isDoubtful(text: string | null): boolean {
    const waitMs = this.wasRead ? this.doubtMs(text) : 0;
    this.wasRead = true;
    if (waitMs === 0) return false;
    const now = performance.now();
    if (this.doubted?.text !== text) this.doubted = { text, since: now };
    const { since } = this.doubted;
    if (now - since >= waitMs) return false;
    clearTimeout(this.lookingAgain);
    this.lookingAgain = setTimeout(this.onLook, waitMs - (now - since) + 1).unref();
    return true;
  }

  private doubtMs(text: string | null): number {
    const hadRules = !isPermissive(this.current);
    if (hadRules && isEmpty(text ?? '')) return emptyMs;
    const { policy } = text === null ? {} : readPolicy(text);
    if (hadRules && policy && isPermissive(policy)) return noRulesMs;
    return (text ?? '').length < (this.text ?? '').length ? shorterMs : 0;
  }

  private take(text: string): void {
    const { policy, mistakes = [] } = readPolicy(text);
    this.found = mistakes;
    if (!policy) return;
    this.current = policy;
    this.good = text;
  }
}

/** Nothing but blanks and comments. */
function isEmpty(text: string): boolean {
  return text.split('\n').every((line) => line.trim() === '' || line.trimStart().startsWith('#'));
}

const fileStart = { line: 1, column: 1, endLine: 1, endColumn: 1, path: '' } as const;

/** One line that says what is wrong with a file, and how much more. */
export function summaryOf({ path, mistakes }: PolicyFile): string | null {
  const [first, ...more] = mistakes;
  if (!first) return null;
  return describeMistake(path, first) + (more.length > 0 ? `, and ${more.length} more mistakes` : '');
}

function denyAll(reason: string): Policy {
  const rule: Rule = {
    name: 'bad policy',
    fingerprint: '',
    action: 'deny',
    reason,
    conditions: [],
    use: null,
    approvalTimeoutMs: null,
  };
  return {
    description: reason,
    default: 'allow',
    hide: new Set(),
    approvalTimeoutMs: 0,
    unseen: 'refuse',
    tools: new Map([everyTool, ...innerActions].map((tool) => [tool, [rule]])),
  };
}
