import { parseArguments } from '../results';
import { cancelInput, cancelResult, inputSchema, outputSchema } from '../schemas';
import type { Tool } from './tool';

export const cancelTaskTool: Tool = {
  name: 'cancel-task',
  title: 'Cancel Codex tasks',
  description: 'Cancel one or more running tasks. Returns when their turns are over and no process of them is alive.',
  annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: true, openWorldHint: false },
  inputSchema: inputSchema(cancelInput),
  outputSchema: outputSchema(cancelResult),
  async run(args, { caller }, { tasks }) {
    const { task_id } = parseArguments(cancelInput, args);
    const result = await tasks.cancel(typeof task_id === 'string' ? [task_id] : task_id, caller);
    return {
      cancelled: result.cancelled,
      already_terminal: result.alreadyTerminal,
      not_found: result.notFound,
    };
  },
};
