import { plainText } from './plainText';
import { describeRule } from '../core/describeRequest';
import { type Answer, isApproval, offersSession, type RequestQuestion } from '../core/pendingRequest';

/** One thing that a person can decide about a request. */
export interface Choice {
  readonly label: string;
  readonly detail: string;
  /** `ask`: the answer has to be asked for first; `show`: the person wants to see all of the question. */
  readonly answer: Answer | 'ask' | 'show';
  /** A question to confirm first, because the choice outlives the task. */
  readonly confirm?: string;
}

/** Characters that surely fit into the box above the choices. */
const boxCharacters = 80;

/** Everything that Codex takes as an answer, the usual first; before it all of the question when its line is long. */
export function choicesOf(question: RequestQuestion, line: string): Choice[] {
  if (question.type === 'recovery') return recoveryChoices;
  const show: Choice = { label: '$(eye) Show all of it', detail: plainText(line), answer: 'show' };
  return [
    ...(line.length > boxCharacters ? [show] : []),
    ...(isApproval(question) ? acceptChoices(question) : [answerChoice(question)]),
    ...refusals(question),
  ];
}

const recoveryChoices: Choice[] = [
  { label: '$(check) Go on', detail: '', answer: { kind: 'decision', decision: 'accept' } },
  { label: '$(close) Give up', detail: 'The task fails.', answer: { kind: 'decision', decision: 'reject' } },
  { label: '$(debug-stop) Cancel the task', detail: '', answer: { kind: 'decision', decision: 'cancel' } },
];

function acceptChoices(question: RequestQuestion): Choice[] {
  const once: Choice = {
    label: '$(check) Approve',
    detail: 'This once.',
    answer: { kind: 'decision', decision: 'accept' },
  };
  const session: Choice = {
    label: '$(check-all) Approve for this session',
    detail: sessionMeaning(question),
    answer: { kind: 'decision', decision: 'accept_for_session' },
  };
  const rules = 'rules' in question ? question.rules : [];
  return [
    once,
    ...(offersSession(question) ? [session] : []),
    ...rules.map((rule): Choice => {
      const forbids = rule.kind === 'network' && rule.access === 'deny';
      const what = describeRule(rule);
      return {
        label: `$(${forbids ? 'circle-slash' : 'verified'}) Always ${forbids ? 'forbid' : 'allow'} ${plainText(what)}`,
        detail: 'Changes your Codex configuration, for every task and every other use of Codex.',
        answer: { kind: 'rule', rule },
        confirm: `Always ${forbids ? 'forbid' : 'allow'} ${what}, in your Codex configuration?`,
      };
    }),
  ];
}

/** What Codex does with "for this session" (seen with 0.169.0). */
function sessionMeaning(question: RequestQuestion): string {
  switch (question.type) {
    case 'command_approval':
      return 'This exact command, as often as this task runs it.';
    case 'file_approval':
      return 'These files, whatever this task does to them.';
    case 'permission_approval':
      return 'For all turns of this task.';
    case 'elicitation':
      return 'This tool, as often as this task calls it.';
    case 'user_input':
    case 'dynamic_tool':
    case 'recovery':
      return '';
  }
}

function answerChoice(question: RequestQuestion): Choice {
  const labels = {
    user_input: '$(reply) Answer…',
    elicitation:
      question.type === 'elicitation' && question.mode === 'url'
        ? '$(link-external) Open the page…'
        : '$(edit) Fill in…',
    dynamic_tool: '$(reply) Give the result…',
  } as const;
  const label = question.type in labels ? labels[question.type as keyof typeof labels] : '$(reply) Answer…';
  return { label, detail: '', answer: 'ask' };
}

function refusals(question: RequestQuestion): Choice[] {
  const approval = isApproval(question);
  return [
    {
      label: approval ? '$(close) Reject' : '$(close) Decline to answer',
      detail: 'The task goes on without it.',
      answer: { kind: 'decision', decision: 'reject' },
    },
    {
      label: approval ? '$(debug-stop) Reject and stop' : '$(debug-stop) Decline and stop',
      detail: 'The turn of the task ends too.',
      answer: { kind: 'decision', decision: 'cancel' },
    },
  ];
}
