import type { ApprovalPolicy, Sandbox } from '../core/ports';

/** How freely a task works, in words that a person understands. */
export interface ApprovalProfile {
  readonly label: string;
  readonly detail: string;
  readonly approvalPolicy: ApprovalPolicy;
  /** Undefined: the default. */
  readonly sandbox: Sandbox | undefined;
  /** Has to be confirmed each time. */
  readonly dangerous: boolean;
}

export const profiles: readonly ApprovalProfile[] = [
  {
    label: 'Ask',
    detail: 'Asks before every command and change. What you accept stays in the sandbox.',
    approvalPolicy: 'untrusted',
    sandbox: undefined,
    dangerous: false,
  },
  {
    label: 'Ask when it leaves the sandbox',
    detail: 'Works freely inside its sandbox, and asks before it leaves it.',
    approvalPolicy: 'on-request',
    sandbox: undefined,
    dangerous: false,
  },
  {
    label: 'Never ask',
    detail: 'Never asks; what the sandbox forbids fails.',
    approvalPolicy: 'never',
    sandbox: undefined,
    dangerous: false,
  },
  {
    label: 'Full access',
    detail: 'No sandbox and no questions: it can change or delete anything that you can.',
    approvalPolicy: 'never',
    sandbox: 'danger-full-access',
    dangerous: true,
  },
];

/** The profile that a task's values come to. */
export function profileOf(sandbox: Sandbox, policy: ApprovalPolicy): string {
  const own = profiles.find((one) => one.sandbox === undefined && one.approvalPolicy === policy);
  if (sandbox !== 'danger-full-access') return own?.label ?? policy;
  return policy === 'untrusted' ? 'Ask, without a sandbox' : 'Full access';
}
