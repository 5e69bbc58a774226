import type { FileChange, ItemOutcome, PlanStepStatus, TaskEvent, TurnOutcome } from '../core/taskEvent';
import { taskErrorOf } from './codexErrors';
import {
  deltaParams,
  diffParams,
  errorParams,
  type FileUpdate,
  type Item,
  mcpStartupParams,
  parseItem,
  planParams,
  reroutedParams,
  turnCompletedParams,
  turnStartedParams,
  usageParams,
  warningParams,
} from './protocol';
import { unwrapShell } from './shellCommand';

type Mapper = (params: unknown) => readonly TaskEvent[];

const delta =
  (type: 'messageDelta' | 'reasoningDelta' | 'commandOutput'): Mapper =>
  (params) => {
    const { itemId, delta: text } = deltaParams.parse(params);
    return [{ type, itemId, text }];
  };
const nothing: Mapper = () => [];

const mappers: Readonly<Record<string, Mapper>> = {
  'turn/started': (params) => [{ type: 'turnStarted', turnId: turnStartedParams.parse(params).turn.id }],
  'turn/completed': turnCompleted,
  'item/started': (params) => itemEvents(params, itemStarted, () => []),
  'item/completed': (params) =>
    itemEvents(params, itemCompleted, (type) => [{ type: 'note', level: 'info', text: type }]),
  'item/agentMessage/delta': delta('messageDelta'),
  'item/plan/delta': delta('messageDelta'),
  'item/reasoning/summaryTextDelta': delta('reasoningDelta'),
  'item/reasoning/textDelta': delta('reasoningDelta'),
  'item/commandExecution/outputDelta': delta('commandOutput'),
  'turn/diff/updated': (params) => [{ type: 'diff', diff: diffParams.parse(params).diff }],
  'turn/plan/updated': planUpdated,
  'thread/tokenUsage/updated': usageUpdated,
  'model/rerouted': (params) => [{ type: 'model', model: reroutedParams.parse(params).toModel }],
  error: errorSeen,
  warning: (params) => [{ type: 'note', level: 'warning', text: warningParams.parse(params).message }],
  guardianWarning: (params) => [{ type: 'note', level: 'warning', text: warningParams.parse(params).message }],
  'mcpServer/startupStatus/updated': mcpStartup,
  // Known, and nothing that a task shows: others say the same, or it is for other clients.
  'thread/started': nothing,
  'thread/status/changed': nothing,
  'thread/closed': nothing,
  'thread/readState/changed': nothing,
  'thread/name/updated': nothing,
  'thread/settings/updated': nothing,
  'thread/compacted': nothing,
  'thread/archived': nothing,
  'thread/unarchived': nothing,
  'thread/deleted': nothing,
  'item/reasoning/summaryPartAdded': nothing,
  'item/fileChange/outputDelta': nothing,
  'item/fileChange/patchUpdated': nothing,
  'item/mcpToolCall/progress': nothing,
  'item/commandExecution/terminalInteraction': nothing,
  'serverRequest/resolved': nothing,
};

/** Of no thread, and nothing that is shown. */
const aboutNoThread = new Set([
  'account/login/completed',
  'account/rateLimits/updated',
  'app/list/updated',
  'mcpServer/oauthLogin/completed',
  'mcpServer/startupStatus/updated',
  'remoteControl/status/changed',
  'skills/changed',
]);

/** Whether this version has met a notification of that name. */
export function isKnown(method: string): boolean {
  return method in mappers || aboutNoThread.has(method);
}

/**
 * Pure: what a notification about a thread means for its task. Undefined for a method that we do not know. Throws a
 * ZodError when the parameters of a known one have another shape.
 */
export function mapNotification(method: string, params: unknown): readonly TaskEvent[] | undefined {
  return mappers[method]?.(params);
}

function turnCompleted(params: unknown): readonly TaskEvent[] {
  const { turn } = turnCompletedParams.parse(params);
  const outcome: TurnOutcome = turn.status === 'completed' || turn.status === 'interrupted' ? turn.status : 'failed';
  const error = turn.error ? taskErrorOf(turn.error) : null;
  return [{ type: 'turnCompleted', turnId: turn.id, outcome, error, durationMs: turn.durationMs ?? null }];
}

function itemEvents(
  params: unknown,
  map: (item: Item) => readonly TaskEvent[],
  mapUnknown: (type: string) => readonly TaskEvent[],
): readonly TaskEvent[] {
  const item = parseItem(params);
  return 'known' in item ? map(item.known) : mapUnknown(item.unknown);
}

