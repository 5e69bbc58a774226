// Lets a test run commands in the extension host: POST {command, args} to the socket that LAB_DRIVER names.
const vscode = require('vscode');
const http = require('node:http');
const fs = require('node:fs');

exports.activate = (context) => {
  const path = process.env.LAB_DRIVER;
  if (!path) return;
  fs.rmSync(path, { force: true });
  const server = http.createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => (body += chunk));
    request.on('end', async () => {
      try {
        const { command, args = [] } = JSON.parse(body);
        const result = await vscode.commands.executeCommand(command, ...args);
        response.end(JSON.stringify({ result: result ?? null }));
      } catch (error) {
        response.end(JSON.stringify({ error: String(error) }));
      }
    });
  });
  server.listen(path);
  context.subscriptions.push({ dispose: () => server.close() });
};
