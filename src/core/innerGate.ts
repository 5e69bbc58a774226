import type { RequestQuestion } from './pendingRequest';

/** What the rules say to something that an agent wants to do inside a task. */
export type InnerVerdict =
  /** No rule speaks: people and agents answer as usual. */
  | { readonly kind: 'silent' }
  | { readonly kind: 'accept' | 'decline' | 'person'; readonly rule: string; readonly reason: string };

/** The task inside which something is wanted. */
export interface InnerTask {
  readonly id: string;
  readonly cwd: string;
  readonly spawnedBy: string;
}

/** Decides what agents may do inside tasks. */
export interface InnerGate {
  /** Whether there are rules for that: then everything has to be asked, whatever the approval policy. */
  readonly holds: boolean;
  /** Whether a task is refused in which something could be done without being asked. */
  readonly refusesUnseen: boolean;
  /** Also counts what it accepts. */
  judge(question: RequestQuestion, task: InnerTask): InnerVerdict;
  /** Somebody else accepted it: it is counted. */
  noteAccepted(question: RequestQuestion, task: InnerTask): void;
}

/** Without rules. */
export const noInnerGate: InnerGate = {
  holds: false,
  refusesUnseen: false,
  judge: () => ({ kind: 'silent' }),
  noteAccepted: () => undefined,
};
