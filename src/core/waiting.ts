import { DisposableStore } from './disposable';
import type { Event } from './emitter';
import { CallError } from './errors';
import type { CallerId } from './caller';
import type { News } from './news';
import type { AnsweredRequest, PendingRequest } from './pendingRequest';
import type { TaskId } from './taskId';
import type { TaskSnapshot } from './taskSnapshot';
import { isTerminalStatus } from './taskState';

/**
 * What a wait is about: tasks by their ids, or the caller's own, or everybody's; of the latter two those that are not terminal,
 * and ended ones that this caller was not told of.
 */
export type WaitAbout = readonly TaskId[] | 'own' | 'all';

export interface WaitQuery {
  readonly caller: CallerId;
  readonly about: WaitAbout;
  /** Whether the caller may see a task that it does not name; absent: it may see all. */
  readonly isShown?: ((id: TaskId) => boolean) | undefined;
  readonly until: 'any' | 'all';
  /** 0 answers at once. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Called at once and at each change while waiting, at most ten times a second. */
  readonly onProgress?: ((tasks: readonly TaskSnapshot[]) => void) | undefined;
  readonly caredFor?: CaredFor | undefined;
}

/** Requests that somebody takes care of while a caller waits, so that they are no news to it. */
export interface CaredFor {
  has(taskId: TaskId, requestId: string): boolean;
  /** One of them is left to the caller again. */
  readonly onDidLeave: Event<undefined>;
}

export interface WaitResult {
  readonly tasks: readonly TaskSnapshot[];
  /** Tasks that the caller was not told of, because there are too many for one answer; the next wait names them. */
  readonly more: number;
  /** The one request that the caller is shown in full: the oldest that it was not told of, else the oldest. */
  readonly shown: { readonly taskId: TaskId; readonly request: PendingRequest } | null;
  /** Answers by others that the caller was not told of, by task. */
  readonly newAnswers: ReadonlyMap<TaskId, readonly AnsweredRequest[]>;
  readonly timedOut: boolean;
  /** Where a wait without ids found nothing: tasks of others that are not terminal, and own ones that ended just now. */
  readonly elsewhere: { readonly others: number; readonly recent: readonly TaskSnapshot[] } | null;
}

/** An answer that got lost loses nothing: what ended within this time, in ms, is named once more. */
const recentMs = 10 * 60_000;
const recentLimit = 5;

/** The most tasks that one answer names. */
const answerLimit = 50;

/** What waiting needs to know of the tasks. */
export interface WaitSource {
  snapshots(): readonly TaskSnapshot[];
  get(id: TaskId): TaskSnapshot;
  readonly feed: {
    readonly onDidChangeStatus: Event<TaskSnapshot>;
    readonly onDidUpdate: Event<readonly TaskSnapshot[]>;
  };
  readonly onDidShutDown: Event<undefined>;
  readonly now: () => number;
}

/**
 * Waits until a task has news for the caller. A time-out is not an error. Rejects with `shutting_down` when the worker
 * stops, and with the signal's reason when the call was cancelled; then nothing counts as told.
 */
export async function waitForNews(source: WaitSource, news: News, query: WaitQuery): Promise<WaitResult> {
  if (typeof query.about !== 'string') for (const id of query.about) news.name(query.caller, source.get(id).id);
  const timedOut = !(await untilNews(source, news, query));
  const selected = meantBy(source, news, query);
  // What needs an answer comes first, then what ended, then what runs.
  const sorted = [...selected].sort((a, b) => rank(a) - rank(b));
  const tasks = sorted.slice(0, answerLimit);
  const shown = chooseShown(tasks, news, query.caller);
  const newAnswers = new Map(tasks.map((task) => [task.id, news.newAnswers(query.caller, task)]));
  for (const task of tasks) news.report(query.caller, task, task.id === shown?.taskId ? shown.request.id : undefined);
  const elsewhere = tasks.length > 0 ? null : lookElsewhere(source, news, query.caller);
  const more = selected.length - tasks.length;
  return { tasks, more, shown, newAnswers, timedOut: timedOut && tasks.length > 0, elsewhere };
}

