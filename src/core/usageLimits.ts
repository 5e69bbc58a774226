import { formatClock } from './transcript';

/** How much of the account's plan is used up in one span of time. */
export interface UsageWindow {
  /** 0 to 100. */
  readonly usedPercent: number;
  /** The length of the span. */
  readonly minutes: number | null;
  /** When it begins anew, in ms since the epoch. */
  readonly resetsAt: number | null;
}

const nearPercent = 90;
const usedUpPercent = 100;
const dayMs = 24 * 3_600_000;

/** Whether tasks will soon be refused. */
export function isNearLimit(windows: readonly UsageWindow[]): boolean {
  return windows.some(({ usedPercent }) => usedPercent >= nearPercent);
}

/** `5 h: 82 % used, resets at 17:30; 7 d: 12 % used`; the empty text when nothing is known. */
export function describeLimits(windows: readonly UsageWindow[], now: number): string {
  return windows
    .map(({ usedPercent, minutes, resetsAt }) => {
      const span = minutes === null ? '' : `${spanOf(minutes)}: `;
      const reset = resetsAt === null || resetsAt <= now ? '' : `, resets ${timeOf(resetsAt, now)}`;
      return `${span}${Math.round(usedPercent)} % used${reset}`;
    })
    .join('; ');
}

/** When the plan can be used again, in ms since the epoch; null when that is not known. */
export function resetOf(windows: readonly UsageWindow[], now: number): number | null {
  const resets = windows
    .filter(({ usedPercent }) => usedPercent >= usedUpPercent)
    .flatMap(({ resetsAt }) => (resetsAt !== null && resetsAt > now ? [resetsAt] : []));
  return resets.length === 0 ? null : Math.max(...resets);
}

function spanOf(minutes: number): string {
  if (minutes % 1_440 === 0) return `${minutes / 1_440} d`;
  return minutes % 60 === 0 ? `${minutes / 60} h` : `${minutes} min`;
}

/** `at 17:30`, or `on Tue Nov 24 at 17:30` when that is more than a day away. */
export function timeOf(time: number, now: number): string {
  const clock = formatClock(time).slice(0, 5);
  return time - now < dayMs ? `at ${clock}` : `on ${new Date(time).toDateString().slice(0, 10)} at ${clock}`;
}
