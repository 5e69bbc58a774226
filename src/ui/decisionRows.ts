import { visibleLine } from '../core/describeRequest';
import type { ApprovalQuestion } from '../core/toolGate';
import { formatClock } from '../core/transcript';
import type { AuditLine } from '../worker';
import { plainText } from './plainText';
import type { Icon } from './taskView';

/** One decision of the policy, or act of the person, as the list shows it: pure, so that it can be tested by itself. */
export interface DecisionRow {
  readonly label: string;
  readonly description: string;
  readonly icon: Icon;
  readonly tooltip: string;
}

const icons: Readonly<Record<string, Icon>> = {
  allowed: { id: 'pass', color: 'testing.iconPassed' },
  denied: { id: 'circle-slash', color: 'list.errorForeground' },
  asked: { id: 'question', color: 'list.warningForeground' },
  malformed: { id: 'warning', color: 'list.warningForeground' },
  person: { id: 'account' },
  attached: { id: 'plug' },
};

/** A call that waits for the person, above what was decided. */
export function waitingRow({ client, caller, tool, args, rule, reason }: ApprovalQuestion): DecisionRow {
  const who = visibleLine(client ?? caller);
  return {
    label: plainText(visibleLine(tool)),
    description: plainText(`waits for you · ${who} · rule "${visibleLine(rule)}"`),
    icon: { id: 'bell-dot', color: 'list.warningForeground' },
    tooltip: `${who} wants to call ${tool} ${visibleLine(JSON.stringify(args))}\n${visibleLine(reason)}`,
  };
}

export function decisionRow({ t, tool, decision, rule, by, caller, client, tasks }: AuditLine): DecisionRow {
  const what = visibleLine(decision === 'attached' ? caller : tool);
  const who = decision === 'person' ? 'you' : visibleLine(client ?? caller);
  const facts = [
    decision === 'attached' ? 'works through this window' : (by ?? ''),
    formatClock(t),
    rule === null ? '' : `rule "${rule}"`,
    tasks.join(', '),
  ];
  const tooltip = [
    `${decision === 'person' ? 'done by you' : decision}: ${what}`,
    rule === null ? '' : `Rule: ${rule}`,
    by === null ? '' : `Decided by: ${by}`,
    tasks.length === 0 ? '' : `Tasks: ${tasks.join(', ')}`,
    `Caller: ${who}`,
    new Date(t).toLocaleString(),
  ];
  return {
    label: plainText(what),
    description: plainText(facts.filter((part) => part !== '').join(' · ')),
    icon: icons[decision] ?? { id: 'question' },
    tooltip: tooltip.filter((line) => line !== '').join('\n'),
  };
}
