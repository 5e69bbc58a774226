import { lstatSync, realpathSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join, parse, sep } from 'node:path';

const pathLimit = 4_096;

/**
 * Makes a path absolute and follows its links one part after the other, as the system does: `..` after a link leads to the
 * parent of where the link leads. Parts that do not exist stay as they are. Null when it cannot be known where the path
 * leads. `~` is the home directory.
 */
export function realPath(path: string, base: string): string | null {
  // A backslash is a separator to some programs and part of a name to others.
  if (path.includes('\0') || (sep === '/' && path.includes('\\'))) return null;
  const home = /^~(?=$|[/\\])/.test(path) ? `${homedir()}${path.slice(1)}` : path;
  const absolute = isAbsolute(home) ? home : `${base}${sep}${home}`;
  return absolute.length > pathLimit ? null : follow(absolute);
}

/** Where a directory really is; null when it is none, or nobody knows where. */
export function realDirectory(path: string, base: string): string | null {
  const real = realPath(path, base);
  try {
    return real !== null && statSync(real).isDirectory() ? real : null;
  } catch {
    return null;
  }
}

function follow(absolute: string): string | null {
  const { root } = parse(absolute);
  let real: string | null = root;
  for (const part of absolute.slice(root.length).split(/[/\\]/)) {
    if (real === null) return null;
    if (part === '..') real = dirname(real);
    else if (part !== '' && part !== '.') real = step(join(real, part));
  }
  return real;
}

function step(path: string): string | null {
  try {
    return realpathSync.native(path);
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    // What is written to a link that leads nowhere yet lands elsewhere.
    return isMissing && !isLink(path) ? path : null;
  }
}

function isLink(path: string): boolean {
  try {
    return lstatSync(path).isSymbolicLink();
  } catch {
    return false;
  }
}
