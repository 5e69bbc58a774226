// A `codex app-server` that asks what the real one of today does not: each turn asks what its input says, a JSON array of
// {method, params}, and answers with a message that holds the replies.
import { createInterface } from 'node:readline';

const [command] = process.argv.slice(2);
if (command === '--version') {
  process.stdout.write('codex-cli 0.169.0\n');
  process.exit();
}

// A question with `notify` is told and not asked.
const turnId = 'turn-1';
let threads = 0;
const waiting = new Map();
let nextId = 0;
const send = (message) => void process.stdout.write(`${JSON.stringify(message)}\n`);

function ask(threadId, { method, params }) {
  const id = nextId++;
  send({ id, method, params: { threadId, conversationId: threadId, turnId, ...params } });
  return new Promise((resolve) => waiting.set(id, resolve));
}

async function turn(threadId, input) {
  send({ method: 'turn/started', params: { threadId, turn: { id: turnId } } });
  const replies = [];
  for (const question of JSON.parse(input)) {
    if (question.notify) {
      send({ method: question.method, params: question.params });
      continue;
    }
    const { id, result, error } = await ask(threadId, question);
    send({ method: 'serverRequest/resolved', params: { threadId, requestId: id } });
    replies.push(result ?? error);
  }
  const item = { type: 'agentMessage', id: 'm1', text: JSON.stringify(replies) };
  send({ method: 'item/completed', params: { threadId, turnId, item } });
  send({ method: 'turn/completed', params: { threadId, turn: { id: turnId, status: 'completed' } } });
}

const results = {
  initialize: { userAgent: 'fake', codexHome: '/nowhere' },
  'account/read': { account: null, requiresOpenaiAuth: false },
  'turn/start': { turn: { id: turnId } },
};

createInterface({ input: process.stdin }).on('line', (line) => {
  const message = JSON.parse(line);
  if (message.method === undefined) return waiting.get(message.id)?.(message);
  if (message.method === 'thread/start') results[message.method] = { thread: { id: `thread-${++threads}` } };
  if (message.id !== undefined) send({ id: message.id, result: results[message.method] ?? {} });
  if (message.method === 'turn/start') void turn(message.params.threadId, message.params.input[0].text);
});
