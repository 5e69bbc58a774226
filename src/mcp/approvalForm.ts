import type { ApprovalChoice, ApprovalQuestion, GatedCall } from '../core/toolGate';
import { cut } from './fit';
import type { Elicit } from './tools/tool';
import { scoreboardUri } from './uris';

const labels: Readonly<Record<ApprovalChoice, string>> = {
  once: 'Allow once',
  session: 'Allow for this session',
  deny: 'Deny',
};

/** Asks the person behind a caller, by MCP elicitation, whether a call may run. What is no clear yes is a no. */
export function askToApprove(elicit: Elicit): NonNullable<GatedCall['ask']> {
  return async (question, signal) => {
    const choices = Object.values(labels);
    const schema = { type: 'string', title: 'May it run?', enum: choices } as const;
    const requestedSchema = { type: 'object', properties: { answer: schema }, required: ['answer'] } as const;
    const timeoutMs = Math.max(1, question.expiresAt - Date.now());
    const params = { message: messageOf(question), requestedSchema: { ...requestedSchema, required: ['answer'] } };
    const { action, content } = await elicit(params, { signal, timeoutMs });
    const chosen = (Object.keys(labels) as ApprovalChoice[]).find((choice) => labels[choice] === content?.answer);
    return action === 'accept' && chosen ? chosen : 'deny';
  };
}

function messageOf({ tool, args, rule, reason }: ApprovalQuestion): string {
  const text = cut(JSON.stringify(args), 2_000, scoreboardUri);
  return `${reason} Rule "${rule}" wants your approval for ${tool} with ${text}.`;
}
