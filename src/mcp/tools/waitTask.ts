import { parseArguments } from '../results';
import { inputSchema, outputSchema, taskListResult, taskResult, waitInput } from '../schemas';
import type { Tool } from './tool';
import { waitAndView } from './waiting';

export const defaultWaitMs = 30_000;

export const waitTaskTool: Tool = {
  name: 'wait-task',
  title: 'Wait for Codex tasks',
  description:
    'Wait until a task ends or needs an answer, and get its result. Without task_id: any task. A time-out stops nothing; wait again.',
  annotations: { readOnlyHint: true },
  inputSchema: inputSchema(waitInput),
  outputSchema: outputSchema(taskResult, taskListResult),
  run(args, call, context) {
    const input = parseArguments(waitInput, args);
    const { task_id: ids, until = 'any', timeout_ms: timeoutMs = defaultWaitMs } = input;
    return waitAndView({ ids, until, timeoutMs }, call, context);
  },
};
