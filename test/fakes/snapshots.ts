import type { PendingRequest, RequestQuestion } from '../../src/core/pendingRequest';
import type { TaskSnapshot } from '../../src/core/taskSnapshot';

/** A task that works and has done nothing yet. */
export const base: TaskSnapshot = {
  id: 'bold-falcon-42', status: 'working', stopping: false, stopReason: null, title: 'do it', labels: [], type: 'coder', cwd: '/ws',
  sandbox: 'workspace-write', approvalPolicy: 'on-request', dependsOn: [], model: 'gpt-5.5', reasoning: null, unansweredCall: null, spawnedBy: 'window',
  threadId: null, turns: 1, createdAt: 1_000, startedAt: 1_100, endedAt: null, updatedAt: 2_000, activity: 'thinking', heldBy: null,
    gated: false,
  usage: null, plan: [], items: [], changedFiles: [], outputTail: '', finalMessage: null, lastCommand: null, diff: '',
  pending: [], answered: null,
  answers: [], queuedMessages: 0, error: null, leftovers: [],
}; // prettier-ignore

export function command(text: string, reason: string | null = null): RequestQuestion & { type: 'command_approval' } {
  return { type: 'command_approval', command: text, cwd: '/', reason, rules: [] };
}

export function pending(question: RequestQuestion = command('ls'), askedAt = 0, id = 'r1'): PendingRequest {
  return { id, question, askedAt, expiresAt: null };
}
