import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { findCodex, isOlder, type SearchPlace } from '../../src/codex/findCodex';
import { LineSplitter, lineLimit } from '../../src/base/lineSplitter';
import { RpcLostError, RpcPeer, type ServerRequest } from '../../src/codex/rpc';
import { unwrapShell } from '../../src/codex/shellCommand';

describe('lines', () => {
  it('come whole however the bytes are cut, inside a character too', () => {
    const bytes = Buffer.from('{"a":"é"}\n\n{"b":"日本"}\r\nrest');
    for (let cut = 0; cut <= bytes.length; cut++) {
      const lines: string[] = [];
      const splitter = new LineSplitter(
        (line) => lines.push(line),
        () => undefined,
      );
      splitter.push(bytes.subarray(0, cut));
      splitter.push(bytes.subarray(cut));
      expect(lines.map((line) => line.trim())).toEqual(['{"a":"é"}', '{"b":"日本"}']);
    }
  });

  it('beyond the limit are dropped and told, and the next one comes', () => {
    const lines: string[] = [];
    let tooLong = 0;
    const splitter = new LineSplitter(
      (line) => lines.push(line),
      () => tooLong++,
    );
    const part = Buffer.alloc(lineLimit / 4, 'x');
    for (let count = 0; count < 5; count++) splitter.push(part);
    splitter.push(Buffer.from('\nok\n'));
    expect([lines, tooLong]).toEqual([['ok'], 1]);
  });
});

