import { fileURLToPath, pathToFileURL } from 'node:url';
import type { z } from 'zod';
import { sandboxEntry, sandboxStruct } from './execMessages';
import type { AllowedSandbox } from './gateProtocol';

/**
 * Whether the sandbox that Codex gives a process allows no more than the task's does. A sandbox in a shape that is not known
 * allows too much. `null` is none.
 */
export function isConfined(sandbox: unknown, allowed: AllowedSandbox): boolean {
  if (allowed === null) return true;
  const struct = sandboxStruct.safeParse(sandbox).data;
  if (!struct) return false;
  const { permissions, cwd, workspaceRoots } = struct;
  if (permissions.network === 'enabled' && !allowed.network) return false;
  // What it says of the project means these.
  if (![cwd, ...workspaceRoots].every((url) => pathOf(url) === allowed.cwd)) return false;
  const { entries } = permissions.file_system;
  const closed = new Set(entries.map(closedPart));
  return entries.every((entry) => {
    if (entry.access === 'read' || entry.access === 'deny') return true;
    const { path, access } = sandboxEntry.safeParse(entry).data ?? {};
    if (!path || access !== 'write' || !allowed.writesWorkspace) return false;
    if (path.type === 'path') return allowed.roots.includes(pathOf(path.path) ?? '');
    const { kind, subpath } = path.value;
    if (kind === 'project_roots') return protectedParts.every((part) => closed.has(part)) && subpath === undefined;
    return kind === 'slash_tmp' || kind === 'tmpdir';
  });
}

/** Of a project whose rest may be written to: what stands there decides what Codex and Git do next. */
const protectedParts = ['.git', '.codex'];

/** The part of the project that an entry keeps from being written to. */
function closedPart(entry: unknown): string | undefined {
  const { path, access } = sandboxEntry.safeParse(entry).data ?? {};
  const isClosed = path?.type === 'special' && path.value.kind === 'project_roots' && access !== 'write';
  return isClosed ? path.value.subpath : undefined;
}

/** Makes sandboxes as Codex makes them, from one of its own. */
export class KnownSandboxes {
  private known: z.infer<typeof sandboxStruct> | null = null;

  learn(sandbox: unknown): void {
    this.known = sandboxStruct.safeParse(sandbox).data ?? this.known;
  }

  /** One that allows no more than `allowed`, maybe less; null when none is known that this can be made of. */
  make(allowed: NonNullable<AllowedSandbox>): unknown {
    if (!this.known) return null;
    const { permissions, policyContext, ...rest } = this.known;
    const cwd = pathToFileURL(allowed.cwd).href;
    const { entries } = permissions.file_system;
    const kept = entries.filter((entry) => entry.access !== 'write' || isProjectRoot(entry, allowed));
    const made = {
      ...rest,
      permissions: {
        ...permissions,
        network: 'restricted',
        file_system: { ...permissions.file_system, entries: kept },
      },
      cwd,
      ...(policyContext === undefined ? {} : { policyContext: { cwd, workspaceRoots: [cwd] } }),
      workspaceRoots: [cwd],
    };
    return isConfined(made, allowed) ? made : null;
  }
}

/** Of what may be written to the task's directory alone: the rest differs from task to task. */
function isProjectRoot(entry: unknown, { writesWorkspace }: NonNullable<AllowedSandbox>): boolean {
  const { path } = sandboxEntry.safeParse(entry).data ?? {};
  return writesWorkspace && path?.type === 'special' && path.value.kind === 'project_roots';
}

/** The path of a `file:` URL, or a path as it is; undefined for anything else. */
export function pathOf(url: string): string | undefined {
  if (!url.startsWith('file:')) return /^(?:\/|[A-Za-z]:[\\/])/.test(url) ? url : undefined;
  try {
    return fileURLToPath(url);
  } catch {
    return undefined;
  }
}
