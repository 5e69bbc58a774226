import type { Answer, Decision, JsonObject, LastingRule, RequestQuestion } from '../core/pendingRequest';
import type { FileChange } from '../core/taskEvent';
import { fileChanges } from './eventMapper';
import {
  commandApprovalParams,
  type CommandApprovalParams,
  elicitationParams,
  type ElicitationParams,
  fileApprovalParams,
  legacyCommandParams,
  legacyPatchParams,
  permissionApprovalParams,
  type RequestedPermissions,
  toolCallParams,
  userInputParams,
} from './protocol';
import type { ServerRequest } from './rpc';
import {
  commandParams,
  fileChangeParams,
  gateMethod,
  toolCallParams as gatedCallParams,
} from '../execGate/gateProtocol';
import { unwrapArgv, unwrapShell } from './shellCommand';

/** A request of Codex in the words of the core, and how an answer that fits the question is said to Codex. */
export interface CodexQuestion {
  /** Null when Codex does not say. */
  readonly turnId: string | null;
  readonly question: RequestQuestion;
  /** The JSON-RPC result. */
  readonly wire: (answer: Answer) => unknown;
  /** Whether the result of a `cancel` ends the turn; otherwise the turn has to be interrupted. */
  readonly cancels: boolean;
}

type OpenChanges = ReadonlyMap<string, readonly FileChange[]>;

/** Pure: undefined for a request that is not for people or agents. Throws a ZodError for one of another shape. */
export function questionOf({ method, params }: ServerRequest, changes: OpenChanges): CodexQuestion | undefined {
  switch (method) {
    case 'item/commandExecution/requestApproval':
      return commandApproval(commandApprovalParams.parse(params));
    case 'item/fileChange/requestApproval':
      return fileApproval(params, changes);
    case 'item/permissions/requestApproval':
      return permissionApproval(params);
    case 'item/tool/requestUserInput':
      return userInput(params);
    case 'mcpServer/elicitation/request':
      return elicitation(elicitationParams.parse(params));
    case 'item/tool/call':
      return toolCall(params);
    case 'execCommandApproval':
      return legacyCommand(params);
    case 'applyPatchApproval':
      return legacyPatch(params);
    case gateMethod.command:
      return gatedCommand(params);
    case gateMethod.fileChange:
      return gatedFileChange(params, changes);
    case gateMethod.toolCall:
      return gatedToolCall(params);
    default:
      return undefined;
  }
}

/** The decision that an answer to an approval comes to. */
function decisionOf(answer: Answer): Decision {
  switch (answer.kind) {
    case 'decision':
      return answer.decision;
    case 'form':
      return answer.action === 'decline' ? 'reject' : answer.action;
    case 'rule':
      return 'accept';
    case 'input':
    case 'tool':
      return 'reject';
  }
}

const wireDecisions: Readonly<Record<Decision, string>> = {
  accept: 'accept',
  accept_for_session: 'acceptForSession',
  reject: 'decline',
  cancel: 'cancel',
};

function commandApproval(params: CommandApprovalParams): CodexQuestion {
  const { turnId, command, cwd } = params;
  const rules: LastingRule[] = (params.proposedNetworkPolicyAmendments ?? []).map(({ host, action }) => ({
    kind: 'network',
    host,
    access: action,
  }));
  const prefix = params.proposedExecpolicyAmendment ?? [];
  if (prefix.length > 0) rules.unshift({ kind: 'command', prefix });
  return {
    turnId,
    cancels: true,
    question: {
      type: 'command_approval',
      command: unwrapShell(command ?? ''),
      cwd: cwd ?? '',
      reason: commandReason(params),
      rules,
      ...(grantsMore(params) ? { grantsMore: true } : {}),
    },
    wire: (answer) => ({
      decision: answer.kind === 'rule' ? ruleDecision(answer.rule) : wireDecisions[decisionOf(answer)],
    }),
  };
}

function ruleDecision(rule: LastingRule): unknown {
  switch (rule.kind) {
    case 'command':
      return { acceptWithExecpolicyAmendment: { execpolicy_amendment: rule.prefix } };
    case 'network':
      return { applyNetworkPolicyAmendment: { network_policy_amendment: { host: rule.host, action: rule.access } } };
    case 'tool':
      return wireDecisions.accept;
  }
}

function grantsMore({ kind, networkApprovalContext, additionalPermissions }: CommandApprovalParams): boolean {
  return kind === 'writeStdin' || Boolean(networkApprovalContext) || Boolean(additionalPermissions);
}

