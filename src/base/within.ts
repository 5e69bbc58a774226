import { isAbsolute, relative, sep } from 'node:path';

/** Whether a path is a directory or lies in it; both are absolute, and real where links matter. */
export function isWithin(directory: string, path: string): boolean {
  const inside = relative(directory, path);
  return !isAbsolute(inside) && inside !== '..' && !inside.startsWith(`..${sep}`);
}
