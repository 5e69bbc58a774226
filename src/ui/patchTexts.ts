import { applyPatch } from 'diff';
import type { FileChange } from '../core/taskEvent';

export interface PatchTexts {
  readonly before: string;
  readonly after: string;
}

/**
 * A file before and after a change. `current` is its text now, null when there is none. Null when the change does not
 * fit that text any more.
 */
export function patchTexts({ kind, patch }: FileChange, current: string | null): PatchTexts | null {
  switch (kind) {
    // Codex gives an added or deleted file as its whole text.
    case 'add':
      return { before: current ?? '', after: patch };
    case 'delete':
      return { before: current ?? patch, after: '' };
    case 'update': {
      const after = current === null ? null : applied(current, patch);
      return current === null || after === null ? null : { before: current, after };
    }
  }
}

/** Null when the patch does not fit, or is none: a file that only moves keeps its text. */
function applied(current: string, patch: string): string | null {
  if (patch.trim() === '') return current;
  try {
    const after = applyPatch(current, patch);
    return after === false ? null : after;
  } catch {
    return null;
  }
}