/** Codex's reason, and what the command gets beyond running. */
function commandReason(params: CommandApprovalParams): string | null {
  const { kind, reason, networkApprovalContext: network, additionalPermissions } = params;
  const permitted = additionalPermissions ? permissionsSummary(additionalPermissions) : [];
  const parts = [
    kind === 'writeStdin' ? 'This is input for a program that runs already.' : '',
    reason ?? '',
    network ? `It wants to reach ${network.host} (${network.protocol}).` : '',
    permitted.length > 0 ? `It gets more than the sandbox: ${permitted.join(', ')}.` : '',
  ].filter((part) => part !== '');
  return parts.length === 0 ? null : parts.join(' ');
}

function fileApproval(params: unknown, open: OpenChanges): CodexQuestion {
  const { turnId, itemId, reason, grantRoot } = fileApprovalParams.parse(params);
  return {
    turnId,
    cancels: true,
    question: {
      type: 'file_approval',
      changes: open.get(itemId) ?? [],
      reason: fileReason(reason, grantRoot),
      ...(grantRoot ? { grantsMore: true } : {}),
    },
    wire: (answer) => ({ decision: wireDecisions[decisionOf(answer)] }),
  };
}

function fileReason(reason: string | null | undefined, grantRoot: string | null | undefined): string | null {
  const grant = grantRoot ? `It also wants to write below ${grantRoot} for the rest of the session.` : '';
  return [reason ?? '', grant].filter((part) => part !== '').join(' ') || null;
}

function permissionApproval(params: unknown): CodexQuestion {
  const { turnId, permissions, reason } = permissionApprovalParams.parse(params);
  const granted = withoutNulls(permissions);
  return {
    turnId,
    cancels: false,
    question: {
      type: 'permission_approval',
      permissions: granted,
      summary: permissionsSummary(permissions),
      reason: reason ?? null,
    },
    wire: (answer) => {
      const decision = decisionOf(answer);
      const accepted = decision === 'accept' || decision === 'accept_for_session';
      return {
        permissions: accepted ? granted : {},
        scope: decision === 'accept_for_session' ? 'session' : 'turn',
      };
    },
  };
}

/** What is asked for, without the parts that are not. */
function withoutNulls(permissions: RequestedPermissions): JsonObject {
  return Object.fromEntries(Object.entries(permissions).filter(([, value]) => value !== null && value !== undefined));
}

function permissionsSummary({ network, fileSystem }: RequestedPermissions): string[] {
  const paths = [
    ...(fileSystem?.read ?? []).map((path) => `read ${path}`),
    ...(fileSystem?.write ?? []).map((path) => `write ${path}`),
  ];
  const entries = (fileSystem?.entries ?? []).map(({ access, path }) => `${access} ${entryName(path)}`);
  const all = [...new Set([...(network?.enabled ? ['use the network'] : []), ...paths, ...entries])];
  return all.length === 0 ? ['(nothing that this version can name)'] : all;
}

function entryName(path: JsonObject): string {
  const name = path.path ?? path.pattern;
  return typeof name === 'string' ? name : JSON.stringify(path.value ?? path);
}

function userInput(params: unknown): CodexQuestion {
  const { turnId, questions } = userInputParams.parse(params);
  return {
    turnId,
    cancels: false,
    question: {
      type: 'user_input',
      forPerson: questions.some(({ id }) => id.startsWith(toolApprovalId)),
      questions: questions.map(({ id, header, question, isOther, isSecret, options }) => ({
        id,
        header,
        text: question,
        options: options ?? [],
        allowFreeform: isOther || (options ?? []).length === 0,
        isSecret,
      })),
    },
    wire: (answer) => {
      const answers = answer.kind === 'input' ? Object.entries(answer.answers) : [];
      return { answers: Object.fromEntries(answers.map(([id, texts]) => [id, { answers: texts }])) };
    },
  };
}

/** With `features.tool_call_mcp_elicitation` off, Codex asks for an MCP tool with a question of this id (seen with 0.169.0). */
const toolApprovalId = 'mcp_tool_call_approval';

/** The tool and its arguments that an elicitation asks to allow, by its `_meta` (seen with 0.169.0). */
function askedCall({ _meta: meta }: ElicitationParams) {
  if (meta?.codex_approval_kind !== 'mcp_tool_call') return null;
  const { tool_name: tool, tool_description: description, tool_params: args } = meta;
  return { tool: tool ?? 'unknown', description: description ?? null, arguments: args ?? {} };
}

