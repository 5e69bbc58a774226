import { hashOf } from './hash';
import type { InnerGate, InnerTask, InnerVerdict } from './innerGate';
import type { Answer, RequestQuestion } from './pendingRequest';
import type { AgentRequest } from './ports';

/**
 * What a task's rules say to its requests. While rules hold, and where the agent cannot do otherwise, nothing is allowed at the
 * agent's side for longer than once: what a person allows for the session is remembered here, and every request is judged again.
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
    const isKnown =
      !grantsMore(question) &&
      verdict.kind !== 'decline' &&
      verdict.kind !== 'accept' &&
      this.allowed.has(keyOf(question));
    if (!isKnown) return verdict;
    this.gate.noteAccepted(question, this.task);
    return { kind: 'session' };
  }

  /** The request as it is put to people while rules hold. */
  guarded(source: AgentRequest): AgentRequest {
    const { question } = source;
    const answer = (given: Answer): void => {
      if (!this.gate.holds && source.once !== true) {
        source.answer(given);
        return;
      }
      if (accepts(given)) this.gate.noteAccepted(question, this.task);
      if (isLasting(given) && !grantsMore(question)) this.allowed.add(keyOf(question));
      source.answer(isLasting(given) ? acceptOnce : given);
    };
    return { ...source, answer };
  }
}

export const acceptOnce: Answer = { kind: 'decision', decision: 'accept' };

function isLasting(answer: Answer): boolean {
  return answer.kind === 'rule' || (answer.kind === 'decision' && answer.decision === 'accept_for_session');
}

function accepts(answer: Answer): boolean {
  if (answer.kind === 'decision') return answer.decision === 'accept' || isLasting(answer);
  return answer.kind === 'rule' || (answer.kind === 'form' && answer.action === 'accept');
}

/** What it allows beyond what it shows differs from one time to the next. */
function grantsMore(question: RequestQuestion): boolean {
  return 'grantsMore' in question && question.grantsMore === true;
}

/** Of what is asked; the reason may be worded anew each time. */
function keyOf(question: RequestQuestion): string {
  return hashOf({ ...question, reason: null });
}
