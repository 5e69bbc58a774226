import { execa } from 'execa';
import { readProcTable } from './procTable';

/** One process at one moment. */
export interface ProcessEntry {
  readonly pid: number;
  readonly parent: number;
  /** Process group and session; equal to `pid` where the platform does not tell. */
  readonly group: number;
  readonly session: number;
  /**
   * When it started, in the platform's own unit (clock ticks since boot on Linux, seconds since the epoch on macOS,
   * milliseconds on Windows). Together with `pid` it names one process for good.
   */
  readonly startTime: number;
  readonly command: string;
}

/** The live processes of this machine, zombies left out. */
export interface ProcessTable {
  list(): Promise<readonly ProcessEntry[]>;
  /** The environment that a process was started with as `NAME=value` lines; null when it cannot be read. */
  environment(entry: ProcessEntry): Promise<string | null>;
  /** Names of the pipes behind its standard streams; empty where the platform does not tell. */
  streams(pid: number): Promise<readonly string[]>;
  /** The mark that a process inherited, see lineage.ts; 0 where there is none. */
  lineage(pid: number): Promise<number>;
}

/** `pid:startTime`. A second process has it only when a pid is used again within one unit of `startTime`. */
export function identity(entry: Pick<ProcessEntry, 'pid' | 'startTime'>): string {
  return `${entry.pid}:${entry.startTime}`;
}

export function processTable(platform: NodeJS.Platform = process.platform): ProcessTable {
  switch (platform) {
    case 'linux':
      return readProcTable;
    case 'win32':
      return windowsTable;
    default:
      return psTable;
  }
}

const limits = { timeout: 3_000, maxBuffer: 32 * 1024 * 1024, reject: false, stdin: 'ignore' } as const;

const psEnvironments = new Map<string, string | null>();
const psEnvironmentsLimit = 5_000;

/** macOS and the BSDs: `ps` knows the table, and with `-E` the environment of the user's own processes. */
const psTable: ProcessTable = {
  async list() {
    const { stdout } = await execa('ps', ['-axww', '-o', 'pid=,ppid=,pgid=,sess=,stat=,lstart=,command='], {
      ...limits,
      env: { LC_ALL: 'C' },
    });
    return whole(parsePs(stdout));
  },
  async environment(entry) {
    // It changes with the program that the process runs only, and each look is a program of its own.
    const key = `${identity(entry)} ${entry.command}`;
    const known = psEnvironments.get(key);
    if (known !== undefined) return known;
    const { stdout } = await execa('ps', ['-Eww', '-o', 'command=', '-p', String(entry.pid)], limits);
    const environment = stdout === '' ? null : stdout.replaceAll(' ', '\n');
    if (psEnvironments.size >= psEnvironmentsLimit) psEnvironments.clear();
    psEnvironments.set(key, environment);
    return environment;
  },
  streams: () => Promise.resolve([]),
  lineage: () => Promise.resolve(0),
};

/** A listing without ourselves is no listing: taking it for one would call everything dead. */
function whole(entries: readonly ProcessEntry[]): readonly ProcessEntry[] {
  if (entries.some((entry) => entry.pid === process.pid)) return entries;
  throw new Error('The table of processes could not be read.');
}

/** Parses the columns that `psTable` asks for. `lstart` is a date of five words. */
export function parsePs(text: string): ProcessEntry[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(\S+)\s+(\S+\s+\S+\s+\d+\s+[\d:]+\s+\d+)\s+(\S.*)?$/.exec(line);
    if (!match?.[5] || match[5].startsWith('Z')) return [];
    const [pid = 0, parent = 0, group = 0] = match.slice(1, 4).map(Number);
    // macOS prints the session as an address, which is 0 for processes that are not ours: the group serves instead.
    const session = Number(match[4]);
    const startTime = Math.floor(Date.parse(match[6] ?? '') / 1000);
    return [{ pid, parent, group, session: session > 0 ? session : group, startTime, command: match[7] ?? '' }];
  });
}

/** Windows knows parents only: no groups, no sessions of ours, no readable environments. */
const windowsTable: ProcessTable = {
  async list() {
    const script =
      'Get-CimInstance Win32_Process | Select-Object ProcessId,ParentProcessId,CommandLine,Name,' +
      "@{n='Started';e={([DateTimeOffset]$_.CreationDate).ToUnixTimeMilliseconds()}} | ConvertTo-Json -Compress";
    const { stdout } = await execa('powershell.exe', ['-NoProfile', '-NonInteractive', '-Command', script], limits);
    return whole(parseCim(stdout));
  },
  environment: () => Promise.resolve(null),
  streams: () => Promise.resolve([]),
  lineage: () => Promise.resolve(0),
};

/** Parses what `windowsTable` asks PowerShell for; one process comes as an object, several as an array. */
export function parseCim(json: string): ProcessEntry[] {
  if (json.trim() === '') return [];
  const parsed: unknown = JSON.parse(json);
  const rows = (Array.isArray(parsed) ? parsed : [parsed]) as Partial<Record<string, unknown>>[];
  return rows.flatMap((row) => {
    const pid = Number(row.ProcessId);
    if (!Number.isInteger(pid)) return [];
    const command = typeof row.CommandLine === 'string' ? row.CommandLine : String(row.Name);
    const parent = Number(row.ParentProcessId);
    return [{ pid, parent, group: pid, session: pid, startTime: Number(row.Started ?? 0), command }];
  });
}
