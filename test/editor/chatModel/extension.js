// A deterministic chat model for Copilot's real agent loop. `call <part of a tool's name> <json>` calls that tool; each
// further line of the prompt is the next call, with {{path}} taken from the last tool result's JSON. After the last line
// the model answers with the last result.
const vscode = require('vscode');

const valueAt = (value, path) => path.split('.').reduce((part, key) => part?.[key], value);

function scriptOf(messages) {
  const texts = messages
    .filter((message) => message.role === vscode.LanguageModelChatMessageRole.User)
    .flatMap((message) => message.content.map((part) => part.value))
    .filter((value) => typeof value === 'string');
  const script = texts.findLast((text) => /call \S+ \{/.test(text)) ?? '';
  return [...script.matchAll(/call (\S+) (\{.*\})/g)].map(([, tool, json]) => ({ tool, json }));
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

function respond(messages, options, progress) {
  const results = messages
    .flatMap((message) => message.content)
    .filter((part) => part instanceof vscode.LanguageModelToolResultPart);
  const last =
    results
      .at(-1)
      ?.content.map((part) => part.value ?? '')
      .join('') ?? '';
  const step = scriptOf(messages)[results.length];
  const say = (text) => progress.report(new vscode.LanguageModelTextPart(text));
  if (!step) return say(`ANSWER ${last}`);
  const tool = (options.tools ?? []).find(({ name }) => name.includes(step.tool));
  if (!tool) return say(`NO TOOL ${step.tool}`);
  const json = step.json.replace(/\{\{([\w.]+)\}\}/g, (_all, path) => String(valueAt(parse(last), path) ?? ''));
  progress.report(new vscode.LanguageModelToolCallPart(`call-${Date.now()}`, tool.name, JSON.parse(json)));
}

/** Asks Copilot's agent what stands in the environment variable LAB_QUERY. */
function ask() {
  return vscode.commands.executeCommand('workbench.action.chat.open', {
    query: process.env.LAB_QUERY,
    mode: 'agent',
    modelSelector: { vendor: 'lab' },
  });
}

exports.activate = (context) => {
  context.subscriptions.push(vscode.commands.registerCommand('lab.ask', ask));
  const model = {
    id: 'lab-1',
    name: 'Lab 1',
    family: 'lab',
    version: '1',
    maxInputTokens: 100_000,
    maxOutputTokens: 8_000,
    capabilities: { toolCalling: true },
    isUserSelectable: true,
  };
  context.subscriptions.push(
    vscode.lm.registerLanguageModelChatProvider('lab', {
      provideLanguageModelChatInformation: () => [model],
      provideTokenCount: (_model, text) =>
        Math.ceil((typeof text === 'string' ? text : JSON.stringify(text)).length / 4),
      provideLanguageModelChatResponse: (_model, messages, options, progress) => respond(messages, options, progress),
    }),
  );
};
