import { hashOf } from './hash';

/**
 * Who calls: a client, and inside it the conversation where the client names one, as `client` or `client#conversation`. It
 * does not hang on a connection, so it is the same after every reconnect and every reload of the window.
 *
 * - *Client*: the editor's window (through its own definition, whichever harness uses it), a program over stdio, an attached
 *   program by its name, or an MCP session over TCP. Rights and limits go by it: `task.spawned_by_caller`, sliding limits,
 *   and whose tasks end with a program. A new chat is no new quota, and may cancel what the last one spawned.
 * - *Conversation*: only a label inside its client. What was told goes by it: which news ended a wait, what a wait without
 *   an id is about, what was allowed "for this session", and which spawn a repetition is of. Two chats of one window never
 *   take each other's news.
 */
export type CallerId = string;

/** The person at the editor, whom nothing limits that limits agents. */
export const person: CallerId = 'person';

/** The editor's window, as all of its own harnesses are. */
export const windowClient = 'window';

const mark = '#';
const attachedPrefix = 'attached ';
const nameLimit = 100;
const plainName = /^[\w.:@/-]{1,100}$/;

/** Names a caller. What comes from a client is text of anybody: it can never name another client. */
export function callerId(client: string, conversation: string | null): CallerId {
  return conversation === null ? client : `${client}${mark}${nameOf(conversation)}`;
}

/** A client that is known by the name that it gives itself. */
export function attachedClient(name: string): string {
  return `${attachedPrefix}${nameOf(name)}`;
}

/** The name that an attached client gave itself. */
export function nameOfAttached(client: string): string {
  return client.slice(attachedPrefix.length);
}

/** The client of a caller. */
export function clientOf(caller: CallerId): string {
  return caller.split(mark, 1)[0] ?? caller;
}

function nameOf(text: string): string {
  return plainName.test(text) ? text : hashOf(text.slice(0, 10 * nameLimit)).slice(0, 16);
}