function elicitation(params: ElicitationParams): CodexQuestion | undefined {
  const { turnId, serverName, mode, message, requestedSchema, url, _meta: meta } = params;
  // Such as `openai/userVerification`, which only Codex's own clients can do.
  if (mode !== 'url' && requestedSchema === undefined) return undefined;
  const call = askedCall(params);
  const persist = call ? (meta?.persist ?? []) : [];
  return {
    turnId: turnId ?? null,
    // An elicitation that is cancelled lets the turn go on (seen with 0.169.0).
    cancels: false,
    question: {
      type: 'elicitation',
      serverName,
      mode: mode === 'url' ? 'url' : 'form',
      message: message ?? '',
      schema: requestedSchema ?? null,
      url: url ?? null,
      toolCall: call,
      // Codex marks what allows something; a page is opened by the person or not at all.
      forPerson: mode === 'url' || (meta?.codex_approval_kind ?? null) !== null,
      forSession: persist.includes('session'),
      rules: call && persist.includes('always') ? [{ kind: 'tool', server: serverName, tool: call.tool }] : [],
    },
    wire: (answer) => elicitationResult(answer, requestedSchema !== undefined),
  };
}

function elicitationResult(answer: Answer, isForm: boolean): unknown {
  const decision = decisionOf(answer);
  if (decision === 'reject' || decision === 'cancel') {
    return { action: decision === 'reject' ? 'decline' : 'cancel', content: null, _meta: null };
  }
  const content = answer.kind === 'form' && answer.content !== null ? answer.content : isForm ? {} : null;
  const persist = answer.kind === 'rule' ? 'always' : decision === 'accept_for_session' ? 'session' : null;
  return { action: 'accept', content, _meta: persist === null ? null : { persist } };
}

function toolCall(params: unknown): CodexQuestion {
  const { turnId, namespace, tool, arguments: args } = toolCallParams.parse(params);
  return {
    turnId,
    cancels: false,
    question: { type: 'dynamic_tool', toolName: namespace ? `${namespace}/${tool}` : tool, arguments: args ?? {} },
    wire: (answer) => {
      const said = answer.kind === 'tool' ? answer : { success: false, text: 'Nobody answered this call.' };
      return { contentItems: [{ type: 'inputText', text: said.text }], success: said.success };
    },
  };
}

/** What the gate asks is of something that it holds: a declined one is not done, and the turn goes on. */
const gateResult = {
  cancels: false,
  wire: (answer: Answer): unknown => {
    const decision = decisionOf(answer);
    return { accepted: decision === 'accept' || decision === 'accept_for_session' };
  },
} as const;

function gatedCommand(params: unknown): CodexQuestion {
  const { turnId, argv, cwd } = commandParams.parse(params);
  const question = { type: 'command_approval', command: unwrapArgv(argv), cwd, reason: null, rules: [] } as const;
  return { turnId, question, ...gateResult };
}

function gatedFileChange(params: unknown, open: OpenChanges): CodexQuestion {
  const { turnId, itemId } = fileChangeParams.parse(params);
  const question = { type: 'file_approval', changes: open.get(itemId) ?? [], reason: null } as const;
  return { turnId, question, ...gateResult };
}

function gatedToolCall(params: unknown): CodexQuestion {
  const { turnId, server, tool, arguments: args } = gatedCallParams.parse(params);
  return {
    turnId,
    question: {
      type: 'elicitation',
      serverName: server,
      mode: 'form',
      message: `Allow a call of "${tool}" of the MCP server "${server}"?`,
      schema: null,
      url: null,
      toolCall: { tool, description: null, arguments: args },
      forPerson: true,
      forSession: true,
      rules: [],
    },
    ...gateResult,
  };
}

const legacyDecisions: Readonly<Record<Decision, unknown>> = {
  accept: 'approved',
  accept_for_session: 'approved_for_session',
  reject: { denied: { rejection: 'It was declined.' } },
  cancel: 'abort',
};

function legacyCommand(params: unknown): CodexQuestion {
  const { command, cwd, reason } = legacyCommandParams.parse(params);
  const [shell = '', flag = '', script] = command;
  const isScript = /(^|\/)(ba|z|da|k)?sh$/.test(shell) && /^-l?c$/.test(flag) && command.length === 3;
  return {
    turnId: null,
    cancels: true,
    question: {
      type: 'command_approval',
      command: isScript ? (script ?? '') : command.join(' '),
      cwd,
      reason: reason ?? null,
      rules: [],
    },
    wire: (answer) => ({ decision: legacyDecisions[decisionOf(answer)] }),
  };
}

function legacyPatch(params: unknown): CodexQuestion {
  const { fileChanges: byPath, reason, grantRoot } = legacyPatchParams.parse(params);
  const updates = Object.entries(byPath).map(([path, change]) => ({
    path,
    kind: { type: change.type, move_path: change.move_path },
    diff: change.unified_diff ?? change.content ?? '',
  }));
  return {
    turnId: null,
    cancels: true,
    question: {
      type: 'file_approval',
      changes: fileChanges(updates),
      reason: fileReason(reason, grantRoot),
      ...(grantRoot ? { grantsMore: true } : {}),
    },
    wire: (answer) => ({ decision: legacyDecisions[decisionOf(answer)] }),
  };
}
