import type { ElicitRequestFormParams, ElicitResult } from '@modelcontextprotocol/sdk/types.js';
import { beginningOf } from '../base/wellFormed';
import { describeQuestion, visibleLine, visibleText } from '../core/describeRequest';
import {
  type Answer,
  type Decision,
  decisions,
  type InputQuestion,
  isApproval,
  offersSession,
  type PendingRequest,
  type RequestQuestion,
} from '../core/pendingRequest';
import { movedPath } from '../core/transcript';
import type { TaskSnapshot } from '../core/taskSnapshot';

/** How a pending request is put to the person behind a caller, and what the person's reply says. */
export interface ElicitationForm {
  readonly params: ElicitRequestFormParams;
  /** Undefined when the person put the question off: it stays open for everybody. */
  readonly answerOf: (result: ElicitResult) => Answer | undefined;
}

type Schema = ElicitRequestFormParams['requestedSchema'];
const patchCharacters = 4_000;

/**
 * Undefined for what a form of the caller's client must not or cannot ask: secrets (MCP forbids it), tools, pages to open.
 */
export function elicitationForm(task: TaskSnapshot, { question }: PendingRequest): ElicitationForm | undefined {
  const message = `Codex task "${visibleLine(task.title)}" (${task.id}) asks to ${describeQuestion(question, task.cwd)}`;
  if (isApproval(question)) {
    const text = [message, ...approvalFacts(question)].join('\n\n');
    return { params: { message: text, requestedSchema: decisionSchema(question) }, answerOf: decisionAnswer };
  }
  if (question.type === 'user_input' && !question.questions.some(({ isSecret }) => isSecret)) {
    const { questions } = question;
    return {
      params: { message, requestedSchema: inputSchema(questions) },
      answerOf: (result) =>
        whenAccepted(result, (content) => ({ kind: 'input', answers: inputAnswers(questions, content) })),
    };
  }
  if (question.type === 'elicitation' && question.schema !== null) {
    return {
      params: { message, requestedSchema: question.schema as Schema },
      answerOf: (result) => whenAccepted(result, (content) => ({ kind: 'form', action: 'accept', content })),
    };
  }
  return undefined;
}

/** What a person needs to see of an approval beside its one line. */
function approvalFacts(question: RequestQuestion): string[] {
  const where = question.type === 'command_approval' ? [`In ${visibleLine(question.cwd)}`] : [];
  const reason = [
    ...where,
    ...('reason' in question && question.reason !== null ? [visibleText(question.reason)] : []),
  ];
  const changes = question.type === 'file_approval' ? question.changes : [];
  const patches = changes
    .map((change) => visibleText(`${change.kind} ${movedPath(change)}\n${change.patch}`))
    .join('\n\n');
  if (patches.length <= patchCharacters) return [...reason, ...(patches === '' ? [] : [patches])];
  return [...reason, `${beginningOf(patches, patchCharacters)}…`, 'The patch goes on: see all of it in the editor.'];
}

const decisionNames: Readonly<Record<Decision, string>> = {
  accept: 'Approve',
  accept_for_session: 'Approve for this session',
  reject: 'Reject, the turn goes on',
  cancel: 'Reject and end the turn',
};

function decisionSchema(question: RequestQuestion): Schema {
  const offered = decisions.filter((decision) => decision !== 'accept_for_session' || offersSession(question));
  const enumNames = offered.map((decision) => decisionNames[decision]);
  return {
    type: 'object',
    properties: { decision: { type: 'string', title: 'Decision', enum: offered, enumNames } },
    required: ['decision'],
  };
}

function decisionAnswer(result: ElicitResult): Answer | undefined {
  return whenAccepted(result, (content) => {
    const decision = decisions.find((one) => one === content.decision);
    return decision && { kind: 'decision', decision };
  });
}

/** Names of the fields of the n-th question: its answer, and a text of one's own beside its options. */
const fieldName = (index: number): string => `answer${index + 1}`;
const ownFieldName = (index: number): string => `other${index + 1}`;

function inputSchema(questions: readonly InputQuestion[]): Schema {
  const fields = questions.flatMap(({ header, text, options, allowFreeform }, index): [string, object][] => {
    const field = { type: 'string', title: header, description: text };
    if (options.length === 0) return [[fieldName(index), { ...field, minLength: 1 }]];
    const choice: [string, object] = [fieldName(index), { ...field, enum: options.map(({ label }) => label) }];
    const own: [string, object] = [ownFieldName(index), { type: 'string', title: `${header}: another answer` }];
    return allowFreeform ? [choice, own] : [choice];
  });
  const needed = questions.flatMap(({ options, allowFreeform }, index) =>
    allowFreeform && options.length > 0 ? [] : [fieldName(index)],
  );
  return { type: 'object', properties: Object.fromEntries(fields) as Schema['properties'], required: needed };
}

function inputAnswers(
  questions: readonly InputQuestion[],
  content: Readonly<Record<string, unknown>>,
): Record<string, string[]> {
  const given = (name: string): string[] => {
    const value = content[name];
    return typeof value === 'string' && value !== '' ? [value] : [];
  };
  const answers = questions.map(({ id }, index): [string, string[]] => {
    // A text of one's own says more than the option beside it.
    const own = given(ownFieldName(index));
    return [id, own.length > 0 ? own : given(fieldName(index))];
  });
  return Object.fromEntries(answers);
}

/** Declining the form declines the request; dismissing it leaves the request to others. */
function whenAccepted(
  { action, content }: ElicitResult,
  accepted: (content: Readonly<Record<string, unknown>>) => Answer | undefined,
): Answer | undefined {
  if (action === 'accept') return accepted(content ?? {});
  return action === 'decline' ? { kind: 'decision', decision: 'reject' } : undefined;
}
