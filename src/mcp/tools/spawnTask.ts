import { CallError } from '../../core/errors';
import type { SpawnRequest } from '../../core/spawnRequest';
import type { TaskSnapshot } from '../../core/taskSnapshot';
import { parseArguments } from '../results';
import { inputSchema, outputSchema, spawnInput, spawnResult, type SpawnResult, taskResult } from '../schemas';
import { nextStep } from '../nextStep';
import { scoreboardUri, taskUri } from '../uris';
import type { Tool, ToolContext } from './tool';
import { waitAndView } from './waiting';

const pollFrequencyMs = 5_000;

type Input = ReturnType<typeof parse>;

export const spawnTaskTool: Tool = {
  name: 'spawn-task',
  title: 'Spawn Codex task',
  description:
    'Start a coding task with the Codex CLI in the background and return at once. It runs on its own while you go on; call wait-task for its result.',
  annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: false, openWorldHint: false },
  inputSchema: inputSchema(spawnInput),
  outputSchema: outputSchema(spawnResult, taskResult),
  async run(args, call, context) {
    const input = parse(args);
    refuseUnavailable(input);
    const task = await context.tasks.spawn(toRequest(input), call.caller, call.sent);
    if (input.wait_ms === undefined || input.wait_ms === 0 || !call.mayWait) return viewSpawned(task, context);
    return waitAndView({ ids: task.id, until: 'any', timeoutMs: input.wait_ms }, call, context);
  },
};

function parse(args: unknown) {
  return parseArguments(spawnInput, args);
}

function refuseUnavailable(input: Input): void {
  if (input.isolation === 'worktree') {
    throw new CallError('not_available', 'isolation: "worktree" is not available yet.', {
      hint: 'Leave it out, and give the task a cwd of its own if it must not disturb others.',
    });
  }
}

function toRequest(input: Input): SpawnRequest {
  return {
    prompt: input.prompt,
    cwd: input.cwd,
    model: input.model,
    reasoning: input.reasoning,
    sandbox: input.sandbox,
    approvalPolicy: input.approval_policy,
    taskType: input.task_type,
    developerInstructions: input.developer_instructions,
    contextFiles: input.context_files,
    labels: input.labels,
    timeoutMs: input.timeout_ms,
    dependsOn: input.depends_on,
    keepAliveMs: input.keep_alive,
    outputSchema: input.output_schema,
    idempotencyKey: input.idempotency_key,
  };
}

function viewSpawned(task: TaskSnapshot, { tasks }: ToolContext): SpawnResult {
  const { dir, events_log, timeline_log, meta } = tasks.paths(task.id);
  return {
    task_id: task.id,
    status: task.status,
    poll_frequency: pollFrequencyMs,
    provider_session_id: task.threadId,
    labels: [...task.labels],
    resources: {
      scoreboard: scoreboardUri,
      detail: taskUri(task.id),
      log: taskUri(task.id, '/log'),
      timeline: taskUri(task.id, '/timeline'),
      events: taskUri(task.id, '/events'),
    },
    disk_paths: { dir, events_log, timeline_log, meta },
    next: nextStep(task, tasks),
  };
}
