import { redact, redactJson } from '../base/redaction';
import { hashOf } from './hash';
import type { Answer, InputQuestion, RequestQuestion } from './pendingRequest';

/**
 * A question as people, agents and files get it: without secrets. Rules judge the question itself, and Codex is answered as
 * if all of it had been shown. Places, addresses to open and forms stay as they are: without them nobody could answer.
 */
export function shownQuestion(question: RequestQuestion): RequestQuestion {
  switch (question.type) {
    case 'command_approval':
      return {
        ...question,
        command: redact(question.command),
        reason: redactNullable(question.reason),
        rules: redactJson(question.rules),
      };
    case 'file_approval':
      return {
        ...question,
        changes: question.changes.map((change) => ({ ...change, patch: redact(change.patch) })),
        reason: redactNullable(question.reason),
      };
    case 'permission_approval':
      return { ...question, reason: redactNullable(question.reason) };
    case 'user_input':
      return { ...question, questions: question.questions.map(shownInput) };
    case 'elicitation': {
      const { message, toolCall } = question;
      return { ...question, message: redact(message), toolCall: toolCall && redactJson(toolCall) };
    }
    case 'dynamic_tool':
      return { ...question, arguments: redactJson(question.arguments) };
    case 'recovery':
      return question;
  }
}

/** The answer as it is meant: an option or a rule that was shown without its secret is the one that Codex offered. */
export function meantAnswer(question: RequestQuestion, answer: Answer): Answer {
  if (answer.kind === 'rule' && 'rules' in question) {
    const wanted = hashOf(answer.rule);
    return { ...answer, rule: question.rules.find((rule) => hashOf(redactJson(rule)) === wanted) ?? answer.rule };
  }
  if (question.type !== 'user_input' || answer.kind !== 'input') return answer;
  const meant = Object.entries(answer.answers).map(([id, texts]) => {
    const options = question.questions.find((one) => one.id === id)?.options ?? [];
    const labels = shownLabels(options);
    const offered = (text: string): string => options[labels.indexOf(text)]?.label ?? text;
    return [id, texts.map(offered)] as const;
  });
  return { ...answer, answers: Object.fromEntries(meant) };
}

function shownInput(question: InputQuestion): InputQuestion {
  const { header, text, options } = question;
  return {
    ...question,
    header: redact(header),
    text: redact(text),
    options: options.map(({ description }, index) => ({
      label: shownLabels(options)[index] ?? '',
      description: redact(description),
    })),
  };
}

/** The labels as they are shown: two that differ in a secret only stay two. */
function shownLabels(options: InputQuestion['options']): readonly string[] {
  const shown: string[] = [];
  for (const { label } of options) {
    const text = redact(label);
    const isTaken = text !== label && shown.includes(text);
    shown.push(isTaken ? `${text} (${shown.length + 1})` : text);
  }
  return shown;
}

function redactNullable(text: string | null): string | null {
  return text === null ? null : redact(text);
}
