/** Something to copy that lets another client connect. */
export interface ConnectionItem {
  readonly label: string;
  readonly description: string;
  readonly detail: string;
  readonly text: string;
}

/** How other clients reach the MCP server of this window. The token is copied, never shown. */
export function connectionItems(uri: string, token: string): ConnectionItem[] {
  const entry = { type: 'http', url: uri, headers: { Authorization: `Bearer ${token}` } };
  const reach = uri.startsWith('http:')
    ? 'Any program on this machine that has the token'
    : 'For clients that connect to a socket; "codexWorker.mcp.transport" chooses a port instead';
  return [
    { label: 'Copy address', description: uri, detail: reach, text: uri },
    {
      label: 'Copy configuration',
      description: 'mcp.json',
      detail: 'Address and token as an entry of mcp.json. Whoever has it may run tasks.',
      text: JSON.stringify({ servers: { 'codex-worker': entry } }, null, 2),
    },
    { label: 'Copy token', description: 'Authorization: Bearer …', detail: 'Keep it to yourself.', text: token },
  ];
}
