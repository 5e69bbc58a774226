import { realpath, stat } from 'node:fs/promises';
import { isAbsolute } from 'node:path';
import { readText, UnreadableFileError } from '../base/readText';
import { isWithin } from '../base/within';
import { CallError, invalidArgument } from './errors';
import type { ApprovalPolicy, ModelInfo, Sandbox, WorkerSettings } from './ports';
import type { TaskId } from './taskId';
import { type TaskType, taskTypes } from './taskSnapshot';

export interface ContextFile {
  readonly path: string;
  readonly description?: string | undefined;
}

/** A task that somebody wants, its values in shape but not yet checked against this machine. */
export interface SpawnRequest {
  readonly prompt: string;
  readonly cwd?: string | undefined;
  readonly model?: string | undefined;
  readonly reasoning?: string | undefined;
  readonly sandbox?: Sandbox | undefined;
  readonly approvalPolicy?: ApprovalPolicy | undefined;
  readonly taskType?: TaskType | undefined;
  readonly developerInstructions?: string | undefined;
  readonly contextFiles?: readonly ContextFile[] | undefined;
  readonly labels?: readonly string[] | undefined;
  readonly timeoutMs?: number | undefined;
  readonly keepAliveMs?: number | undefined;
  readonly outputSchema?: Readonly<Record<string, unknown>> | undefined;
  /** The task starts when all of these are completed. */
  readonly dependsOn?: readonly TaskId[] | undefined;
  readonly idempotencyKey?: string | undefined;
}

/** Bytes of UTF-8 text. */
export const contextFileLimit = 200 * 1024;
export const contextFilesLimit = 500 * 1024;

/** The real directory a task may work in. Throws `invalid_argument` for anything outside the roots. */
export async function resolveCwd(cwd: string | undefined, roots: readonly string[]): Promise<string> {
  const wanted = cwd ?? roots[0];
  if (wanted === undefined) {
    throw invalidArgument('cwd: there is no folder to work in.', noRoots);
  }
  if (!isAbsolute(wanted)) throw invalidArgument(`cwd: "${wanted}" is not an absolute path.`, allowed(roots));
  const real = await realDirectory(wanted, roots);
  if (!(await isInside(real, roots))) {
    throw invalidArgument(`cwd: "${wanted}" is outside the folders that tasks may work in.`, allowed(roots));
  }
  return real;
}

async function realDirectory(path: string, roots: readonly string[]): Promise<string> {
  let real: string;
  try {
    real = await realpath(path);
  } catch (cause) {
    throw new CallError('invalid_argument', `cwd: "${path}" does not exist or cannot be read.`, {
      hint: allowed(roots),
      cause,
    });
  }
  if (!(await stat(real)).isDirectory()) throw invalidArgument(`cwd: "${path}" is not a directory.`, allowed(roots));
  return real;
}

/** Whether a real path lies in one of the roots, compared by their real paths. */
async function isInside(real: string, roots: readonly string[]): Promise<boolean> {
  for (const root of roots) {
    const realRoot = await realpath(root).catch(() => undefined);
    if (realRoot === undefined) continue;
    if (isWithin(realRoot, real)) return true;
  }
  return false;
}

/** An editor opens folders; a program that stands in / or in the home directory takes what its client names. */
const noRoots =
  'Open a folder in the editor, start the program with --root DIR, or have the client name its roots and give a cwd inside one.';

function allowed(roots: readonly string[]): string {
  return roots.length === 0 ? noRoots : `Allowed is a directory in: ${roots.join(', ')}.`;
}

/** The sandbox of a task. Planners and researchers only read unless the caller says otherwise. */
export function chooseSandbox(request: SpawnRequest, settings: Pick<WorkerSettings, 'sandbox'>): Sandbox {
  const reads = request.taskType === 'planner' || request.taskType === 'researcher';
  return request.sandbox ?? (reads ? 'read-only' : settings.sandbox());
}

/** What a task of that type is given where its caller names nothing, by the names of spawn-task's fields. */
export function spawnDefaults(
  type: unknown,
  settings: Pick<WorkerSettings, 'roots' | 'sandbox' | 'approvalPolicy'>,
): Readonly<Record<string, unknown>> {
  const taskType = taskTypes.find((one) => one === type) ?? 'coder';
  const [cwd] = settings.roots();
  return {
    ...(cwd === undefined ? {} : { cwd }),
    task_type: taskType,
    sandbox: chooseSandbox({ prompt: '', taskType }, settings),
    approval_policy: settings.approvalPolicy(),
  };
}

