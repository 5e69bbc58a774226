import type { TaskEvent } from './taskEvent';

type TurnCompleted = TaskEvent & { type: 'turnCompleted' };

/** What the events of an earlier run say about how a task stood at their end. */
export class TaskPast {
  /** Turns that were started. */
  turns = 0;
  /** The turn that was active. */
  turnId: string | null = null;
  /** How the last turn ended, when none was active. */
  ended: TurnCompleted | null = null;
  heard = false;

  hear(event: TaskEvent): void {
    this.heard = true;
    if (event.type === 'turnStarted') {
      this.turns++;
      this.turnId = event.turnId;
      this.ended = null;
    } else if (event.type === 'turnCompleted') {
      this.turnId = null;
      this.ended = event;
    }
  }
}
