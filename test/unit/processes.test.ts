import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { descendants, taskkillArguments } from '../../src/process/killTree';
import { parseCim, parsePs, type ProcessEntry, type ProcessTable } from '../../src/process/processTable';
import { parseStat } from '../../src/process/procTable';
import { stopProcess } from '../../src/process/stopping';
import { markerOf, TaskProcesses } from '../../src/process/taskProcesses';

describe('the process table', () => {
  it('of Linux survives any process name, and knows the dead', () => {
    const line = `42 (a) b (c) S 7 40 41 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 1 1`;
    expect(parseStat(line)).toEqual({
      entry: { pid: 42, parent: 7, group: 40, session: 41, startTime: 12345, command: 'a) b (c' },
      dead: false,
    });
    expect(parseStat(line.replace(') S', ') Z'))?.dead).toBe(true);
    expect(parseStat('')).toBeNull();
  });

  it('of macOS is read from ps', () => {
    const text = [
      '    1     0     1      0 Ss   Mon Nov 23 10:00:00 2026     /sbin/launchd',
      '  501   499   501      0 S+   Mon Nov 23 15:50:06 2026     /bin/zsh -c sleep 300',
      '  502   501   501      0 Z    Mon Nov 23 15:50:06 2026     (sleep)',
    ].join('\n');
    const startTime = Date.parse('Mon Nov 23 15:50:06 2026') / 1000;
    expect(parsePs(text).at(-1)).toEqual({
      pid: 501,
      parent: 499,
      group: 501,
      session: 501,
      startTime,
      command: '/bin/zsh -c sleep 300',
    });
    expect(parsePs(text)).toHaveLength(2);
  });

  it('of Windows is read from PowerShell, one process or several', () => {
    const one = {
      ProcessId: 8,
      ParentProcessId: 4,
      CommandLine: 'codex.exe app-server',
      Name: 'codex.exe',
      Started: 1795000000000,
    };
    const entry = {
      pid: 8,
      parent: 4,
      group: 8,
      session: 8,
      startTime: 1795000000000,
      command: 'codex.exe app-server',
    };
    expect(parseCim(JSON.stringify(one))).toEqual([entry]);
    expect(parseCim(JSON.stringify([one, { ...one, ProcessId: 9, CommandLine: null }]))).toEqual([
      entry,
      { ...entry, pid: 9, group: 9, session: 9, command: 'codex.exe' },
    ]);
    expect(parseCim('')).toEqual([]);
  });

  it('gives the tree below a process, and taskkill takes it whole', () => {
    const entry = (pid: number, parent: number) => ({
      pid,
      parent,
      group: pid,
      session: pid,
      startTime: 0,
      command: '',
    });
    expect(descendants([entry(4, 3), entry(3, 2), entry(2, 1), entry(9, 1)], 2)).toEqual([3, 4]);
    expect(taskkillArguments(42)).toEqual(['/PID', '42', '/T', '/F']);
  });
});

