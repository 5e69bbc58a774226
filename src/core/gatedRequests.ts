import { hashOf } from './hash';
import type { InnerGate, InnerTask, InnerVerdict } from './innerGate';
import type { Answer, RequestQuestion } from './pendingRequest';
import type { AgentRequest } from './ports';

/**
 * What a task's rules say to its requests. While rules hold, nothing is allowed at the agent's side for longer than once:
 * what a person allows for the session is remembered here, and every request is judged again.
 */
export class GatedRequests {
  private readonly allowed = new Set<string>();
  private readonly gate: InnerGate;
  private readonly task: InnerTask;

  constructor(gate: InnerGate, task: InnerTask) {
    this.gate = gate;
    this.task = task;
  }

  judge(question: RequestQuestion): InnerVerdict | { readonly kind: 'session' } {
    const verdict = this.gate.judge(question, this.task);
    const isKnown = verdict.kind !== 'decline' && verdict.kind !== 'accept' && this.allowed.has(keyOf(question));
    return isKnown ? { kind: 'session' } : verdict;
  }

  /** The request as it is put to people while rules hold. */
  guarded(source: AgentRequest): AgentRequest {
    const { question } = source;
    const answer = (given: Answer): void => {
      if (!this.gate.holds || !isLasting(given)) {
        source.answer(given);
        return;
      }
      this.allowed.add(keyOf(question));
      source.answer(acceptOnce);
    };
    return { ...source, answer };
  }
}

export const acceptOnce: Answer = { kind: 'decision', decision: 'accept' };

function isLasting(answer: Answer): boolean {
  return answer.kind === 'rule' || (answer.kind === 'decision' && answer.decision === 'accept_for_session');
}

/** Of what is asked; the reason may be worded anew each time. */
function keyOf(question: RequestQuestion): string {
  return hashOf({ ...question, reason: null });
}
