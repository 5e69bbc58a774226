import { z } from 'zod';

/** The part of a Responses API request that the scripted model reads. */
const requestSchema = z.object({
  model: z.string().default('scripted'),
  prompt_cache_key: z.string().default(''),
  input: z.array(
    z.looseObject({
      type: z.string().default('message'),
      role: z.string().optional(),
      content: z.union([z.string(), z.array(z.looseObject({ text: z.string().optional() }))]).optional(),
      output: z.unknown().optional(),
    }),
  ),
  tools: z.array(z.looseObject({ type: z.string(), name: z.string().optional() })).default([]),
});
export type ModelRequest = z.infer<typeof requestSchema>;

export function parseRequest(json: string): ModelRequest {
  return requestSchema.parse(JSON.parse(json));
}

/** The names of the tools that Codex offers the model. */
export function toolNames(request: ModelRequest): string[] {
  return request.tools.map((tool) => tool.name ?? tool.type);
}

export interface ScriptLine {
  /** The newest message of the user. */
  readonly prompt: string;
  /** How many tool results came after it: the number of the line. */
  readonly step: number;
  readonly line: string;
}

/**
 * The newest user message is the script, one directive a line; its n-th line answers the n-th request after it. Past
 * the end the model says "done". `scriptOf` may give another script for a message. `{{field}}` stands for the last value of
 * that field in a tool's result.
 */
export function scriptLine(
  request: ModelRequest,
  scriptOf: (prompt: string) => string = (prompt) => prompt,
): ScriptLine {
  const { input } = request;
  const at = input.findLastIndex(
    (item) => item.type === 'message' && item.role === 'user' && !isInjected(textOf(item)),
  );
  const prompt = at < 0 ? '' : textOf(input[at]).replace(dateLine, '');
  const outputs = input.slice(at + 1).filter((item) => item.type.endsWith('_output'));
  const step = outputs.length;
  const lines = scriptOf(prompt)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  const line = lineAfter(lines, outputs) ?? (step > 0 ? 'say done' : 'say (empty)');
  return { prompt, step, line: filledIn(line, JSON.stringify(outputs.map(({ output }) => output))) };
}

/** A command that still runs is waited for, as a model does: its line is over when it has ended. */
function lineAfter(lines: readonly string[], outputs: readonly Item[]): string | undefined {
  let at = 0;
  let running: string | undefined;
  for (const { output } of outputs) {
    const session = /running with session ID (\d+)/.exec(JSON.stringify(output))?.[1];
    running = /^run!?:/.test(lines[at] ?? '') ? session : undefined;
    if (running === undefined) at++;
  }
  return running === undefined ? lines[at] : `await: ${running}`;
}

/** Copilot's harness puts it before a message. */
const dateLine = /^\s*<current_datetime>[^<]*<\/current_datetime>\s*/;

/** `{{field}}` becomes the last value of that field in the tools' results, which may be JSON inside of JSON. */
function filledIn(line: string, outputs: string): string {
  return line.replace(/\{\{(\w+)\}\}/g, (all, field: string) => {
    const found = [...outputs.matchAll(new RegExp(String.raw`\b${field}\\*"\s*:\s*\\*"([\w.:-]+)`, 'g'))];
    return found.at(-1)?.[1] ?? all;
  });
}

type Item = ModelRequest['input'][number];

function textOf(item: Item | undefined): string {
  const content = item?.content ?? '';
  return typeof content === 'string' ? content : content.map((part) => part.text ?? '').join('');
}

/**
 * Codex sends its own context as user messages: `<environment_context>`, `# AGENTS.md instructions`, … The worker says in a turn that
 * something was declined, which is nothing to play either.
 */
function isInjected(text: string): boolean {
  return /^\s*(?:<[a-z_]+|# AGENTS\.md|The policy of this machine declined|The change of \S+ was not made)/.test(
    text.replace(dateLine, ''),
  );
}
