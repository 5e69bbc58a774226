import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeQuestion } from '../../src/core/describeRequest';
import type { TaskSnapshot } from '../../src/core/taskSnapshot';
import { readResource } from '../../src/mcp/resources';
import { type CodexRig, startCodexRig, startWorker } from '../rig/codexRig';
import { until } from '../rig/until';

/** What Codex says on the way to people, agents and files. */

let rig: CodexRig;
let worker: Awaited<ReturnType<typeof startWorker>>;
let shown = '';

beforeAll(async () => {
  rig = await startCodexRig();
  worker = await startWorker(rig);
  worker.tasks.feed.onDidAppendText(({ text }) => (shown += text));
});
afterAll(async () => {
  await worker.shutDown();
  await rig.dispose();
});

const secret = `ghp_${'A1b2'.repeat(9)}`;
const hidden = '[redacted]';

async function run(prompt: string, approvalPolicy: 'never' | 'untrusted' = 'never'): Promise<string> {
  shown = '';
  return (await worker.tasks.spawn({ prompt, approvalPolicy }, 'test')).id;
}

async function ended(id: string): Promise<TaskSnapshot> {
  await until('it has ended', () => worker.tasks.get(id).endedAt !== null, 20_000);
  return worker.tasks.get(id);
}

/** Everything that anybody but Codex gets of a task. The request is kept as it was given: the task is started by it. */
async function everything(id: string): Promise<string> {
  await until('all is written', () => worker.tasks.readJournal(id, 'verbose', 0, 1).then(({ size }) => size > 0));
  const { dir } = worker.tasks.paths(id);
  const names = (await readdir(dir)).filter((name) => name !== 'request.json');
  const files = await Promise.all(names.map((name) => readFile(join(dir, name), 'utf8')));
  const uris = ['', '/log', '/log.verbose', '/timeline', '/events', '/diff'].map((path) => `task:///${id}${path}`);
  const resources = await Promise.all(uris.map((uri) => readResource(worker.tasks, uri, worker.tasks.snapshots())));
  return [...files, JSON.stringify(resources), JSON.stringify(worker.tasks.get(id)), shown].join('\n');
}

it('a token that a command printed is in no result, no resource, no file and not in the log', async () => {
  // In two variables, so that only the output holds it whole.
  const [left, right] = [secret.slice(0, 9), secret.slice(9)];
  const id = await run(`run: a=${left}; b=${right}; echo "the token is $a$b"\nsay done`);
  const task = await ended(id);
  expect(task.outputTail).toContain(`the token is ${hidden}\n`);
  const all = await everything(id);
  expect(all).not.toContain(secret);
  expect(shown).toContain(hidden);
  // The model has got all of it.
  expect(JSON.stringify(rig.model.requests)).toContain(secret);
});

it('a token that streams in pieces is not shown in pieces either', async () => {
  const id = await run(`pieces 5 the token is ${secret} and that is all`);
  const task = await ended(id);
  expect(task.finalMessage).toBe(`the token is ${hidden} and that is all`);
  expect(shown).toContain(`the token is ${hidden} and that is all`);
  const events = await worker.tasks.readJournal(id, 'events', 0, 1_000_000);
  const deltas = [...events.text.matchAll(/"delta":"([^"]*)"/g)].map(([, text]) => text);
  expect(deltas.join('')).toBe(`the token is ${hidden} and that is all`);
});

it('a command that needs approval is judged and run as it is, and shown without its token', async () => {
  const id = await run(`run: test ${secret} = ghp_${'A1b2'.repeat(9)} && echo equal\nsay done`, 'untrusted');
  await until('it asks', () => worker.tasks.get(id).pending.length > 0, 20_000);
  const [request] = worker.tasks.get(id).pending;
  expect(describeQuestion(request!.question, rig.workspace)).toContain(hidden);
  expect(await everything(id)).not.toContain(secret);
  await worker.tasks.respond(id, request!.id, { kind: 'decision', decision: 'accept' }, { by: 'person', caller: 'person' }); // prettier-ignore
  const task = await ended(id);
  expect(task.outputTail).toContain('equal');
  expect(await everything(id)).not.toContain(secret);
});

it('a file that a task writes keeps its secret, its diff is shown without', async () => {
  const id = await run(`patch: env.txt API_KEY=${secret}`);
  const task = await ended(id);
  expect(await readFile(join(rig.workspace, 'env.txt'), 'utf8')).toContain(secret);
  expect(task.diff).toContain(`API_KEY=${hidden}`);
  expect(task.changedFiles).toMatchObject([{ added: 1, removed: 0 }]);
  expect(await everything(id)).not.toContain(secret);
});
