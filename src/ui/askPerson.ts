import * as vscode from 'vscode';
import { fieldProblem } from '../core/checkAnswer';
import { plainText } from './plainText';
import { visibleLine } from '../core/describeRequest';
import type { Answer, InputQuestion, JsonObject, RequestQuestion } from '../core/pendingRequest';

/** Asks the person for an answer to a question that is no approval; undefined when the person put it off. */
export async function askPerson(
  question: RequestQuestion,
  title: string,
  token: vscode.CancellationToken,
): Promise<Answer | undefined> {
  switch (question.type) {
    case 'user_input':
      return askQuestions(question.questions, title, token);
    case 'elicitation':
      return question.mode === 'url' ? askToOpen(question, title, token) : askForm(question, title, token);
    case 'dynamic_tool':
      return askResult(question, title, token);
    case 'command_approval':
    case 'file_approval':
    case 'permission_approval':
    case 'recovery':
      return undefined;
  }
}

async function askQuestions(
  questions: readonly InputQuestion[],
  title: string,
  token: vscode.CancellationToken,
): Promise<Answer | undefined> {
  const answers: [string, string[]][] = [];
  for (const [index, question] of questions.entries()) {
    const step = questions.length === 1 ? title : `${title} (${index + 1} of ${questions.length})`;
    const text = await askQuestion(question, step, token);
    if (text === undefined) return undefined;
    answers.push([question.id, [text]]);
  }
  return { kind: 'input', answers: Object.fromEntries(answers) };
}

const another = '$(edit) Another answer…';

async function askQuestion(
  { text, options, allowFreeform, isSecret }: InputQuestion,
  title: string,
  token: vscode.CancellationToken,
): Promise<string | undefined> {
  if (options.length > 0) {
    const items = options.map(({ label, description }) => ({
      label: plainText(visibleLine(label)),
      detail: plainText(visibleLine(description)),
      value: label,
    }));
    const own = allowFreeform ? [{ label: another, detail: '', value: undefined }] : [];
    const picked = await vscode.window.showQuickPick(
      [...items, ...own],
      { title, placeHolder: visibleLine(text), ignoreFocusOut: true },
      token,
    );
    if (!picked) return undefined;
    if (picked.value !== undefined) return picked.value;
  }
  return vscode.window.showInputBox(
    {
      title,
      prompt: visibleLine(text),
      password: isSecret,
      ignoreFocusOut: true,
      validateInput: (value) => (value.trim() === '' ? 'Type an answer, or press Escape to answer later.' : undefined),
    },
    token,
  );
}

async function askToOpen(
  question: RequestQuestion & { type: 'elicitation' },
  title: string,
  token: vscode.CancellationToken,
): Promise<Answer | undefined> {
  const url = question.url ?? '';
  const open = { label: '$(link-external) Open the page', detail: plainText(visibleLine(url)) };
  const decline = { label: '$(close) Decline', detail: 'Nothing is opened.' };
  const options = { title, placeHolder: whoAsks(question), ignoreFocusOut: true };
  const picked = await vscode.window.showQuickPick([open, decline], options, token);
  if (picked === decline) return { kind: 'form', action: 'decline', content: null };
  if (picked !== open) return undefined;
  if (!/^https?:\/\//i.test(url)) {
    void vscode.window.showErrorMessage('Only web pages can be opened; this is none. Decline it, or answer later.');
    return undefined;
  }
  // As text: a `Uri` is opened with other escapes than it was given, which breaks a login (seen in the source of 1.139).
  const opened = await vscode.env.openExternal(url as unknown as vscode.Uri);
  return opened ? { kind: 'form', action: 'accept', content: null } : undefined;
}

async function askForm(
  question: RequestQuestion & { type: 'elicitation' },
  title: string,
  token: vscode.CancellationToken,
): Promise<Answer | undefined> {
  const fields = formFields(question.schema ?? {});
  const content: [string, unknown][] = [];
  for (const field of fields) {
    const value = await askField(field, whoAsks(question), token);
    if (value === undefined) return undefined;
    if (value !== leftOut) content.push([field.name, value]);
  }
  if (fields.length === 0) {
    const send = { label: '$(check) Accept', detail: plainText(whoAsks(question)) };
    const decline = { label: '$(close) Decline', detail: '' };
    const picked = await vscode.window.showQuickPick([send, decline], { title, ignoreFocusOut: true }, token);
    if (!picked) return undefined;
    return { kind: 'form', action: picked === send ? 'accept' : 'decline', content: picked === send ? {} : null };
  }
  return { kind: 'form', action: 'accept', content: Object.fromEntries(content) };
}