describe('the RPC peer', () => {
  let input: PassThrough;
  let sent: { id?: number; method?: string; params?: unknown; result?: unknown; error?: unknown }[];
  let requests: ServerRequest[];
  let notes: string[];
  let trouble: string[];
  let peer: RpcPeer;

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    input = new PassThrough();
    const output = new PassThrough();
    [sent, requests, notes, trouble] = [[], [], [], []];
    const lines = new LineSplitter(
      (line) => sent.push(JSON.parse(line) as never),
      () => undefined,
    );
    output.on('data', (chunk: Buffer) => lines.push(chunk));
    const handlers = {
      onNotification: (method: string) => notes.push(method),
      onRequest: (request: ServerRequest) => requests.push(request),
      onTrouble: (message: string) => trouble.push(message),
    };
    peer = new RpcPeer(input, output, handlers, { requestTimeoutMs: 1_000, maxInFlight: 2, retryDelayMs: 10 });
  });
  afterEach(() => vi.useRealTimers());

  async function answer(message: unknown): Promise<void> {
    input.write(`${JSON.stringify(message)}\n`);
    await vi.advanceTimersByTimeAsync(0);
  }

  it('resolves with the result and rejects with the error', async () => {
    const both = Promise.allSettled([peer.request('a', { x: 1 }), peer.request('b', {})]);
    await vi.advanceTimersByTimeAsync(0);
    expect(sent).toEqual([
      { id: 1, method: 'a', params: { x: 1 } },
      { id: 2, method: 'b', params: {} },
    ]);
    await answer({ id: 2, error: { code: -32600, message: 'no' } });
    await answer({ id: 1, result: { ok: true } });
    expect(await both).toMatchObject([
      { value: { ok: true } },
      { reason: { name: 'RpcError', code: -32600, message: 'b: no' } },
    ]);
  });

  it('gives up after the time limit, and tells of the late answer', async () => {
    const late = expect(peer.request('slow', {})).rejects.toThrow('Codex did not answer slow within 1000 ms.');
    await vi.advanceTimersByTimeAsync(1_000);
    await late;
    await answer({ id: 1, result: {} });
    expect(trouble).toEqual(['An answer came too late or to nothing, id 1.']);
  });

  it('hands what comes too late to whoever wanted to know, once', async () => {
    const [late, told]: [unknown[], string[]] = [[], []];
    const request = peer.request('slow', {}, 500, (result) => late.push(result));
    request.catch((error: unknown) => told.push(String(error)));
    await vi.advanceTimersByTimeAsync(500);
    expect(told).toEqual([expect.stringContaining('within 500 ms')]);
    await answer({ id: 1, result: { x: 1 } });
    await answer({ id: 1, result: { x: 2 } });
    expect([late, trouble]).toEqual([[{ x: 1 }], ['An answer came too late or to nothing, id 1.']]);
  });

  it('counts the wait for a slot in the time limit, and lets the others go on', async () => {
    const told: string[] = [];
    const ask = (method: string, ms: number): void =>
      void peer.request(method, {}, ms).catch((error: unknown) => told.push(String(error)));
    for (const method of ['a', 'b']) ask(method, 900);
    ask('c', 300);
    ask('d', 800);
    await vi.advanceTimersByTimeAsync(300);
    expect(told).toEqual(['RpcLostError: Codex had no time for c within 300 ms.']);
    await answer({ id: 1, result: 1 });
    expect(sent.map(({ method }) => method)).toEqual(['a', 'b', 'd']);
    await vi.advanceTimersByTimeAsync(510);
    expect(told.at(-1)).toBe('RpcLostError: Codex did not answer d within 800 ms.');
  });

  it('sends no more at once than its cap', async () => {
    const all = Promise.all(['a', 'b', 'c'].map((method) => peer.request(method, {})));
    await vi.advanceTimersByTimeAsync(0);
    expect(sent.map(({ method }) => method)).toEqual(['a', 'b']);
    await answer({ id: 1, result: 1 });
    expect(sent.map(({ method }) => method)).toEqual(['a', 'b', 'c']);
    await answer({ id: 2, result: 2 });
    await answer({ id: 3, result: 3 });
    expect(await all).toEqual([1, 2, 3]);
  });

  it('sends a request again when the server is overloaded, with growing pauses, six times in all', async () => {
    const result = expect(peer.request('a', {})).rejects.toMatchObject({ code: -32001 });
    for (let attempt = 1; attempt <= 6; attempt++) {
      await vi.advanceTimersByTimeAsync(10 * 2 ** attempt);
      expect(sent).toHaveLength(attempt);
      await answer({ id: attempt, error: { code: -32001, message: 'overloaded' } });
    }
    await result;
  });

  it('rejects what is pending, waiting and new when the connection closes', async () => {
    const pending = Promise.allSettled(['a', 'b', 'c'].map((method) => peer.request(method, {})));
    await vi.advanceTimersByTimeAsync(0);
    peer.close('Codex stopped.');
    const results = await pending;
    expect(results.every((one) => one.status === 'rejected' && one.reason instanceof RpcLostError)).toBe(true);
    await expect(peer.request('d', {})).rejects.toThrow('Codex stopped.');
  });

  it("hands over the server's requests, whose ids start at 0, and answers each once", async () => {
    await answer({ id: 0, method: 'ask', params: {} });
    await answer({ method: 'tell', params: {} });
    expect([requests.map(({ method }) => method), notes]).toEqual([['ask'], ['tell']]);
    requests[0]!.respond({ result: { decision: 'accept' } });
    requests[0]!.respond({ result: { decision: 'decline' } });
    await vi.advanceTimersByTimeAsync(0);
    expect(sent).toEqual([{ id: 0, result: { decision: 'accept' } }]);
  });

  it('goes on with the next line when a handler throws', async () => {
    const output = new PassThrough();
    const seen: string[] = [];
    const onNotification = (method: string): void => {
      seen.push(method);
      if (method === 'bad') throw new Error('bug');
    };
    new RpcPeer(input, output, { onNotification, onRequest: () => undefined, onTrouble: (text) => trouble.push(text) });
    input.write('{"method":"bad"}\n{"method":"good"}\n');
    await vi.advanceTimersByTimeAsync(0);
    expect(seen).toEqual(['bad', 'good']);
    expect(trouble).toEqual([expect.stringContaining('Error: bug')]);
  });

  it('tells of what is no JSON-RPC and goes on', async () => {
    input.write('not json\n[1]\n');
    await answer({ method: 'tell' });
    expect([trouble, notes]).toEqual([['Not JSON-RPC: not json', 'Not JSON-RPC: [1]'], ['tell']]);
  });
});

