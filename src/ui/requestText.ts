import { describeQuestion } from '../core/describeRequest';
import type { RequestQuestion } from '../core/pendingRequest';
import { movedPath } from '../core/transcript';
import type { AskedTask } from './notices';

/** All of a request as Markdown, whose source the editor shows with its long lines wrapped. */
export function requestText({ task, request }: AskedTask): string {
  const { question } = request;
  const first = describeQuestion(question, task.cwd).split(/[:(]/, 1)[0]?.trim() ?? '';
  const head = `"${task.title}" (${task.id}, ${request.id}) asks to ${first}`;
  const reason = 'reason' in question && question.reason !== null ? [`Reason: ${question.reason}`] : [];
  return [head, ...reason, ...partsOf(question)].join('\n\n') + '\n';
}

function partsOf(question: RequestQuestion): string[] {
  switch (question.type) {
    case 'command_approval':
      return [`Directory: ${question.cwd}`, fenced(question.command)];
    case 'file_approval':
      return question.changes.map((change) => `${change.kind} ${movedPath(change)}\n\n${fenced(change.patch)}`);
    case 'permission_approval':
      return [question.summary.join('\n'), json(question.permissions)];
    case 'user_input':
      return question.questions.map(({ text, options }) =>
        [text, ...options.map(({ label, description }) => `- ${label}: ${description}`)].join('\n'),
      );
    case 'elicitation':
      return [
        `From the MCP server ${question.serverName}: ${question.message}`,
        ...(question.url === null ? [] : [question.url]),
        ...(question.toolCall ? [`${question.toolCall.tool}\n\n${json(question.toolCall.arguments)}`] : []),
        ...(question.schema ? [json(question.schema)] : []),
      ];
    case 'recovery':
      return [question.message];
    case 'dynamic_tool':
      return [`${question.toolName}\n\n${json(question.arguments)}`];
  }
}

function json(value: unknown): string {
  return fenced(JSON.stringify(value, null, 2));
}

function fenced(text: string): string {
  return `\`\`\`\n${text.replace(/\n$/, '')}\n\`\`\``;
}
