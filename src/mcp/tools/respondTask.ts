import { howToAnswer } from '../../core/checkAnswer';
import { invalidArgument } from '../../core/errors';
import { findPending } from '../../core/findPending';
import type { Answer, Decision, PendingRequest, RequestQuestion } from '../../core/pendingRequest';
import { parseArguments } from '../results';
import { inputSchema, outputSchema, respondInput, type RespondInput, respondResult, taskResult } from '../schemas';
import { nextStep } from '../nextStep';
import type { Tool } from './tool';
import { waitAndView } from './waiting';

export const respondTaskTool: Tool = {
  name: 'respond-task',
  title: 'Answer a Codex task',
  description:
    'Answer what a task asked: accept or refuse a command, a file change or a permission, answer its questions, fill in a form, or give the result of a tool.',
  annotations: { readOnlyHint: false, destructiveHint: true, openWorldHint: false },
  inputSchema: inputSchema(respondInput),
  outputSchema: outputSchema(respondResult, taskResult),
  async run(args, call, context) {
    const input = parseArguments(respondInput, args);
    context.tasks.assertInReach(input.task_id, call.caller);
    const task = context.tasks.get(input.task_id);
    const request = findPending(task, input.request_id);
    assertType(request, input.type);
    const who = { by: 'agent', caller: call.caller } as const;
    await context.tasks.respond(task.id, input.request_id, answerOf(input, request), who);
    if (input.wait_ms !== undefined && input.wait_ms > 0 && call.mayWait) {
      return waitAndView({ ids: task.id, until: 'any', timeoutMs: input.wait_ms }, call, context);
    }
    const now = context.tasks.get(task.id);
    return { task_id: task.id, request_id: request.id, status: now.status, next: nextStep(now, context.tasks) };
  },
};

/** A caller that answers another type than the pending one mistakes what it answers. */
function assertType({ id, question }: PendingRequest, type: string): void {
  if (question.type === type) return;
  throw invalidArgument(
    `type: request ${id} is of type ${question.type}, not ${type}.`,
    `Answer it with type ${question.type}: ${howToAnswer(question)}`,
  );
}

const fieldsOf = {
  command_approval: ['decision'],
  file_approval: ['decision'],
  permission_approval: ['decision'],
  recovery: ['decision'],
  user_input: ['answers', 'decision'],
  elicitation: ['action', 'content'],
  dynamic_tool: ['result', 'error', 'decision'],
} as const;
const answerFields = [...new Set(Object.values(fieldsOf).flat())];

function answerOf(input: RespondInput, { question }: PendingRequest): Answer {
  const own: readonly string[] = fieldsOf[question.type];
  const foreign = answerFields.find((field) => input[field] !== undefined && !own.includes(field));
  if (foreign !== undefined) {
    throw invalidArgument(`${foreign}: does not belong to type ${question.type}.`, hintFor(question));
  }
  switch (question.type) {
    case 'command_approval':
    case 'file_approval':
    case 'permission_approval':
    case 'recovery':
      return { kind: 'decision', decision: input.decision ?? missing('decision', question) };
    case 'user_input': {
      if (input.decision !== undefined && input.answers === undefined) return declining(input.decision, question);
      assertNotCut(Object.values(input.answers ?? {}).flat());
      const entries = Object.entries(input.answers ?? missing('answers', question));
      return {
        kind: 'input',
        answers: Object.fromEntries(entries.map(([id, texts]) => [id, typeof texts === 'string' ? [texts] : texts])),
      };
    }
    case 'elicitation':
      if (input.content !== undefined && input.action !== 'accept') {
        throw invalidArgument('content: belongs to action accept only.', hintFor(question));
      }
      return {
        kind: 'form',
        action: input.action ?? missing('action', question),
        content: input.content ?? null,
      };
    case 'dynamic_tool':
      if (input.decision !== undefined) return declining(input.decision, question);
      return toolAnswer(input, question);
  }
}

/** What is no approval can be declined, but not accepted without an answer. */
function declining(decision: Decision, question: RequestQuestion): Answer {
  if (decision === 'reject' || decision === 'cancel') return { kind: 'decision', decision };
  throw invalidArgument(`decision: ${decision} is no answer to it.`, hintFor(question));
}

/** A label that a result cut is not what the task offers. */
function assertNotCut(texts: readonly string[]): void {
  if (!texts.some((text) => /…\[\d+ bytes cut, see task:[^\]]*\]$/.test(text))) return;
  throw invalidArgument(
    'answers: one was copied from a text that was cut.',
    'Read the whole at the URI that it names.',
  );
}

function toolAnswer({ result, error }: RespondInput, question: RequestQuestion): Answer {
  if ((result === undefined) === (error === undefined)) {
    throw invalidArgument('result, error: exactly one of them is needed.', hintFor(question));
  }
  if (error !== undefined) return { kind: 'tool', success: false, text: error };
  return { kind: 'tool', success: true, text: typeof result === 'string' ? result : JSON.stringify(result) };
}

function missing(field: string, question: RequestQuestion): never {
  throw invalidArgument(`${field}: is missing.`, hintFor(question));
}

function hintFor(question: RequestQuestion): string {
  return `For type ${question.type} ${howToAnswer(question)}`;
}
