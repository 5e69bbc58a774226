import { homedir } from 'node:os';
import { z } from 'zod';
import * as vscode from 'vscode';
import { deepestNesting } from '../core/nesting';
import { agentApprovals, approvalPolicies, recoveries, usageLimitActions, type WorkerSettings } from '../core/ports';
import { mcpTransports, type McpTransport } from '../worker';
import { SettingId } from './ids';

const dayMs = 24 * 3_600_000;

/** The editor's settings, read at each use. A value of a wrong type counts as its default. */
export const settings: WorkerSettings = {
  roots: () =>
    (vscode.workspace.workspaceFolders ?? [])
      .filter(({ uri }) => uri.scheme === 'file' || uri.scheme === 'vscode-remote')
      .map(({ uri }) => uri.fsPath),
  trusted: () => vscode.workspace.isTrusted,
  sandbox: () => read(SettingId.defaultSandbox, z.enum(['read-only', 'workspace-write']), 'workspace-write'),
  approvalPolicy: () => read(SettingId.defaultApprovalPolicy, z.enum(approvalPolicies), 'on-request'),
  allowFullAccess: () => read(SettingId.allowFullAccess, z.boolean(), false),
  allowUnknownModels: () => read(SettingId.allowUnknownModels, z.boolean(), false),
  agentMayApprove: () => read(SettingId.agentMayApprove, z.enum(agentApprovals), 'ask'),
  requestTimeoutMs: () => minutes(SettingId.requestTimeout, 0),
  idleTimeoutMs: () => minutes(SettingId.idleTimeout, 15),
  maxConcurrentTasks: () => read(SettingId.maxConcurrentTasks, z.int().min(1).max(100), 8),
  nestedTasks: () => read(SettingId.nestedTasks, z.int().min(0).max(deepestNesting), 0),
  recovery: () => read(SettingId.recovery, z.enum(recoveries), 'ask'),
  usageLimit: () => read(SettingId.usageLimit, z.enum(usageLimitActions), 'fail'),
  personPresent: () => true,
  elicitation: () => read(SettingId.mcpElicitation, z.boolean(), false),
  keepAliveMs: () => read(SettingId.keepFinishedDays, z.number().min(0).max(365), 7) * dayMs,
};

/** The person's choice of Codex; null when there is none. */
export function codexPath(): string | null {
  const path = read(SettingId.codexPath, z.string(), '').trim();
  return path === '' ? null : path;
}

/** The user's policy file; null for the built-in policy. */
export function policyPath(): string | null {
  const path = read(SettingId.policyPath, z.string(), '').trim();
  return path === '' ? null : path.replace(/^~(?=[/\\]|$)/, homedir());
}

/** How long tasks go on without a window, in ms; null until they are done, 0 not at all. */
export function keepRunningMs(): number | null {
  const value = read(
    SettingId.keepRunning,
    z.union([z.enum(['untilDone', 'never']), z.number().min(0).max(10_080)]),
    30,
  );
  if (value === 'untilDone') return null;
  return value === 'never' ? 0 : value * 60_000;
}

/** How the editor reaches our MCP server: by a pipe that every harness can start, or directly. */
export function mcpTransport(): 'stdio' | McpTransport {
  return read(SettingId.mcpTransport, z.enum(['stdio', ...mcpTransports]), 'stdio');
}

export function requestNotices(): 'whenHidden' | 'always' | 'off' {
  return read(SettingId.notifyRequests, z.enum(['whenHidden', 'always', 'off']), 'whenHidden');
}

export function finishedNotices(): 'statusBar' | 'notification' | 'off' {
  return read(SettingId.notifyFinished, z.enum(['statusBar', 'notification', 'off']), 'statusBar');
}

/** Milliseconds of a setting in minutes; null for 0, which is never. */
function minutes(id: string, fallback: number): number | null {
  const value = read(id, z.number().min(0).max(10_080), fallback);
  return value === 0 ? null : value * 60_000;
}

function read<T>(id: string, schema: z.ZodType<T>, fallback: T): T {
  const parsed = schema.safeParse(vscode.workspace.getConfiguration().get(id));
  return parsed.success ? parsed.data : fallback;
}
