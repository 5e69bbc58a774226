import { z } from 'zod';
import type { CallError } from './errors';
import { invalidArgument } from './errors';
import { matchesPattern } from './linearPattern';
import {
  type Answer,
  decisions,
  type InputQuestion,
  type JsonObject,
  isApproval,
  type LastingRule,
  offersSession,
  type RequestQuestion,
} from './pendingRequest';

const answerLength = 100_000;

/** Throws `invalid_argument` with what would be right when an answer does not fit its question. */
export function checkAnswer(question: RequestQuestion, answer: Answer): void {
  switch (answer.kind) {
    case 'decision': {
      checkDecision(question, answer.decision);
      return;
    }
    case 'rule':
      if (!offersRule(question, answer.rule)) throw wrong('rule: Codex does not offer it.', question);
      return;
    case 'input':
      if (question.type !== 'user_input') throw wrong('answers: nothing is asked.', question);
      {
        checkInput(question.questions, answer.answers);
        return;
      }
    case 'form':
      if (question.type !== 'elicitation') throw wrong('action: there is no form.', question);
      if (answer.action === 'accept') checkContent(question.schema, answer.content);
      return;
    case 'tool':
      if (question.type !== 'dynamic_tool') throw wrong('result: no tool was called.', question);
      if (answer.text.length > answerLength) throw tooLong('result');
  }
}

function checkDecision(question: RequestQuestion, decision: (typeof decisions)[number]): void {
  if (decision === 'reject' || decision === 'cancel') return;
  if (!isApproval(question)) throw wrong(`decision: ${decision} is no answer to it.`, question);
  if (decision === 'accept_for_session' && !offersSession(question)) {
    throw wrong('decision: it cannot be accepted for the session.', question);
  }
}

function offersRule(question: RequestQuestion, rule: LastingRule): boolean {
  return 'rules' in question && question.rules.some((one) => JSON.stringify(one) === JSON.stringify(rule));
}

function checkInput(questions: readonly InputQuestion[], answers: Readonly<Record<string, readonly string[]>>): void {
  const ids = questions.map(({ id }) => id);
  const unknown = Object.keys(answers).find((id) => !ids.includes(id));
  if (unknown !== undefined) {
    throw invalidArgument(
      `answers: there is no question "${unknown.slice(0, 100)}".`,
      `Answer with a text for each of: ${ids.map((id) => `"${id}"`).join(', ')}.`,
    );
  }
  // An own property only: an id may be the name of a property that every object has.
  for (const question of questions) {
    checkOne(question, Object.hasOwn(answers, question.id) ? (answers[question.id] ?? []) : []);
  }
}

function checkOne({ id, options, allowFreeform }: InputQuestion, given: readonly string[]): void {
  const labels = options.map(({ label }) => label);
  const choices = labels.map((label) => `"${label}"`).join(', ');
  const allowed = [choices === '' ? '' : `one of ${choices}`, allowFreeform ? 'a text of your own' : ''];
  const hint = `Answer with ${allowed.filter((part) => part !== '').join(', or ')}.`;
  if (given.length === 0 || given.some(isBlank)) {
    throw invalidArgument(`answers.${id}: is empty.`, hint);
  }
  if (given.some((text) => text.length > answerLength)) throw tooLong(`answers.${id}`);
  // The value is not repeated: it may be a secret.
  if (!allowFreeform && given.some((text) => !labels.includes(text))) {
    throw invalidArgument(`answers.${id}: is none of its options.`, hint);
  }
}

/** Also of characters that nobody sees. */
function isBlank(text: string): boolean {
  return text.replaceAll(/[\p{Cf}\p{Cc}\s]/gu, '') === '';
}

function checkContent(schema: JsonObject | null, content: JsonObject | null): void {
  if (schema === null) {
    if (content !== null) throw invalidArgument('content: nothing is asked for.', 'Leave it out.');
    return;
  }
  if (JSON.stringify(content ?? {}).length > answerLength) throw tooLong('content');
  const problems = contentProblems(schema, content ?? {});
  if (problems.length === 0) return;
  throw invalidArgument(problems.slice(0, 5).join('; '), `It must fit this JSON Schema: ${JSON.stringify(schema)}`);
}

