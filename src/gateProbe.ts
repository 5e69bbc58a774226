import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { CodexAgent } from './codex/codexAgent';
import { readPrivate, writePrivate } from './base/privateFile';
import { messageOf } from './core/errors';
import { hashOf } from './core/hash';
import type { Answer, RequestQuestion } from './core/pendingRequest';
import type { ThreadSink, ThreadSpec } from './core/ports';
import { startScriptedModel } from './demo/scriptedModel';

/** A probe takes 2 s (measured); a loaded machine needs longer. */
const limitMs = 45_000;
const proofLimit = 4_096;

export interface GateProbe {
  readonly agent: Pick<CodexAgent, 'openProbe' | 'binary'>;
  /** Is made, and keeps what was found. */
  readonly dir: string;
  /** Of this program. */
  readonly version: string;
}

/**
 * As `probeGate`, but what was found to hold with this program, this file of Codex and this kernel is not looked at again: where one of
 * the parts then does not start, nothing runs.
 */
export async function proveGate({ agent, dir, version }: GateProbe): Promise<string | null> {
  try {
    const path = join(dir, 'proven.json');
    const { path: file } = await agent.binary();
    const { size, mtimeMs } = await stat(file);
    const key = hashOf({ version, file, size, mtimeMs, kernel: release() });
    if ((await readPrivate(path, proofLimit).catch(() => null)) === key) return null;
    const why = await probeGate(agent, dir);
    // What cannot be kept is looked at again.
    if (why === null) await writePrivate(path, key).catch(() => undefined);
    return why;
  } catch (error) {
    return messageOf(error);
  }
}

/**
 * Finds out whether the gate in front of Codex's sandbox holds on this machine, with the real Codex and a model that only does
 * what follows: a command that is let through, one that the sandbox has to refuse, one that is declined, and a change of a file.
 * Resolves to null when each did what it should, or the reason why the gate is not to be relied upon. `dir` is made and removed.
 */
export async function probeGate(agent: Pick<CodexAgent, 'openProbe'>, dir: string): Promise<string | null> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const place = await mkdtemp(join(dir, 'probe-'));
  const model = await startScriptedModel();
  const late = delay(limitMs, 'it did not finish in time', { ref: false });
  try {
    return await Promise.race([probeIn(agent, place, model.url), late]);
  } catch (error) {
    return messageOf(error);
  } finally {
    await model.close();
    await rm(place, { recursive: true, force: true, maxRetries: 3 }).catch(() => undefined);
  }
}

async function probeIn(agent: Pick<CodexAgent, 'openProbe'>, place: string, modelUrl: string): Promise<string | null> {
  const [inside, outside] = [join(place, 'inside'), join(place, 'outside')];
  await Promise.all([mkdir(inside), mkdir(outside)]);
  // No program is named, so that no rule of the person's for Codex speaks of it.
  const [pass, escape, decline] = ['passed', quoted(join(outside, 'escaped')), 'declined'].map((to) => `: > ${to}`);
  const commands = [pass, escape, decline].map((command) => `run: ${command}`);
  const script = `par: ${[...commands, 'patch: changed.txt text'].join(' || ')}`;
  const asked: string[] = [];
  const ended = new Promise<string | null>((resolve) => {
    const sink: ThreadSink = {
      onEvent: (event) => {
        if (event.type === 'turnCompleted') resolve(event.error?.message ?? null);
      },
      onRequest: (request) => {
        const { question } = request;
        asked.push(nameOf(question));
        request.answer(question.type === 'command_approval' && question.command === decline ? reject : accept);
      },
      onRequestResolved: () => undefined,
      onRaw: () => undefined,
      onLost: (error) => resolve(error.message),
    };
    const input = { text: script, model: null, reasoning: null, planMode: false, outputSchema: null };
    const work = async (): Promise<void> => {
      const thread = await agent.openProbe(specOf(inside), sink, modelConfig(modelUrl));
      await thread.startTurn(input);
      void ended.then(async () => {
        await thread.settle();
        thread.dispose();
      });
    };
    work().catch((error: unknown) => resolve(messageOf(error)));
  });
  const failure = await ended;
  if (failure !== null) return failure;
  const wanted = [pass, escape, decline, 'changed.txt'];
  if (asked.sort().join('\n') !== wanted.sort().join('\n')) return `it asked for ${JSON.stringify(asked)}`;
  if ((await readdir(outside)).length > 0) return 'a command left its sandbox';
  const made = (await readdir(inside)).filter((name) => !name.startsWith('.'));
  const expected = ['changed.txt', 'passed'];
  return made.sort().join() === expected.join() ? null : `what was left is ${JSON.stringify(made)}`;
}

function nameOf(question: RequestQuestion): string {
  if (question.type === 'command_approval') return question.command;
  if (question.type === 'file_approval') return question.changes.map(({ path }) => path.replace(/^.*[\\/]/, '')).join();
  return question.type;
}

function specOf(cwd: string): ThreadSpec {
  const taskId = 'gate-probe' as ThreadSpec['taskId'];
  const about = { approvalPolicy: 'untrusted', developerInstructions: null, model: null } as const;
  return { taskId, cwd, sandbox: 'workspace-write', ...about };
}

/** Its directory may be a temporary one. */
function modelConfig(url: string): Readonly<Record<string, unknown>> {
  const provider = 'model_providers.codex_worker_probe';
  return {
    model: 'gpt-5.5',
    model_provider: 'codex_worker_probe',
    [`${provider}.name`]: 'Codex Worker',
    [`${provider}.base_url`]: url,
    [`${provider}.wire_api`]: 'responses',
    [`${provider}.requires_openai_auth`]: false,
    [`${provider}.supports_websockets`]: false,
    [`${provider}.request_max_retries`]: 0,
    [`${provider}.stream_max_retries`]: 0,
    'sandbox_workspace_write.exclude_slash_tmp': true,
    'sandbox_workspace_write.exclude_tmpdir_env_var': true,
    'sandbox_workspace_write.writable_roots': [],
    allow_login_shell: false,
  };
}

const accept: Answer = { kind: 'decision', decision: 'accept' };
const reject: Answer = { kind: 'decision', decision: 'reject' };

function quoted(path: string): string {
  return `'${path.replaceAll("'", String.raw`'\''`)}'`;
}
