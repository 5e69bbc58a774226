/** Every id that package.json contributes; a test compares the two. */
export const CommandId = {
  newTask: 'codexWorker.newTask',
  cancelTask: 'codexWorker.cancelTask',
  cancelAll: 'codexWorker.cancelAll',
  messageTask: 'codexWorker.messageTask',
  approve: 'codexWorker.approve',
  reject: 'codexWorker.reject',
  decide: 'codexWorker.decide',
  answer: 'codexWorker.answer',
  reviewChanges: 'codexWorker.reviewChanges',
  showRequest: 'codexWorker.showRequest',
  openLog: 'codexWorker.openLog',
  copyTaskId: 'codexWorker.copyTaskId',
  removeTask: 'codexWorker.removeTask',
  removeFinished: 'codexWorker.removeFinished',
  connectClient: 'codexWorker.connectClient',
  restartCodex: 'codexWorker.restartCodex',
  doctor: 'codexWorker.doctor',
  decideCall: 'codexWorker.decideCall',
  openPolicy: 'codexWorker.openPolicy',
  createPolicy: 'codexWorker.createPolicy',
  validatePolicy: 'codexWorker.validatePolicy',
  useNewPolicy: 'codexWorker.useNewPolicy',
  showDecisions: 'codexWorker.showDecisions',
  putOff: 'codexWorker.putOff',
  start: 'codexWorker.start',
} as const;
export type CommandId = (typeof CommandId)[keyof typeof CommandId];

export const SettingId = {
  codexPath: 'codexWorker.codexPath',
  defaultSandbox: 'codexWorker.defaultSandbox',
  defaultApprovalPolicy: 'codexWorker.defaultApprovalPolicy',
  allowFullAccess: 'codexWorker.allowFullAccess',
  agentMayApprove: 'codexWorker.agentMayApprove',
  requestTimeout: 'codexWorker.requestTimeout',
  maxConcurrentTasks: 'codexWorker.maxConcurrentTasks',
  nestedTasks: 'codexWorker.nestedTasks',
  idleTimeout: 'codexWorker.idleTimeout',
  recovery: 'codexWorker.recovery',
  usageLimit: 'codexWorker.usageLimit',
  keepRunning: 'codexWorker.keepRunning',
  notifyRequests: 'codexWorker.notifications.requests',
  notifyFinished: 'codexWorker.notifications.finished',
  allowUnknownModels: 'codexWorker.allowUnknownModels',
  keepFinishedDays: 'codexWorker.keepFinishedDays',
  mcpTransport: 'codexWorker.mcp.transport',
  mcpElicitation: 'codexWorker.mcp.elicitation',
  policyPath: 'codexWorker.policy.path',
} as const;

export const ViewId = { tasks: 'codexWorker.tasks', decisions: 'codexWorker.decisions' } as const;
export const ContainerId = 'codexWorker';
export const McpProviderId = 'codexWorker.server';

/** `contextValue`s of tree items, which the menus in package.json test. */
export const ItemContext = {
  running: 'task.running',
  finished: 'task.finished',
  damaged: 'damaged',
} as const;

/** The end of the `contextValue` of a request and of its task: which answers its menus offer. */
export const RequestContext = { approval: 'approval', patch: 'patch', question: 'question' } as const;
export type RequestContext = (typeof RequestContext)[keyof typeof RequestContext];

/** Documents that show what a request asks: a file before and after a patch, or a text. */
export const requestScheme = 'codex-worker-request';

/** Context keys that the menus in package.json test. */
export const ContextKey = {
  reviewing: 'codexWorker.reviewing',
  demo: 'codexWorker.demo',
  failed: 'codexWorker.failed',
} as const;
