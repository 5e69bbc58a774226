import type { CallerId } from '../core/caller';

/** What a request carries beside its parameters. */
export type Meta = Readonly<Record<string, unknown>> | undefined;

/** Names who calls over one connection, by what the client says of itself: its name, and the conversation of a request. */
export type Identify = (clientName: string | undefined, conversation: string | null) => CallerId;

/** Where clients say which conversation a request belongs to (seen: VS Code 1.139's local agent; Codex 0.169). */
const conversationFields = ['vscode.conversationId', 'threadId'];

/** The conversation that a request says it belongs to; null when it says nothing. */
export function conversationOf(meta: Meta): string | null {
  const named = conversationFields.map((field) => meta?.[field]);
  return named.find((name): name is string => typeof name === 'string' && name !== '') ?? null;
}
