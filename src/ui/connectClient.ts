import { homedir } from 'node:os';
import { sep } from 'node:path';
import * as vscode from 'vscode';
import { type Client, type ClientState, type ConnectableClients } from '../worker';

const stateTexts: Readonly<Record<ClientState, string>> = {
  absent: '',
  connected: '$(check) connected',
  other: '$(warning) has another entry of this name',
};

interface ClientItem extends vscode.QuickPickItem {
  readonly client?: Client;
  readonly text?: string;
}

/** Connect Another Client: shows what would be written and where, writes it on consent, and removes it again. */
export async function connectClient({ clients, plain, direct }: ConnectableClients): Promise<void> {
  const picked = await vscode.window.showQuickPick(itemsOf(clients, plain, direct), {
    title: 'Connect Another Client',
    placeHolder: 'Which client shall work with the tasks of this window? Copilot here needs nothing.',
    matchOnDescription: true,
  });
  if (picked?.text !== undefined) await copy(picked.text, picked.label);
  else if (picked?.client) await decide(picked.client);
}

async function itemsOf(
  clients: readonly Client[],
  plain: string,
  direct: ConnectableClients['direct'],
): Promise<readonly ClientItem[]> {
  const items = await Promise.all(clients.map(itemOf));
  const separator = { label: 'Any other client', kind: vscode.QuickPickItemKind.Separator };
  const detail = 'The entry as JSON, for a client that is not in this list.';
  const json = { label: 'Copy as JSON', detail, text: plain };
  if (!direct) return [...items, separator, json];
  const { uri, token } = direct;
  const entry = { type: 'http', url: uri, headers: { Authorization: `Bearer ${token}` } };
  return [
    ...items,
    separator,
    json,
    {
      label: 'Copy address and token',
      description: uri,
      detail: 'The server itself, as an entry of mcp.json. Whoever has it may run tasks.',
      text: JSON.stringify({ servers: { 'codex-worker': entry } }, null, 2),
    },
  ];
}

async function itemOf(client: Client): Promise<ClientItem> {
  const description = await client.state().then(
    (state) => stateTexts[state],
    () => '$(error) its configuration cannot be read',
  );
  return { label: client.name, description, detail: shortened(client.where), client };
}

const buttons = { connect: 'Connect', replace: 'Replace It', remove: 'Remove', copy: 'Copy' } as const;

async function decide(client: Client): Promise<void> {
  const state = await client.state();
  const offered = {
    absent: [buttons.connect, buttons.copy],
    connected: [buttons.remove, buttons.copy],
    other: [buttons.replace, buttons.remove, buttons.copy],
  }[state].filter((button) => client.by !== null || button === buttons.copy);
  const question = {
    absent: `Connect ${client.name}?`,
    connected: `${client.name} is connected.`,
    other: `${client.name} has another entry named codex-worker.`,
  }[state];
  const chosen = await vscode.window.showInformationMessage(
    question,
    { modal: true, detail: explain(client) },
    ...offered,
  );
  if (chosen === buttons.copy) await copy(client.preview, client.name);
  else if (chosen === buttons.remove) await remove(client);
  else if (chosen !== undefined) await connect(client);
}

function explain({ by, where, preview }: Client): string {
  const how = {
    command: `This command is run, which writes into ${shortened(where)}:`,
    file: `This is added to ${shortened(where)}; everything else in it stays:`,
    none: `Codex was not found. Put this into ${shortened(where)}:`,
  }[by ?? 'none'];
  return `${how}\n\n${preview}\n\nThe client then works with the window whose folder holds its directory: the same tasks, your approvals, your policy. What it started goes on when it ends.`;
}

/** As people write it. */
function shortened(path: string): string {
  return path.startsWith(`${homedir()}${sep}`) ? `~${path.slice(homedir().length)}` : path;
}

async function connect(client: Client): Promise<void> {
  const choice = client.choice ? await askChoice(client.choice.label, client.choice.detail) : false;
  if (choice === undefined) return;
  await client.connect();
  await client.choice?.apply(choice);
  void vscode.window.showInformationMessage(`${client.name} is connected, from its next session on.`);
}

async function remove(client: Client): Promise<void> {
  await client.disconnect();
  void vscode.window.showInformationMessage(`${client.name} is not connected any more, from its next session on.`);
}

/** Undefined when the person wants nothing at all any more. */
async function askChoice(label: string, detail: string): Promise<boolean | undefined> {
  const no = { label: 'Ask me each time', detail: 'As Codex does with every tool that can change something.' };
  const picked = await vscode.window.showQuickPick([no, { label, detail }], {
    title: 'When Codex uses these tools',
    ignoreFocusOut: true,
  });
  return picked === undefined ? undefined : picked.label === label;
}

async function copy(text: string, what: string): Promise<void> {
  await vscode.env.clipboard.writeText(text);
  vscode.window.setStatusBarMessage(`$(check) ${what}: copied`, 3_000);
}
