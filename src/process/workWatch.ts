/** Knows from what a server and its client say to each other whether the server works. */
export class WorkWatch {
  private readonly active = new Set<string>();

  /** A line of the server. Its order of fields is its own: `{"method":…,"params":{"threadId":…`. */
  fromServer(line: string): void {
    // Every other line is told apart by its first characters, because a flood passes here.
    if (!line.startsWith('{"method":"thread/')) return;
    const { method, params } = JSON.parse(line) as {
      method: string;
      params?: { threadId?: unknown; status?: unknown };
    };
    const threadId = params?.threadId;
    if (typeof threadId !== 'string') return;
    if (method === 'thread/closed') this.active.delete(threadId);
    if (method !== 'thread/status/changed') return;
    const { type } = (params?.status ?? {}) as { type?: unknown };
    if (type === 'active') this.active.add(threadId);
    else this.active.delete(threadId);
  }

  get working(): boolean {
    return this.active.size > 0;
  }
}
