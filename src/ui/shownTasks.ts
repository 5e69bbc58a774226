import type { TaskId } from '../core/taskId';
import type { TaskSnapshot } from '../core/taskSnapshot';
import { detailsOf, type Group, groupOf, taskDescription } from './taskView';

/** What has to be drawn anew: everything, some groups, or some tasks. */
export type Redraw =
  | { readonly kind: 'all' }
  | { readonly kind: 'groups'; readonly groups: readonly Group[] }
  | { readonly kind: 'tasks'; readonly tasks: readonly TaskSnapshot[] };

/**
 * Remembers what the tree shows, to draw as little as possible. The editor forgets the rows below a node while it draws
 * it anew, and an inline action that is clicked meanwhile loses its row (seen with 1.139). So what waits for the person is
 * drawn anew only when it changed.
 */
export class ShownTasks {
  private shown = new Map<TaskId, { readonly group: Group; readonly face: string }>();

  /** The tree draws all of these. */
  show(tasks: readonly TaskSnapshot[]): void {
    this.shown = new Map(tasks.map((task) => [task.id, { group: groupOf(task), face: faceOf(task) }]));
  }

  /** What an update of some tasks makes necessary; it counts as drawn then. */
  update(tasks: readonly TaskSnapshot[]): Redraw {
    return this.redrawFor(tasks, []);
  }

  /** The same for a list in which some may be new, and others are gone. */
  updateList(tasks: readonly TaskSnapshot[]): Redraw {
    const ids = new Set(tasks.map(({ id }) => id));
    return this.redrawFor(
      tasks,
      [...this.shown.keys()].filter((id) => !ids.has(id)),
    );
  }

  private redrawFor(tasks: readonly TaskSnapshot[], gone: readonly TaskId[]): Redraw {
    const before = this.look();
    const moved = new Set<Group>();
    const changed: TaskSnapshot[] = [];
    for (const id of gone) {
      const known = this.shown.get(id);
      if (known) moved.add(known.group);
      this.shown.delete(id);
    }
    for (const task of tasks) {
      const known = this.shown.get(task.id);
      const now = { group: groupOf(task), face: faceOf(task) };
      this.shown.set(task.id, now);
      if (known?.group !== now.group) {
        if (known) moved.add(known.group);
        moved.add(now.group);
      } else if (known.face !== now.face) changed.push(task);
    }
    if (moved.size === 0) return { kind: 'tasks', tasks: changed };
    if (this.look() !== before) return { kind: 'all' };
    return { kind: 'groups', groups: [...new Set([...moved, ...changed.map(groupOf)])] };
  }

  /** Which groups there are. */
  private look(): string {
    const used = new Set([...this.shown.values()].map(({ group }) => group));
    return `${used.size > 0} ${used.has('queued')}`;
  }
}

/** What the tree shows of a task that waits for the person, which no clock changes; unique at each call otherwise. */
function faceOf(task: TaskSnapshot): string {
  if (groupOf(task) !== 'asking') return String(task.updatedAt);
  return JSON.stringify([task.title, taskDescription(task, task.updatedAt), detailsOf(task)]);
}