/** Throws `full_access_not_allowed` unless the person switched it on. */
export function assertFullAccess(settings: WorkerSettings): void {
  if (settings.allowFullAccess()) return;
  throw new CallError('full_access_not_allowed', 'sandbox: danger-full-access is switched off.', {
    hint: 'Use workspace-write, or ask the person to allow it: the setting "codexWorker.allowFullAccess", or --allow-full-access for the program.',
  });
}

export interface ModelChoice {
  readonly model: string | null;
  readonly reasoning: string | null;
}

/** `gpt-5.4(high)` names a model and an effort. */
export function readModel(text: string): { readonly model: string; readonly reasoning: string | null } {
  const both = /^(.+)\(([a-z]+)\)$/.exec(text);
  return { model: both?.[1] ?? text, reasoning: both?.[2] ?? null };
}

/**
 * The model and effort of a turn. `gpt-5.4(high)` names both. Checked against the models that are known, which differ
 * between versions of Codex.
 */
export function chooseModel(
  request: { readonly model?: string | undefined; readonly reasoning?: string | undefined },
  models: readonly ModelInfo[] | undefined,
  allowUnknown: boolean,
  /** The model that the task runs with when the request names none. */
  current: string | null = null,
): ModelChoice {
  const named = request.model === undefined ? { model: null, reasoning: null } : readModel(request.model);
  const { model } = named;
  const reasoning = request.reasoning ?? named.reasoning;
  if (models === undefined || models.length === 0) return { model, reasoning };
  const known = models.find((info) => (model ?? current) === info.id);
  if (model !== null && !known && !allowUnknown) {
    throw invalidArgument(
      `model: "${model}" is not known to this Codex.`,
      `Use one of: ${models.map((info) => info.id).join(', ')}; or set "codexWorker.allowUnknownModels" for a custom provider.`,
    );
  }
  // Which model Codex's own configuration names is not known here: then an effort of any will do.
  const efforts = known?.reasoningEfforts ?? (model === null ? models.flatMap((info) => info.reasoningEfforts) : []);
  if (reasoning !== null && efforts.length > 0 && !efforts.includes(reasoning)) {
    throw invalidArgument(
      `reasoning: "${reasoning}" is not supported by ${known?.id ?? 'any model of this Codex'}.`,
      `Use one of: ${[...new Set(efforts)].join(', ')}.`,
    );
  }
  return { model, reasoning };
}

/** The prompt with the context files in front, each within its limit and inside the roots. */
export async function withContextFiles(
  prompt: string,
  files: readonly ContextFile[] | undefined,
  roots: readonly string[],
): Promise<string> {
  if (!files || files.length === 0) return prompt;
  let total = 0;
  const parts: string[] = [];
  for (const [index, file] of files.entries()) {
    const text = await readContextFile(`context_files[${index}].path`, file.path, roots);
    total += Buffer.byteLength(text);
    if (total > contextFilesLimit) {
      throw invalidArgument(
        `context_files: together they are larger than ${contextFilesLimit / 1024} KB.`,
        'Name fewer files; Codex can read the others itself.',
      );
    }
    const about = file.description === undefined ? '' : ` (${file.description})`;
    parts.push(`<file path="${file.path}">${about}\n${text}\n</file>`);
  }
  return `${parts.join('\n\n')}\n\n${prompt}`;
}

async function readContextFile(field: string, path: string, roots: readonly string[]): Promise<string> {
  if (!isAbsolute(path)) throw invalidArgument(`${field}: "${path}" is not an absolute path.`, allowed(roots));
  const real = await realpath(path).catch(() => undefined);
  if (real === undefined) throw noContextFile(field, path);
  if (!(await isInside(real, roots))) {
    throw invalidArgument(`${field}: "${path}" is outside the folders that tasks may read.`, allowed(roots));
  }
  try {
    const text = await readText(real, contextFileLimit);
    if (text !== null) return text;
  } catch (cause) {
    if (cause instanceof UnreadableFileError && cause.reason === 'too_large') {
      const message = `${field}: "${path}" is larger than ${contextFileLimit / 1024} KB.`;
      throw invalidArgument(message, 'Leave it out; Codex can read it itself.');
    }
    if (cause instanceof UnreadableFileError && cause.reason === 'no_text') {
      throw invalidArgument(`${field}: "${path}" is not UTF-8 text.`, 'Name text files only.');
    }
  }
  throw noContextFile(field, path);
}

function noContextFile(field: string, path: string): CallError {
  return invalidArgument(`${field}: "${path}" is not a file that can be read.`, 'Name an existing text file.');
}