function contentProblems(schema: JsonObject, content: JsonObject): string[] {
  // A default of the schema is for a form to show: the server that asks wants the value.
  const required: unknown[] = Array.isArray(schema.required) ? schema.required : [];
  const missing = required.filter((name) => typeof name === 'string' && !Object.hasOwn(content, name)).map(String);
  // Without a prototype: a field may have the name of a property that every object has.
  const parsed = formOf(schema)?.safeParse(Object.assign(Object.create(null), content));
  const misfits = (parsed?.error?.issues ?? []).filter(({ path: [name] }) => !missing.includes(String(name)));
  return [
    ...missing.map((name) => `content.${name}: is missing`),
    ...misfits.map(({ path, message }) => `${['content', ...path.map(String)].join('.')}: ${plain(message)}`),
    ...Object.entries((schema.properties ?? {}) as JsonObject).flatMap(([name, field]) => {
      const value = Object.hasOwn(content, name) ? content[name] : undefined;
      return patternMisfits(field, value).map((problem) => `content.${name}: ${problem}`);
    }),
  ];
}

/** Patterns are checked apart: those of zod are JavaScript's, which a hostile form could make run for ever. */
function patternMisfits(schema: unknown, value: unknown): readonly string[] {
  const { pattern } = (schema ?? {}) as { readonly pattern?: unknown };
  if (typeof pattern !== 'string' || typeof value !== 'string' || matchesPattern(pattern, value)) return [];
  return [`must match ${pattern}`];
}

/** The schema without its patterns. */
function withoutPatterns(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withoutPatterns);
  if (typeof schema !== 'object' || schema === null) return schema;
  const { properties, ...rest } = schema as JsonObject;
  const fields = Object.entries((properties ?? {}) as JsonObject).map(([name, field]) => [
    name,
    withoutPatterns(field),
  ]);
  const others = Object.entries(rest).filter(([key]) => key !== 'pattern' && key !== 'patternProperties');
  const kept = others.map(([key, inner]) => [key, withoutPatterns(inner)] as const);
  return {
    ...Object.fromEntries(kept),
    ...(properties === undefined ? {} : { properties: Object.fromEntries(fields) as object }),
  };
}

/** A message of zod without its beginning. */
function plain(message: string): string {
  return message.replace(/^Invalid input: /, '');
}

/** Undefined for a schema that cannot be read: then the server that made it is the judge. */
function formOf(schema: JsonObject): z.ZodType | undefined {
  try {
    return z.fromJSONSchema(withoutPatterns(schema) as JsonObject);
  } catch {
    return undefined;
  }
}

/** Whether one value fits the schema of one field; the problem in words, or undefined. */
export function fieldProblem(schema: JsonObject, value: unknown): string | undefined {
  const parsed = formOf(schema)?.safeParse(value);
  const [issue] = parsed?.error?.issues ?? [];
  return issue ? plain(issue.message) : patternMisfits(schema, value)[0];
}

function tooLong(field: string): CallError {
  return invalidArgument(`${field}: is longer than ${answerLength} characters.`, 'Say it shorter, or name a file.');
}

function wrong(message: string, question: RequestQuestion): CallError {
  return invalidArgument(message, `Its type is ${question.type}: ${howToAnswer(question)}`);
}

/** What an answer to a question looks like, in the words of respond-task. */
export function howToAnswer(question: RequestQuestion): string {
  switch (question.type) {
    case 'command_approval':
    case 'file_approval':
    case 'permission_approval':
      return `give "decision": ${decisions.join(', ')}.`;
    case 'user_input':
      return `give "answers", with a text for each of: ${question.questions.map(({ id }) => id).join(', ')}; or "decision": reject, cancel.`;
    case 'elicitation':
      return `give "action": accept, decline, cancel${question.schema ? ', and "content" with accept' : ''}.`;
    case 'recovery':
      return 'give "decision": accept, reject, cancel.';
    case 'dynamic_tool':
      return 'give either "result" or "error"; or "decision": reject, cancel.';
  }
}