function lookElsewhere(source: WaitSource, news: News, caller: CallerId): WaitResult['elsewhere'] {
  const [all, now] = [source.snapshots(), source.now()];
  const others = all.filter((task) => !isTerminalStatus(task.status) && !news.isOwn(caller, task)).length;
  const recent = all
    .filter((task) => task.endedAt !== null && now - task.endedAt < recentMs && news.isOwn(caller, task))
    .sort((a, b) => (b.endedAt ?? 0) - (a.endedAt ?? 0));
  return { others, recent: recent.slice(0, recentLimit) };
}

function chooseShown(tasks: readonly TaskSnapshot[], news: News, caller: CallerId): WaitResult['shown'] {
  const of = (pick: (task: TaskSnapshot) => readonly PendingRequest[]) =>
    tasks.flatMap((task) => pick(task).map((request) => ({ taskId: task.id, request })));
  const untold = of((task) => news.untold(caller, task));
  const candidates = untold.length > 0 ? untold : of((task) => task.pending);
  return candidates.sort((a, b) => a.request.askedAt - b.request.askedAt)[0] ?? null;
}

function rank(task: TaskSnapshot): number {
  if (task.status === 'input_required') return 0;
  return isTerminalStatus(task.status) ? 1 : 2;
}

/** The tasks that a wait is about now, as far as its caller may see them. */
export function meantBy(
  source: Pick<WaitSource, 'snapshots' | 'get'>,
  news: News,
  { about, caller, isShown = () => true }: Pick<WaitQuery, 'about' | 'caller' | 'isShown'>,
): readonly TaskSnapshot[] {
  if (typeof about !== 'string') return [...new Set(about)].map((id) => source.get(id));
  const isMeant = (task: TaskSnapshot): boolean => about === 'all' || news.isOwn(caller, task);
  const isNews = (task: TaskSnapshot): boolean => !isTerminalStatus(task.status) || news.hasUnreportedEnd(caller, task);
  return source.snapshots().filter((task) => isNews(task) && isMeant(task) && isShown(task.id));
}

function isOver(tasks: readonly TaskSnapshot[], news: News, { about, until, caller, caredFor }: WaitQuery): boolean {
  if (tasks.length === 0) return true;
  const asksCaller = (task: TaskSnapshot): boolean =>
    news.untold(caller, task).some((request) => !caredFor?.has(task.id, request.id));
  if (tasks.some(asksCaller)) return true;
  const hasNews = (task: TaskSnapshot): boolean =>
    typeof about !== 'string' && isTerminalStatus(task.status) ? true : news.has(caller, task);
  return until === 'all' ? tasks.every((task) => isTerminalStatus(task.status)) : tasks.some(hasNews);
}

/** True on news, false on the time-out. */
function untilNews(source: WaitSource, news: News, query: WaitQuery): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const tasks = meantBy(source, news, query);
    if (isOver(tasks, news, query) || query.timeoutMs === 0) {
      resolve(isOver(tasks, news, query));
      return;
    }
    const finish = (settle: () => void): void => {
      clearTimeout(timer);
      subscriptions.dispose();
      query.signal?.removeEventListener('abort', onAbort);
      settle();
    };
    const check = (): void => {
      const now = meantBy(source, news, query);
      if (isOver(now, news, query)) finish(() => resolve(true));
    };
    const onAbort = (): void => finish(() => reject(asError(query.signal?.reason)));
    const timer = setTimeout(() => finish(() => resolve(false)), query.timeoutMs);
    const fail = (error: Error): void => finish(() => reject(error));
    const subscriptions = new DisposableStore();
    subscriptions.add(source.feed.onDidChangeStatus(() => guarded(check, fail)));
    if (query.caredFor) subscriptions.add(query.caredFor.onDidLeave(() => guarded(check, fail)));
    subscriptions.add(
      source.feed.onDidUpdate(() => guarded(() => query.onProgress?.(meantBy(source, news, query)), fail)),
    );
    subscriptions.add(source.onDidShutDown(() => fail(shuttingDown())));
    query.signal?.addEventListener('abort', onAbort, { once: true });
    if (query.signal?.aborted) onAbort();
    else query.onProgress?.(tasks);
  });
}

/** A task can be removed while somebody waits for it. */
function guarded(run: () => void, onError: (error: Error) => void): void {
  try {
    run();
  } catch (error) {
    onError(asError(error));
  }
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error('The call was cancelled.');
}

export function shuttingDown(): CallError {
  return new CallError('shutting_down', 'The worker is stopping.', {
    hint: 'Call again when the editor or the program runs again.',
    retryable: true,
  });
}
