import type { TaskType } from './taskSnapshot';

/** A short instruction for each kind of task, given to Codex as its developer's words. */
const instructions: Record<TaskType, string> = {
  coder: 'You are a background coding task. Finish the work completely, then say in a few sentences what you changed.',
  planner:
    'You are a background planning task. Do not change files. Answer with a plan that another engineer can follow.',
  tester: 'You are a background testing task. Write or run tests and say which passed, which failed and why.',
  researcher: 'You are a background research task. Do not change files. Answer with findings and where you found them.',
  general: 'You are a background task. Finish the work, then say in a few sentences what you did.',
};

const unattended =
  'Nobody watches you while you work; your final message is what the caller reads. Do not leave processes running.';

/** The developer instructions of a task: its type's, then the caller's own. */
export function instructionsFor(type: TaskType, own: string | undefined): string {
  return [instructions[type], unattended, own].filter((part) => part !== undefined).join('\n\n');
}
