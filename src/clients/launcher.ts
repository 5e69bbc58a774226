import { join } from 'node:path';
import { writePrivate } from '../base/privateFile';
import { readText } from '../base/readText';

const launcherLimit = 64 * 1024;

export interface LauncherOptions {
  /** The extension's own storage, whose path stays over updates. */
  readonly storage: string;
  /** The Node of now: in the desktop editor it is Electron. */
  readonly node: string;
  /** `dist/stdio.js` of the installed version. */
  readonly program: string;
  /** The user's data directory: clients clear the environment of what they start. */
  readonly dataDir: string;
}

/** The path that other clients are given. It stays, whatever it starts. */
export function launcherPath(storage: string, platform = process.platform): string {
  return join(storage, 'bin', platform === 'win32' ? 'mcp-codex-worker.cmd' : 'mcp-codex-worker');
}

/** Writes the launcher for the program and the Node of now, if it is not there as it should be. Gives its path. */
export async function writeLauncher(options: LauncherOptions, platform = process.platform): Promise<string> {
  const path = launcherPath(options.storage, platform);
  const text = platform === 'win32' ? batchFile(options) : shellScript(options);
  const before = await readText(path, launcherLimit).catch(() => null);
  if (before !== text) await writePrivate(path, text, 0o755);
  return path;
}

function shellScript({ node, program, dataDir }: LauncherOptions): string {
  return [
    '#!/bin/sh',
    '# Starts mcp-codex-worker. Codex Worker writes this file anew when it is updated.',
    `export ELECTRON_RUN_AS_NODE=1 CODEX_WORKER_DATA=\${CODEX_WORKER_DATA:-${quoted(dataDir)}}`,
    `exec ${quoted(node)} ${quoted(program)} "$@"`,
    '',
  ].join('\n');
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** A percent sign in a batch file is the beginning of a variable. */
function batchFile({ node, program, dataDir }: LauncherOptions): string {
  const plain = (text: string): string => text.replaceAll('%', '%%');
  return [
    '@echo off',
    'rem Starts mcp-codex-worker. Codex Worker writes this file anew when it is updated.',
    'setlocal',
    'set ELECTRON_RUN_AS_NODE=1',
    `if not defined CODEX_WORKER_DATA set "CODEX_WORKER_DATA=${plain(dataDir)}"`,
    `"${plain(node)}" "${plain(program)}" %*`,
    '',
  ].join('\r\n');
}
