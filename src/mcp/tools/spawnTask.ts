import { BoundedMap } from '../../core/boundedMap';
import { CallError } from '../../core/errors';
import { hashOf } from '../../core/hash';
import type { SpawnRequest } from '../../core/spawnRequest';
import type { TaskSnapshot } from '../../core/taskSnapshot';
import { parseArguments } from '../results';
import { inputSchema, outputSchema, spawnInput, spawnResult, type SpawnResult, taskResult } from '../schemas';
import { nextStep } from '../nextStep';
import { scoreboardUri, taskUri } from '../uris';
import type { Tool, ToolCall, ToolContext } from './tool';
import { waitAndView } from './waiting';

const pollFrequencyMs = 5_000;
/** How long a call whose answer was lost is remembered. The editor retries once, at once. */
const retryWindowMs = 60_000;
/** How long a repetition waits to learn whether the first answer arrived. */
const deliveryLimitMs = 2_000;

type Input = ReturnType<typeof parse>;

interface Spawned {
  readonly task: Promise<TaskSnapshot>;
  readonly at: number;
  readonly delivered: Promise<boolean>;
}

/** Each server needs its own: it remembers calls whose answer may be lost. */
export function spawnTaskTool(): Tool {
  const recent = new BoundedMap<string, Spawned>(200);
  return {
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
      const task = await spawnOnce(input, call, context, recent);
      if (input.wait_ms === undefined || input.wait_ms === 0) return viewSpawned(task, context);
      return waitAndView({ ids: task.id, until: 'any', timeoutMs: input.wait_ms }, call, context);
    },
  };
}

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

/** The task of the first call when this one repeats a call whose answer was lost, else a new one. */
async function spawnOnce(
  input: Input,
  call: ToolCall,
  { tasks, now }: ToolContext,
  recent: BoundedMap<string, Spawned>,
): Promise<TaskSnapshot> {
  const request = toRequest(input);
  if (call.retryKey === undefined || input.idempotency_key !== undefined) return tasks.spawn(request, call.caller);
  const key = hashOf([call.caller, call.retryKey, input]);
  const before = recent.get(key);
  if (before && now() - before.at < retryWindowMs && (await wasLost(before.delivered))) {
    return tasks.get((await before.task).id);
  }
  const task = tasks.spawn(request, call.caller);
  recent.set(key, { task, at: now(), delivered: call.delivered });
  // A refused call did nothing.
  task.catch(() => recent.delete(key));
  return task;
}

async function wasLost(delivered: Promise<boolean>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(true), deliveryLimitMs);
  });
  const arrived = await Promise.race([delivered, late]);
  clearTimeout(timer);
  return !arrived;
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