describe('the shell wrapper', () => {
  it.each([
    [`/bin/bash -lc 'npm test'`, 'npm test'],
    [`/bin/bash -c 'echo '\\''quoted'\\'''`, `echo 'quoted'`],
    [`bash -lc "echo \\"a\\" \\$HOME"`, 'echo "a" $HOME'],
    [`/usr/bin/zsh -lc ls`, 'ls'],
    [`/bin/bash -lc 'a' && rm x`, `/bin/bash -lc 'a' && rm x`],
    [`/bin/bash -lc 'open`, `/bin/bash -lc 'open`],
    ["/proj/.x/bash -lc 'npm test'", "/proj/.x/bash -lc 'npm test'"],
    ['npm test', 'npm test'],
    ['fish -c x', 'fish -c x'],
  ])('of %s leaves %s', (command, plain) => expect(unwrapShell(command)).toBe(plain));
});

describe('finding Codex', () => {
  function place(
    files: readonly string[],
    more: Partial<SearchPlace> = {},
    links: Record<string, string> = {},
  ): SearchPlace {
    return {
      platform: 'linux',
      arch: 'x64',
      configured: null,
      searchPath: '/usr/local/bin:/usr/bin',
      extensionDir: null,
      isExecutable: (path) => Promise.resolve(files.includes(path)),
      realpath: (path) => Promise.resolve(links[path] ?? path),
      ...more,
    };
  }
  /** What is found, without running it: the error names the program that was tried. */
  async function found(where: SearchPlace): Promise<string> {
    const error = await findCodex(where).then(
      () => null,
      (reason: unknown) => reason as Error,
    );
    return /^"(.+)" is not a Codex CLI/.exec(error?.message ?? '')?.[1] ?? error?.message ?? '';
  }
  const linux = '/lib/@openai/codex/node_modules/@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex';

  it('takes the one on PATH, and the native program behind npm’s launcher', async () => {
    expect(await found(place(['/usr/bin/codex']))).toBe('/usr/bin/codex');
    const links = { '/usr/local/bin/codex': '/lib/@openai/codex/bin/codex.js' };
    expect(await found(place(['/usr/local/bin/codex', linux], {}, links))).toBe(linux);
    const sibling = '/lib/@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex';
    expect(await found(place(['/usr/local/bin/codex', sibling], {}, links))).toBe(sibling);
  });

  it('takes the real program behind codex.cmd, which Node starts only with a shell', async () => {
    const native =
      'C:\\npm\\node_modules\\@openai\\codex\\node_modules\\@openai\\codex-win32-x64\\vendor\\x86_64-pc-windows-msvc\\bin\\codex.exe';
    const windows = { platform: 'win32', searchPath: 'C:\\Windows;C:\\npm' } as const;
    expect(await found(place(['C:\\npm\\codex.cmd', native], windows))).toBe(native);
    expect(await found(place(['C:\\Windows\\codex.exe'], windows))).toBe('C:\\Windows\\codex.exe');
  });

  it('takes the one inside the OpenAI extension last', async () => {
    const inside = '/ext/bin/macos-aarch64/codex';
    expect(await found(place([inside], { platform: 'darwin', arch: 'arm64', extensionDir: '/ext' }))).toBe(inside);
    expect(
      await found(place([inside, '/usr/bin/codex'], { platform: 'darwin', arch: 'arm64', extensionDir: '/ext' })),
    ).toBe('/usr/bin/codex');
  });

  it('takes nothing else when the person chose one, and says what to do', async () => {
    expect(await found(place(['/mine', '/usr/bin/codex'], { configured: '/mine' }))).toBe('/mine');
    await expect(findCodex(place(['/usr/bin/codex'], { configured: '/gone' }))).rejects.toMatchObject({
      code: 'codex_not_found',
      message: 'There is no program at "/gone".',
      hint: expect.stringContaining('codexWorker.codexPath') as string,
    });
    await expect(findCodex(place([]))).rejects.toMatchObject({
      code: 'codex_not_found',
      message: 'The Codex CLI is not installed.',
    });
  });

  it('compares versions by their numbers', () => {
    expect(
      ['0.169.0', '0.170.0-alpha.1', '1.0.0', '0.168.9', '0.9.0'].map((version) => isOlder(version, '0.169.0')),
    ).toEqual([false, false, false, true, true]);
  });
});