/** A person has to see who wants to know. */
function whoAsks({ serverName, message }: RequestQuestion & { type: 'elicitation' }): string {
  return `${visibleLine(serverName)} asks: ${visibleLine(message)}`;
}

interface FormField {
  readonly name: string;
  readonly label: string;
  readonly schema: JsonObject;
  readonly required: boolean;
}

const leftOut = Symbol('left out');

function formFields({ properties, required }: JsonObject): FormField[] {
  const needed = Array.isArray(required) ? required : [];
  return Object.entries((properties ?? {}) as Readonly<Record<string, JsonObject>>).map(([name, schema]) => ({
    name,
    schema,
    label: visibleLine(
      [schema.title ?? name, schema.description].filter((part) => typeof part === 'string').join(': '),
    ),
    required: needed.includes(name),
  }));
}

/** Undefined when the person put the whole form off. */
async function askField(field: FormField, title: string, token: vscode.CancellationToken): Promise<unknown> {
  const choices = choicesOf(field.schema);
  return choices ? pickChoice(field, choices, title, token) : typeValue(field, title, token);
}

interface FieldChoice {
  readonly label: string;
  readonly value: unknown;
}

/** The values that the schema of a field allows, with their titles; undefined for a field to type into. */
function choicesOf(schema: JsonObject): FieldChoice[] | undefined {
  const { type, items } = schema;
  if (type === 'boolean')
    return [
      { label: 'Yes', value: true },
      { label: 'No', value: false },
    ];
  const source = (type === 'array' ? items : schema) as JsonObject | undefined;
  const titled = source?.oneOf ?? source?.anyOf;
  if (Array.isArray(titled)) {
    return (titled as JsonObject[]).map((one) => ({ label: nameOf(one.title ?? one.const), value: one.const }));
  }
  const { enum: values, enumNames: names } = source ?? {};
  if (!Array.isArray(values)) return undefined;
  const labels = Array.isArray(names) ? names : [];
  return values.map((value: unknown, index) => ({ label: nameOf(labels[index] ?? value), value }));
}

function nameOf(value: unknown): string {
  return plainText(visibleLine(typeof value === 'string' ? value : JSON.stringify(value)));
}

async function pickChoice(
  { schema, label, required }: FormField,
  choices: readonly FieldChoice[],
  title: string,
  token: vscode.CancellationToken,
): Promise<unknown> {
  const options = { title, placeHolder: label, ignoreFocusOut: true };
  if (schema.type === 'array') {
    const picked = await vscode.window.showQuickPick([...choices], { ...options, canPickMany: true }, token);
    return picked?.map(({ value }) => value);
  }
  const none = required ? [] : [{ label: '(leave it out)', value: leftOut }];
  return (await vscode.window.showQuickPick([...choices, ...none], options, token))?.value;
}

async function typeValue(
  { schema, label, required }: FormField,
  title: string,
  token: vscode.CancellationToken,
): Promise<unknown> {
  const valueOf = (text: string): unknown => {
    if (text === '' && !required) return leftOut;
    return schema.type === 'number' || schema.type === 'integer' ? Number(text.trim() === '' ? NaN : text) : text;
  };
  const text = await vscode.window.showInputBox(
    {
      title,
      prompt: required ? label : `${label} (may be left empty)`,
      value: typeof schema.default === 'string' || typeof schema.default === 'number' ? String(schema.default) : '',
      ignoreFocusOut: true,
      validateInput: (typed) => {
        const value = valueOf(typed);
        return value === leftOut ? undefined : fieldProblem(schema, value);
      },
    },
    token,
  );
  return text === undefined ? undefined : valueOf(text);
}

async function askResult(
  { toolName, arguments: args }: RequestQuestion & { type: 'dynamic_tool' },
  title: string,
  token: vscode.CancellationToken,
): Promise<Answer | undefined> {
  const prompt = `What does ${visibleLine(toolName)} give for ${visibleLine(JSON.stringify(args)).slice(0, 300)}?`;
  const text = await vscode.window.showInputBox({ title, prompt, ignoreFocusOut: true }, token);
  return text === undefined ? undefined : { kind: 'tool', success: true, text };
}
