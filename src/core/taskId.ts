import { randomInt } from 'node:crypto';

const adjectives = [
  'agile', 'amber', 'azure', 'bold', 'brave', 'brisk', 'bright', 'calm', 'clever', 'coral', 'crisp', 'daring', 'deft',
  'eager', 'fair', 'fleet', 'fond', 'gentle', 'golden', 'grand', 'happy', 'humble', 'jolly', 'keen', 'kind', 'lively',
  'lucid', 'mellow', 'merry', 'neat', 'nimble', 'noble', 'polite', 'proud', 'quick', 'quiet', 'rapid', 'ready', 'royal',
  'shiny', 'silver', 'smart', 'solid', 'steady', 'sunny', 'swift', 'tidy', 'vivid', 'warm', 'wise',
]; // prettier-ignore
const animals = [
  'badger', 'bear', 'beaver', 'bison', 'bobcat', 'crane', 'condor', 'cougar', 'deer', 'dingo', 'dolphin', 'eagle',
  'falcon', 'ferret', 'finch', 'fox', 'gecko', 'heron', 'ibex', 'jackal', 'jaguar', 'koala', 'lark', 'lemur', 'lion',
  'lynx', 'marten', 'moose', 'newt', 'ocelot', 'orca', 'osprey', 'otter', 'owl', 'panda', 'puma', 'quail', 'raven',
  'robin', 'salmon', 'seal', 'shark', 'sparrow', 'stork', 'swan', 'tapir', 'tiger', 'turtle', 'walrus', 'wolf',
]; // prettier-ignore

/** A task's name for people, agents and directories: `bold-falcon-42`. Not a secret. */
export type TaskId = string;

const pattern = /^[a-z]+-[a-z]+-\d{1,4}$/;

/** Whether a text has the form of a task id; `all` and paths have not. */
export function isTaskId(text: string): boolean {
  return pattern.test(text);
}

/** A new id that `taken` does not know. After 50 collisions the number grows to four digits. */
export function newTaskId(taken: (id: TaskId) => boolean, random: (limit: number) => number = randomInt): TaskId {
  for (let attempt = 0; ; attempt++) {
    const adjective = adjectives[random(adjectives.length)] ?? 'bold';
    const animal = animals[random(animals.length)] ?? 'falcon';
    const id = `${adjective}-${animal}-${random(attempt < 50 ? 100 : 10_000)}`;
    if (!taken(id)) return id;
  }
}