describe('the processes of a task', () => {
  /** An orphan's owner is decided by then, in ms. */
  const decided = 110;
  const server = 100;
  interface Fake extends ProcessEntry {
    readonly environment?: string;
    readonly streams?: readonly string[];
    readonly lineage?: number;
  }
  function entry(pid: number, parent: number, more: Partial<Fake> = {}): Fake {
    return { pid, parent, group: pid, session: pid, startTime: pid, command: `p${pid}`, ...more };
  }
  function watch(processes: Fake[], lookMs = 0): { found: TaskProcesses; killed: string[]; looks: () => number } {
    const killed: string[] = [];
    let looks = 0;
    const table: ProcessTable = {
      list: async () => {
        looks++;
        if (lookMs > 0) await delay(lookMs);
        return [...processes];
      },
      environment: ({ pid }) => Promise.resolve(processes.find((one) => one.pid === pid)?.environment ?? null),
      streams: (pid) => Promise.resolve(processes.find((one) => one.pid === pid)?.streams ?? []),
      lineage: (pid) => {
        const found = processes.find((one) => one.pid === pid);
        return Promise.resolve(found?.lineage ?? (found?.pid === server ? 0x40 : 0));
      },
    };
    const kill = (pid: number, signal: string): void => {
      killed.push(`${signal} ${pid}`);
      const at = processes.findIndex((one) => one.pid === pid);
      if (signal === 'SIGKILL' && at >= 0) processes.splice(at, 1);
    };
    const found = new TaskProcesses({ table, server: () => ({ pid: server, lineage: 0x40 }), kill });
    return { found, killed, looks: () => looks };
  }
  const marked = { environment: 'HOME=/\nCODEX_WORKER_TASK=a-b-1\nX=1' };
  const pids = async (found: TaskProcesses, id = 'a-b-1') => (await found.find(id)).map(({ pid }) => pid);

  it('of fifty tasks are ended over the looks of one', async () => {
    const ids = Array.from({ length: 50 }, (_, index) => `a-b-${index}`);
    const processes = [
      entry(server, 1),
      ...ids.map((id, index) => entry(200 + index, server, { environment: `CODEX_WORKER_TASK=${id}` })),
    ];
    const { found, looks } = watch(processes, 10);
    const reports = await Promise.all(ids.map((id) => found.end(id)));
    expect(reports.map(({ killed, alive }) => [killed.length, alive.length])).toEqual(ids.map(() => [1, 0]));
    expect(processes).toHaveLength(1);
    // One after the other until the grace is over. Each task's own would be more than a hundred.
    expect(looks()).toBeLessThan(50);
  });

  it('are not found by the mark of a server that is gone: another one may have it by now', async () => {
    const processes = [entry(server, 1), entry(201, server, marked)];
    const { found, killed } = watch(processes);
    found.commandStarted('a-b-1');
    expect(await pids(found)).toEqual([201]);
    processes.splice(0, 1, entry(300, 2, { lineage: 0x40 }), entry(301, 300, { lineage: 0x40 }));
    expect(await pids(found)).toEqual([201]);
    expect(await found.end('a-b-1')).toMatchObject({ killed: [{ pid: 201 }], unattributed: [] });
    expect(killed).toEqual(['SIGTERM 201', 'SIGKILL 201']);
  });

  it('are not found by the mark either when the server dies while one looks', async () => {
    const processes = [entry(server, 1), entry(300, 2, { lineage: 0x40 })];
    const { found } = watch(processes);
    found.commandStarted('a-b-1');
    const looking = found.find('a-b-1');
    // The table is read by now; what stands in it is looked at next.
    await Promise.resolve();
    processes.splice(0, 1);
    await looking;
    await delay(decided);
    expect(await found.end('a-b-1')).toMatchObject({ killed: [], unattributed: [] });
  });

  it('are known by marker, by descent, by session and by an inherited pipe, each of them alone', async () => {
    const { found } = watch([
      entry(server, 1, { streams: ['pipe:[1]'] }),
      entry(201, server, { ...marked, streams: ['pipe:[1]', 'pipe:[7]'] }),
      entry(202, 201),
      entry(203, 1, { session: 201 }),
      entry(204, 1, { streams: ['pipe:[7]'], lineage: 0x40 }),
      entry(208, 1, { streams: ['pipe:[7]'], lineage: 0x80 }),
      entry(205, server, { environment: 'CODEX_WORKER_TASK=c-d-2' }),
      entry(206, 1, { streams: ['pipe:[1]'] }),
      entry(207, 205),
    ]);
    expect(await pids(found)).toEqual([201, 202, 203, 204]);
    expect(await pids(found, 'c-d-2')).toEqual([205, 207]);
  });

  it('stay known when their parents are gone', async () => {
    const processes = [entry(server, 1), entry(201, server, marked), entry(202, 201)];
    const { found } = watch(processes);
    expect(await pids(found)).toEqual([201, 202]);
    processes.splice(1, 2, entry(202, 1));
    expect(await pids(found)).toEqual([202]);
    found.forget('a-b-1');
    expect(await pids(found)).toEqual([]);
  });

  it('are never older than the server, nor another process with the same pid', async () => {
    const processes = [entry(server, 1), entry(50, 1, { ...marked, startTime: 50 }), entry(201, server, marked)];
    const { found } = watch(processes);
    expect(await pids(found)).toEqual([201]);
    processes.splice(2, 1, entry(201, 1, { startTime: 900, session: 1, group: 1 }));
    expect(await pids(found)).toEqual([]);
  });

  it('are told by their lineage when only one task ran a command as they appeared, else they are strays', async () => {
    const processes = [entry(server, 1), entry(300, 1, { lineage: 0x40 }), entry(301, 1, { lineage: 0x80 })];
    const { found, killed } = watch(processes);
    await found.expectCommand('a-b-1');
    expect(await pids(found)).toEqual([]);
    await delay(decided);
    expect(await pids(found)).toEqual([300]);
    await found.expectCommand('c-d-2');
    processes.push(entry(302, 1, { lineage: 0x40 }));
    expect(await found.end('c-d-2')).toMatchObject({ killed: [], unattributed: [{ pid: 302 }] });
    expect(killed).toEqual([]);
  });

  it('are not given to another task when they are seen before their command is told', async () => {
    const processes = [entry(server, 1)];
    const { found, killed } = watch(processes);
    found.commandStarted('a-b-1');
    await pids(found);
    await pids(found);
    processes.push(entry(300, 1, { lineage: 0x40 }));
    await pids(found);
    found.commandStarted('c-d-2');
    found.commandEnded('c-d-2');
    expect(await found.end('c-d-2')).toMatchObject({ killed: [], unattributed: [{ pid: 300 }] });
    expect(await found.end('a-b-1')).toMatchObject({ killed: [], unattributed: [{ pid: 300 }] });
    expect(killed).toEqual([]);
  });

  it('end with the server, also what may be of several tasks, but nothing of another worker', async () => {
    const foreign = { environment: 'CODEX_WORKER_TASK=x-y-9' };
    const processes = [entry(server, 1), entry(201, server, marked), entry(300, 1, { lineage: 0x40 })];
    processes.push(entry(400, 2), entry(401, 400, foreign));
    const { found, killed } = watch(processes);
    found.commandStarted('a-b-1');
    await found.endWith(() => Promise.resolve());
    expect(killed.sort()).toEqual(['SIGKILL 201', 'SIGKILL 300', 'SIGTERM 201', 'SIGTERM 300']);
  });

  it('get SIGTERM, then SIGKILL, and what is left is told', async () => {
    const { found, killed } = watch([entry(server, 1), entry(201, server, marked)]);
    const report = await found.end('a-b-1');
    expect(killed).toEqual(['SIGTERM 201', 'SIGKILL 201']);
    expect(report).toMatchObject({ killed: [{ pid: 201 }], alive: [], unattributed: [] });
  });

  it('has a marker only as a whole line', () => {
    expect(markerOf('A=1\nCODEX_WORKER_TASK=x-y-3')).toBe('x-y-3');
    expect(markerOf('MY_CODEX_WORKER_TASK=x-y-3')).toBeNull();
    expect(markerOf(null)).toBeNull();
  });
});

describe('stopping a process', () => {
  async function steps(endsAfter: string): Promise<string[]> {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const taken: string[] = [];
    let end: () => void = () => undefined;
    const exited = new Promise<void>((resolve) => (end = resolve));
    const step = (name: string) => () => {
      taken.push(name);
      if (name === endsAfter) end();
    };
    const killTree = (): Promise<void> => {
      step('kill')();
      return Promise.resolve();
    };
    const stopping = stopProcess(
      { closeInput: step('end of input'), terminate: step('SIGTERM'), killTree, exited },
      100,
    );
    await vi.advanceTimersByTimeAsync(1_000);
    await stopping;
    vi.useRealTimers();
    return taken;
  }
  it.each([
    ['end of input', ['end of input']],
    ['SIGTERM', ['end of input', 'SIGTERM']],
    ['kill', ['end of input', 'SIGTERM', 'kill']],
  ])('goes as far as %s', async (endsAfter, expected) => expect(await steps(endsAfter)).toEqual(expected));
});
