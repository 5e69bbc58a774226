import { readModel } from '../core/spawnRequest';
import { defaultWaitMs } from './tools/waitTask';

type Arguments = Readonly<Record<string, unknown>>;

/** Tells what spawn-task takes for what its caller left out. */
export interface SpawnDefaults {
  defaultsFor(type: unknown): Arguments;
}

/** What a call will do, as the rules of a policy see it: with the defaults of fields that the caller left out. */
export function judgedArguments(tool: string, args: Arguments, tasks: SpawnDefaults): Arguments {
  switch (tool) {
    case 'spawn-task':
      return { ...tasks.defaultsFor(args.task_type), isolation: 'none', ...withModel(args) };
    case 'message-task':
      return { mode: 'auto', ...withModel(args) };
    case 'wait-task':
      return { until: 'any', timeout_ms: defaultWaitMs, ...args };
    default:
      return args;
  }
}

/** `gpt-5.4(high)` is a model and an effort. */
function withModel(args: Arguments): Arguments {
  if (typeof args.model !== 'string') return args;
  const { model, reasoning } = readModel(args.model);
  return { ...args, model, ...(args.reasoning === undefined && reasoning !== null ? { reasoning } : {}) };
}

/** What else the call does: it waits for its task, as wait-task would; null when it does not. */
export function waitOf(tool: string, args: Arguments): Arguments | null {
  const { wait_ms: timeout } = args;
  if (tool === 'wait-task' || timeout === undefined || timeout === 0) return null;
  return { ...(args.task_id === undefined ? {} : { task_id: args.task_id }), until: 'any', timeout_ms: timeout };
}
