import { parseArguments } from '../results';
import { inputSchema, messageInput, messageResult, outputSchema, taskResult } from '../schemas';
import { nextStep } from '../nextStep';
import type { Tool } from './tool';
import { waitAndView } from './waiting';

export const messageTaskTool: Tool = {
  name: 'message-task',
  title: 'Message a Codex task',
  description:
    'Say something to a task: add to what it does now, or give it its next piece of work on the same thread, also after it ended.',
  annotations: { readOnlyHint: false, destructiveHint: true, openWorldHint: false },
  inputSchema: inputSchema(messageInput),
  outputSchema: outputSchema(messageResult, taskResult),
  async run(args, call, context) {
    const input = parseArguments(messageInput, args);
    const { task_id, message: text, model, reasoning, mode = 'auto', wait_ms } = input;
    const { task, delivered } = await context.tasks.message(task_id, { text, model, reasoning, mode }, call.caller);
    if (wait_ms !== undefined && wait_ms > 0 && call.mayWait) {
      return waitAndView({ ids: task.id, until: 'any', timeoutMs: wait_ms }, call, context);
    }
    return { task_id, status: task.status, delivered, turn: task.turns, next: nextStep(task, context.tasks) };
  },
};
