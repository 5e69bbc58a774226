// A user's MCP server, for Codex to start once a thread: tools that answer, and two that ask the person first.
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';

const server = new McpServer({ name: 'fake', version: '1.0.0' });
const text = (value) => ({ content: [{ type: 'text', text: value }] });

server.registerTool('hello', { description: 'Says hello.' }, () => text('hello'));

const requestedSchema = {
  type: 'object',
  properties: {
    name: { type: 'string', title: 'Your name' },
    size: { type: 'string', enum: ['small', 'large'] },
    count: { type: 'integer', minimum: 1, maximum: 9 },
  },
  required: ['name'],
};
const quiet = { annotations: { readOnlyHint: true } };
server.registerTool('form', { description: 'Asks with a form.', ...quiet }, async () => {
  const { action, content } = await server.server.elicitInput({ message: 'Who are you?', requestedSchema });
  return text(`form ${action} ${JSON.stringify(content ?? null)}`);
});
server.registerTool('look', { description: 'Says that it only reads.', ...quiet }, () => text('looked'));
server.registerTool('page', { description: 'Asks to open a page.', ...quiet }, async () => {
  const page = { mode: 'url', message: 'Sign in there.', url: 'https://example.com/in', elicitationId: 'e1' };
  const { action } = await server.server.elicitInput(page);
  return text(`page ${action}`);
});

server.registerResource('a', 'fake://a', {}, (uri) => ({ contents: [{ uri: uri.href, text: 'the resource' }] }));

await server.connect(new StdioServerTransport());
