import { type ModelRequest, toolNames } from './modelRequest';
import { type ModelResponse, words } from './modelResponse';

type Directive = (response: ModelResponse, rest: string, request: ModelRequest) => Promise<unknown>;

/**
 * What a line of a script does, by its first word:
 *
 *     say <text>            a message (also the default for unknown lines: "echo: <line>")
 *     deltas <n> [bytes]    a message streamed as n deltas as fast as the socket takes them
 *     slow <n>s [k]         a message streamed as k (10) deltas over n seconds
 *     stream <n>s <text>    a message streamed word by word over n seconds
 *     pieces <n> <text>     a message streamed in pieces of n characters
 *     run: <command>        a shell command; `run!:` asks to leave the sandbox, `bg:` yields after 250 ms
 *                           and goes on; the others are waited for
 *     patch: <path> <text>  adds a file; `patch-raw:` sends a literal patch with \n escaped
 *     plan a|b|c            update_plan with the first step in progress
 *     ask <question>        request_user_input with two options
 *     tool: <name> <json>   any function call; MCP tools are mcp__<server>/<tool>
 *     par: <line> || <line> several of these in one answer, so that Codex may run them side by side
 *     reason <text>         a reasoning summary, then a message
 *     incomplete | failed <code> | drop    ends that are no good ends
 */
export const directives: Readonly<Record<string, Directive>> = {
  say: (response, rest) => response.message(words(rest === '' ? 'ok' : rest)),
  deltas: (response, rest) => {
    const [count = 1, bytes = 8] = rest.split(' ').map(Number);
    return response.message(Array.from({ length: count }, (_, index) => `${index} `.padEnd(bytes, '.')));
  },
  slow: (response, rest) => {
    const [seconds = '1', count = '10'] = rest.split(' ');
    const parts = Array.from({ length: Number(count) }, (_, index) => `tick${index} `);
    return response.message(parts, (Number.parseFloat(seconds) * 1000) / Number(count));
  },
  stream: (response, rest) => {
    const [seconds = '1', ...text] = rest.split(' ');
    const parts = words(text.join(' '));
    return response.message(parts, (Number.parseFloat(seconds) * 1000) / parts.length);
  },
  pieces: (response, rest) => {
    const [size = '', ...text] = rest.split(' ');
    const count = Math.max(1, Number(size));
    return response.message(text.join(' ').match(new RegExp(`.{1,${count}}`, 'gs')) ?? []);
  },
  'run:': (response, rest, request) => shell(response, request, rest, {}),
  'run!:': (response, rest, request) => shell(response, request, rest, escalate),
  'bg:': (response, rest, request) => shell(response, request, rest, { yield_time_ms: 250 }),
  'await:': (response, rest, request) =>
    toolNames(request).includes('write_stdin')
      ? response.call('write_stdin', { session_id: Number(rest), chars: '', yield_time_ms: 30_000 })
      : response.message(words('done')),
  'patch:': (response, rest, request) => {
    const [path = '', ...text] = rest.split(' ');
    return patch(response, request, `*** Begin Patch\n*** Add File: ${path}\n+${text.join(' ')}\n*** End Patch`);
  },
  'patch-raw:': (response, rest, request) => patch(response, request, rest.replaceAll('\\n', '\n')),
  plan: (response, rest) => {
    const plan = rest.split('|').map((step, index) => ({ step, status: index === 0 ? 'in_progress' : 'pending' }));
    return response.call('update_plan', { explanation: 'The steps of this task.', plan });
  },
  ask: (response, rest) => response.call('request_user_input', { questions: [question(rest)] }),
  'tool:': (response, rest) => {
    const [name = '', ...args] = rest.split(' ');
    return response.call(name, args.length === 0 ? '{}' : args.join(' '));
  },
  'par:': async (response, rest, request) => {
    for (const line of rest.split(' || ')) {
      const [, word = '', more = ''] = /^(\S+)\s*([\s\S]*)$/.exec(line) ?? [];
      await directives[word]?.(response, more, request);
    }
  },
  reason: async (response, rest) => {
    await response.reasoning(rest);
    await response.message(['thought']);
  },
};

const escalate = { sandbox_permissions: 'require_escalated', justification: 'It needs to leave the sandbox.' };

/** A shell command in the dialect of the tools that Codex offers. */
function shell(response: ModelResponse, request: ModelRequest, command: string, more: object): Promise<void> {
  const tools = toolNames(request);
  if (tools.includes('exec_command')) {
    return response.call('exec_command', { cmd: command, yield_time_ms: 30_000, ...more });
  }
  return response.call('shell_command', { command, ...more });
}

function patch(response: ModelResponse, request: ModelRequest, text: string): Promise<void> {
  const tool = request.tools.find((one) => one.name === 'apply_patch');
  if (tool?.type === 'custom') return response.custom('apply_patch', text);
  if (tool) return response.call('apply_patch', { input: text });
  return shell(response, request, `apply_patch <<'EOF'\n${text}\nEOF`, {});
}

function question(text: string): object {
  const options = [
    { label: 'Alpha (Recommended)', description: 'The first one.' },
    { label: 'Beta', description: 'The second one.' },
  ];
  return { id: 'q1', header: 'Choice', question: text === '' ? 'Which one?' : text, options };
}