function itemStarted(item: Item): readonly TaskEvent[] {
  const itemId = item.id;
  switch (item.type) {
    case 'commandExecution':
      return [{ type: 'commandStarted', itemId, command: unwrapShell(item.command), cwd: item.cwd }];
    case 'fileChange':
      return [{ type: 'filesChanging', itemId, changes: fileChanges(item.changes) }];
    case 'mcpToolCall':
    case 'dynamicToolCall':
    case 'collabAgentToolCall':
    case 'webSearch':
      return [{ type: 'toolStarted', itemId, tool: toolName(item) }];
    case 'contextCompaction':
      return [{ type: 'note', level: 'info', text: 'Codex compacts the context of the thread.' }];
    case 'userMessage':
    case 'agentMessage':
    case 'plan':
    case 'reasoning':
      return [];
  }
}

function itemCompleted(item: Item): readonly TaskEvent[] {
  const itemId = item.id;
  switch (item.type) {
    case 'userMessage':
      return [{ type: 'userMessage', itemId, text: item.content.map((part) => part.text ?? '').join('\n') }];
    case 'agentMessage':
    case 'plan':
      return [{ type: 'message', itemId, text: item.text }];
    case 'reasoning':
      return [{ type: 'reasoning', itemId, text: [...item.summary, ...item.content].join('\n') }];
    case 'commandExecution':
      return [
        {
          type: 'commandCompleted',
          itemId,
          command: unwrapShell(item.command),
          cwd: item.cwd,
          outcome: outcomeOf(item.status),
          exitCode: item.exitCode ?? null,
          durationMs: item.durationMs ?? null,
          output: item.aggregatedOutput ?? null,
        },
      ];
    case 'fileChange':
      return [{ type: 'filesChanged', itemId, changes: fileChanges(item.changes), outcome: outcomeOf(item.status) }];
    case 'mcpToolCall':
    case 'dynamicToolCall':
    case 'collabAgentToolCall':
      return [{ type: 'toolCompleted', itemId, tool: toolName(item), outcome: outcomeOf(item.status) }];
    case 'webSearch':
      return [{ type: 'toolCompleted', itemId, tool: toolName(item), outcome: 'completed' }];
    case 'contextCompaction':
      return [];
  }
}

function toolName(
  item: Item & { type: 'mcpToolCall' | 'dynamicToolCall' | 'collabAgentToolCall' | 'webSearch' },
): string {
  switch (item.type) {
    case 'mcpToolCall':
      return `${item.server}/${item.tool}`;
    case 'dynamicToolCall':
    case 'collabAgentToolCall':
      return item.tool;
    case 'webSearch':
      return item.query ? `web search: ${item.query}` : 'web search';
  }
}

function outcomeOf(status: string): ItemOutcome {
  return status === 'completed' || status === 'declined' ? status : 'failed';
}

function withoutMove(diff: string): string {
  const said = diff.lastIndexOf('Moved to: ');
  const lineEnd = diff.indexOf('\n', said);
  if (said < 0 || (lineEnd >= 0 && lineEnd < diff.length - 1)) return diff;
  let end = said;
  while (diff[end - 1] === '\n') end--;
  return `${diff.slice(0, end)}\n`;
}

export function fileChanges(updates: readonly FileUpdate[]): FileChange[] {
  return updates.map(({ path, kind, diff }) => {
    const moved = kind.move_path ?? null;
    const change: FileChange = {
      path,
      kind: kind.type === 'add' || kind.type === 'delete' ? kind.type : 'update',
      // Codex says in the diff, too, where the file goes (seen with 0.169.0).
      patch: moved === null ? diff : withoutMove(diff),
    };
    return moved === null ? change : { ...change, movedTo: moved };
  });
}

const stepStatuses: Readonly<Record<string, PlanStepStatus>> = { inProgress: 'in_progress', completed: 'completed' };

function planUpdated(params: unknown): readonly TaskEvent[] {
  const { plan } = planParams.parse(params);
  const steps = plan.map(({ step, status }) => ({ step, status: stepStatuses[status] ?? 'pending' }));
  return [{ type: 'plan', steps }];
}

function usageUpdated(params: unknown): readonly TaskEvent[] {
  const { total, last, modelContextWindow } = usageParams.parse(params).tokenUsage;
  return [
    {
      type: 'usage',
      usage: {
        totalTokens: total.totalTokens,
        inputTokens: total.inputTokens,
        cachedInputTokens: total.cachedInputTokens,
        outputTokens: total.outputTokens,
        reasoningTokens: total.reasoningOutputTokens,
        lastTokens: last.totalTokens,
        contextWindow: modelContextWindow ?? null,
      },
    },
  ];
}

/** A final error is told again by `turn/completed`, which always follows. */
function errorSeen(params: unknown): readonly TaskEvent[] {
  const { error, willRetry } = errorParams.parse(params);
  return willRetry ? [{ type: 'retrying', message: error.message }] : [];
}

function mcpStartup(params: unknown): readonly TaskEvent[] {
  const { name, status, error } = mcpStartupParams.parse(params);
  if (status !== 'failed') return [];
  return [{ type: 'note', level: 'warning', text: `MCP server ${name} did not start${error ? `: ${error}` : '.'}` }];
}
