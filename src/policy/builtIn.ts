import type { Policy } from './policy';
import { readPolicy } from './readPolicy';

/** How much harm a tool can do, as it is shown beside its rules. */
export const risks: Readonly<Record<string, string>> = {
  'cancel-task': 'destructive, critical: running work is lost',
  'spawn-task': 'execute, high: runs commands and changes files',
  'respond-task': 'execute, high: accepts what a task asks',
  'message-task': 'write, medium: changes what a task does',
  'wait-task': 'read, low: only listens',
};

/** What holds when there is no file. */
export const builtInText = `version: "1"
description: What holds without a policy file
tools:
  cancel-task:
    rules:
      - name: tasks of others
        action: require_approval
        reason: It would cancel a task that this caller did not start.
        conditions:
          - { path: task.spawned_by_caller, op: eq, value: false, any: true }
      - name: cancel-task limit
        rate_limit: 10/minute
  spawn-task:
    rules:
      - name: spawn-task limit
        rate_limit: 30/minute
  message-task:
    rules:
      - name: message-task limit
        rate_limit: 30/minute
  respond-task:
    rules:
      - name: respond-task limit
        rate_limit: 30/minute
`;

/** A commented file to begin with. */
export const scaffoldText = `# What agents may do without a person: the tools of Codex Worker, and what Codex does inside a task.
# It never limits the person at the editor. "Codex Worker: Validate Policy", or
# "mcp-codex-worker policy validate FILE", says what is wrong with it.
version: "1"
description: My policy

# What holds for tools that are not named below: allow or deny.
default: allow
# hide: [cancel-task]            # out of tools/list, and refused when called
# approvals: { timeout: 10m }    # how long an approval may wait

tools:
  # ${risks['cancel-task'] ?? ''}
  cancel-task:
    rules:
      - name: tasks of others
        action: require_approval
        reason: It would cancel a task that this caller did not start.
        conditions:
          - { path: task.spawned_by_caller, op: eq, value: false, any: true }
      - rate_limit: 10/minute

  # ${risks['spawn-task'] ?? ''}
  spawn-task:
    rules:
      - rate_limit: 30/minute
      - name: no full access
        action: deny
        reason: Full access is for people.
        conditions:
          - { path: args.sandbox, op: eq, value: danger-full-access }

  # ${risks['respond-task'] ?? ''}
  respond-task:
    rules:
      - rate_limit: 30/minute

  # ${risks['message-task'] ?? ''}
  message-task:
    rules:
      - rate_limit: 30/minute

  # ${risks['wait-task'] ?? ''}
  # Waiting is how an agent listens: a limit here makes it poll.
  wait-task:
    rules: []

  # Inside a task. With any of these rules everything that Codex does in a task is judged. A change below .codex, .codex-worker
  # or .git goes to you whatever the rules say. Remove the "# " to use them.
  # codex/command:
  #   rules:
  #     - name: not understood
  #       action: require_approval
  #       reason: It cannot be told what this command runs.
  #       conditions: [{ path: args.unparsed, op: eq, value: true }]
  #     - name: reading
  #       action: allow
  #       conditions: [{ path: args.programs, op: in, value: [ls, cat, head, tail, wc, pwd, echo, grep] }]
  #     - name: tests
  #       action: allow
  #       conditions: [{ path: args.command, op: in, value: [npm test, npm run lint] }]
  # codex/file-change:
  #   rules:
  #     - name: files that run something
  #       action: require_approval
  #       reason: An editor, a shell or an agent does what stands in it.
  #       conditions:
  #         - path: args.paths
  #           op: glob
  #           value: ['**/.vscode/**', '**/.envrc', '**/AGENTS.md', '**/.github/**', '**/package.json', '**/Makefile']
  #     - name: sources
  #       action: allow
  #       conditions: [{ path: args.paths, op: under, value: [src, test] }]
`;

export const builtIn: Policy = policyOf(builtInText);

/** The policy of a text that is known to be right. */
export function policyOf(text: string): Policy {
  const { policy, mistakes } = readPolicy(text);
  if (policy) return policy;
  throw new Error(`This policy is wrong: ${mistakes[0]?.message ?? ''}`);
}
