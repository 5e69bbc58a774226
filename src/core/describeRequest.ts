import { firstLine } from './boundedText';
import type { FileChange } from './taskEvent';
import type { Answer, Answerer, Decision, LastingRule, RequestQuestion } from './pendingRequest';

/** Characters that reorder, hide or fake what a person reads: controls, formats, line ends, blanks that look like none. */
const misleading = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\u115f\u1160\u2800\u3164\uffa0]/gu;

/** The text on one line, with everything that could mislead made visible. */
export function visibleLine(text: string): string {
  return text
    .replaceAll(/\r?\n/g, ' ⏎ ')
    .replaceAll('\t', ' ')
    .replaceAll(misleading, (character) => `\\u{${character.codePointAt(0)?.toString(16) ?? ''}}`);
}

/** The same for a text of several lines. */
export function visibleText(text: string): string {
  return text
    .split(/(\r?\n|\t)/)
    .map((part, index) => (index % 2 === 0 ? visibleLine(part) : part))
    .join('');
}

/** One line that tells a person what is asked, after "asks to": all of a command. Paths are relative to `cwd`. */
export function describeQuestion(question: RequestQuestion, cwd: string): string {
  switch (question.type) {
    case 'command_approval':
      return question.command === '' ? 'go beyond its sandbox' : `run: ${visibleLine(question.command)}`;
    case 'file_approval':
      return `change ${question.changes.map((change) => changedPath(change, cwd)).join(', ') || 'files that it does not name'}`;
    case 'permission_approval':
      return `be permitted: ${question.summary.map(visibleLine).join(', ')}`;
    case 'user_input':
      return `know: ${question.questions.map((one) => visibleLine(one.text)).join(' / ')}`;
    case 'elicitation': {
      const server = visibleLine(question.serverName);
      if (question.toolCall) {
        const { tool, arguments: args } = question.toolCall;
        return `use the tool ${visibleLine(tool)} of ${server} with ${visibleLine(JSON.stringify(args))}`;
      }
      const what = question.mode === 'url' ? 'open a page' : 'fill in a form';
      return `${what} for ${server}: ${visibleLine(question.message)}`;
    }
    case 'recovery':
      return `go on: ${visibleLine(question.message)}`;
    case 'dynamic_tool':
      return `have ${visibleLine(question.toolName)} run with ${visibleLine(JSON.stringify(question.arguments))}`;
  }
}

function changedPath({ path, movedTo }: FileChange, cwd: string): string {
  const shown = [path, movedTo].filter((one) => one !== undefined).map((one) => visibleLine(relativePath(one, cwd)));
  return shown.join(' → ');
}

/** A path below a directory as the path from there, any other as it is. */
export function relativePath(path: string, cwd: string): string {
  const rest = path.startsWith(cwd) ? path.slice(cwd.length) : '';
  return /^[\\/]./.test(rest) ? rest.slice(1) : path;
}

/** What a lasting rule allows, for a person who is about to make it. */
export function describeRule(rule: LastingRule): string {
  switch (rule.kind) {
    case 'command':
      return `every command that begins with "${visibleLine(rule.prefix.join(' '))}"`;
    case 'network':
      return `the network host ${visibleLine(rule.host)}`;
    case 'tool':
      return `every call of the tool ${visibleLine(rule.tool)} of ${visibleLine(rule.server)}`;
  }
}

const decisionWords: Readonly<Record<Decision, string>> = {
  accept: 'accepted',
  accept_for_session: 'accepted for this session',
  reject: 'declined',
  cancel: 'declined, and its turn ended',
};

const outcomeCharacters = 500;

/** The past form that logs and people read. Answers to a question are in it, unless they are secret. */
export function describeAnswer(question: RequestQuestion, answer: Answer): string {
  switch (answer.kind) {
    case 'decision':
      return decisionWords[answer.decision];
    case 'rule': {
      const verb = answer.rule.kind === 'network' && answer.rule.access === 'deny' ? 'forbidden' : 'allowed';
      return `${verb} for good: ${describeRule(answer.rule)}`;
    }
    case 'input':
      return `answered: ${inputAnswers(question, answer)}`;
    case 'form': {
      if (answer.action !== 'accept') return answer.action === 'decline' ? 'declined' : 'dismissed';
      const fields = Object.keys(answer.content ?? {}).map(visibleLine);
      return fields.length === 0 ? 'accepted' : firstLine(`accepted with ${fields.join(', ')}`, outcomeCharacters);
    }
    case 'tool':
      return answer.success ? 'answered with a result' : 'answered with an error';
  }
}

function inputAnswers(question: RequestQuestion, { answers }: Answer & { kind: 'input' }): string {
  const questions = question.type === 'user_input' ? question.questions : [];
  return questions
    .map(({ id, header, isSecret }) => {
      const text = isSecret ? '(secret)' : firstLine(visibleLine((answers[id] ?? []).join(', ')), 200);
      return `${visibleLine(header)}: ${text}`;
    })
    .join('; ');
}

/** Who answered, in words. */
export function describeAnswerer(by: Answerer): string {
  switch (by) {
    case 'person':
    case 'agent':
    case 'policy':
      return `by the ${by}`;
    case 'timeout':
      return 'by its time limit';
    case 'stop':
      return 'by the end of its turn';
    case 'codex':
      return 'by Codex';
  }
}
