import type { TaskSnapshot } from '../core/taskSnapshot';

/** Version of the layout of a task's directory. */
export const formatVersion = 1;

const changing = new Set([
  'items',
  'outputTail',
  'diff',
  'activity',
  'heldBy',
  'updatedAt',
] satisfies (keyof TaskSnapshot)[] as string[]);

/** What `meta.json` holds: the task, and while it works without what changes with everything that it does. */
export function metaOf(task: TaskSnapshot): Record<string, unknown> {
  const kept = Object.entries(task).filter(([key]) => task.endedAt !== null || !changing.has(key));
  return { version: formatVersion, ...Object.fromEntries(kept) };
}
