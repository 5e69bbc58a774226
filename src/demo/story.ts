import { directives } from './directives';

/** What a task of the demo does, told as a script for the scripted model. */
const fixTheTest = [
  'plan Read the code and its test|Fix the greeting|Run the tests',
  'run: cat src/greet.js test/greet.test.js',
  String.raw`patch-raw: *** Begin Patch\n*** Update File: src/greet.js\n@@\n-  return 'Hello ' + name;\n+  return 'Hello, ' + name + '!';\n*** End Patch`,
  'run!: node --test',
  'stream 4s The greeting had no comma and no exclamation mark. I fixed src/greet.js, and its test passes now. (This is the demo: a scripted model answered, the commands and the change were real.)',
];

const runForLong = [
  'plan Count slowly until somebody cancels',
  'run: for step in $(seq 1 600); do echo "step $step of 600"; sleep 1; done',
  'say Nobody cancelled me.',
];

const askFirst = [
  'plan Ask which greeting is wanted|Change the greeting',
  'ask Which greeting shall I use?',
  'stream 3s Thank you: I would use that one now. (This is the demo: a scripted model asked, your answer was real.)',
];

/** The script of the demo for whatever a newcomer types; a message that is a script already stays as it is. */
export function demoScript(prompt: string): string {
  const [firstWord = ''] = prompt.trim().split(/\s+/, 1);
  if (firstWord in directives || /^\s*fail \d/.test(prompt)) return prompt;
  if (/\b(ask|question|choose)\b/i.test(prompt)) return askFirst.join('\n');
  const story = /\b(long|slow|count|watch|wait|server|forever)\b/i.test(prompt) ? runForLong : fixTheTest;
  return story.join('\n');
}
