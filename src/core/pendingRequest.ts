import type { FileChange } from './taskEvent';

/** Decoded JSON of an object. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** One question of several that Codex asks together. */
export interface InputQuestion {
  readonly id: string;
  /** A few words. */
  readonly header: string;
  readonly text: string;
  readonly options: readonly { readonly label: string; readonly description: string }[];
  /** Whether another answer than the options is taken; true when there are none. */
  readonly allowFreeform: boolean;
  /** The answer is shown and kept nowhere. */
  readonly isSecret: boolean;
}

/** What an approval can allow for good: it changes the person's configuration of Codex. */
export type LastingRule =
  /** Every command that begins with these words. */
  | { readonly kind: 'command'; readonly prefix: readonly string[] }
  | { readonly kind: 'network'; readonly host: string; readonly access: 'allow' | 'deny' }
  | { readonly kind: 'tool'; readonly server: string; readonly tool: string };

/** A call of an MCP tool that has to be allowed. */
export interface AskedToolCall {
  readonly tool: string;
  readonly description: string | null;
  readonly arguments: unknown;
}

/** What Codex waits for somebody to decide. */
export type RequestQuestion =
  | {
      readonly type: 'command_approval';
      readonly command: string;
      readonly cwd: string;
      readonly reason: string | null;
      readonly rules: readonly LastingRule[];
      /** Set when it allows more than to run the command, which its reason says. */
      readonly grantsMore?: true | undefined;
    }
  | {
      readonly type: 'file_approval';
      readonly changes: readonly FileChange[];
      readonly reason: string | null;
      /** Set when it allows more than these changes, which its reason says. */
      readonly grantsMore?: true | undefined;
    }
  | {
      readonly type: 'permission_approval';
      /** As Codex gives them. */
      readonly permissions: JsonObject;
      /** The same in words, such as `write /tmp/x`. */
      readonly summary: readonly string[];
      readonly reason: string | null;
    }
  | {
      readonly type: 'user_input';
      readonly questions: readonly InputQuestion[];
      /** An answer may allow something, so that it is the person's to give. */
      readonly forPerson: boolean;
    }
  | {
      readonly type: 'elicitation';
      readonly serverName: string;
      readonly mode: 'form' | 'url';
      readonly message: string;
      /** JSON Schema of an object, of a form. */
      readonly schema: JsonObject | null;
      readonly url: string | null;
      /** Set when the server's tool has to be allowed, which Codex asks as an elicitation too. */
      readonly toolCall: AskedToolCall | null;
      /** Accepting may allow something, so that it is for the person. */
      readonly forPerson: boolean;
      readonly forSession: boolean;
      readonly rules: readonly LastingRule[];
    }
  | { readonly type: 'dynamic_tool'; readonly toolName: string; readonly arguments: unknown }
  | RecoveryQuestion;

/** The worker's own question: whether a task goes on after trouble. Rejecting fails the task. */
export interface RecoveryQuestion {
  readonly type: 'recovery';
  readonly message: string;
  /** When the task goes on by itself, in ms since the epoch; absent when it waits for somebody. */
  readonly goesOnAt?: number;
}

export type RequestType = RequestQuestion['type'];

export const decisions = ['accept', 'accept_for_session', 'reject', 'cancel'] as const;
/** `reject` lets the turn go on without the action; `cancel` ends the turn too. */
export type Decision = (typeof decisions)[number];

export const formActions = ['accept', 'decline', 'cancel'] as const;
export type FormAction = (typeof formActions)[number];

/** What somebody says to a question. */
export type Answer =
  /** For approvals; `reject` and `cancel` decline any question. */
  | { readonly kind: 'decision'; readonly decision: Decision }
  /** Accepts, and allows (or forbids) the like for good. */
  | { readonly kind: 'rule'; readonly rule: LastingRule }
  /** Answers by the id of the question. */
  | { readonly kind: 'input'; readonly answers: Readonly<Record<string, readonly string[]>> }
  | { readonly kind: 'form'; readonly action: FormAction; readonly content: JsonObject | null }
  | { readonly kind: 'tool'; readonly success: boolean; readonly text: string };

export const declined: Answer = { kind: 'decision', decision: 'reject' };

export const answerers = ['person', 'agent', 'policy', 'timeout', 'stop', 'codex'] as const;
/** Who ended a request: its time limit declines it, a stop of the task and Codex itself withdraw it. */
export type Answerer = (typeof answerers)[number];

/** A question of a task that waits for its answer. Times are milliseconds since the epoch. */
export interface PendingRequest {
  /** Unique within the task: `r1`, `r2`, … */
  readonly id: string;
  readonly question: RequestQuestion;
  readonly askedAt: number;
  /** When it is declined if nobody has answered; null for never. */
  readonly expiresAt: number | null;
  /** The rule of the policy that leaves the decision to the person alone. */
  readonly heldBy?: string | undefined;
}

/** A request that is no longer pending. */
export interface AnsweredRequest {
  readonly id: string;
  readonly type: RequestType;
  readonly by: Answerer;
  /** What was decided, in the past form that logs and people read; never a secret. */
  readonly outcome: string;
  readonly answeredAt: number;
}

/** Whether it is allowed or refused as it stands: nothing has to be filled in. */
export function isApproval(question: RequestQuestion): boolean {
  switch (question.type) {
    case 'command_approval':
    case 'file_approval':
    case 'permission_approval':
    case 'recovery':
      return true;
    case 'elicitation':
      return question.toolCall !== null;
    case 'user_input':
    case 'dynamic_tool':
      return false;
  }
}

/** Whether nobody has to answer: the task goes on by itself. */
export function answersItself({ question }: PendingRequest): boolean {
  return question.type === 'recovery' && question.goesOnAt !== undefined;
}

/** Whether accepting lets something happen on the person's behalf. */
export function allowsSomething(question: RequestQuestion): boolean {
  if (question.type === 'recovery') return false;
  return isApproval(question) || ('forPerson' in question && question.forPerson);
}

/** Whether what is accepted can be accepted for the rest of the session. */
export function offersSession(question: RequestQuestion): boolean {
  if (question.type === 'elicitation') return question.forSession;
  return isApproval(question) && question.type !== 'recovery';
}
