import { execa } from 'execa';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { exists } from './installEditor';

const names = ['google-chrome', 'google-chrome-stable', 'chromium', 'chromium-browser'];

/** A Chrome or Chromium that is installed, else playwright's own download, else Debian's package when root. */
export async function installBrowser(log: (line: string) => void): Promise<string> {
  const installed = (await findOnPath()) ?? (await ownDownload());
  if (installed !== undefined) return installed;
  log('Installing a browser (once) …');
  const cli = join(import.meta.dirname, '../../node_modules/playwright-core/cli.js');
  await execa(process.execPath, [cli, 'install', 'chromium'], { reject: false, timeout: 120_000 });
  const downloaded = await ownDownload();
  if (downloaded !== undefined) return downloaded;
  if (process.getuid?.() === 0) {
    await execa('apt-get', ['update'], { reject: false });
    await execa('apt-get', ['install', '-y', '--no-install-recommends', 'chromium'], {
      env: { DEBIAN_FRONTEND: 'noninteractive' },
    });
    const packaged = await findOnPath();
    if (packaged !== undefined) return packaged;
  }
  throw new Error('There is no browser. Install Chrome or Chromium, or run "npx playwright-core install chromium".');
}

async function findOnPath(): Promise<string | undefined> {
  for (const dir of (process.env.PATH ?? '').split(':')) {
    for (const name of names) if (await exists(join(dir, name))) return join(dir, name);
  }
  return undefined;
}

async function ownDownload(): Promise<string | undefined> {
  const path = chromium.executablePath();
  return (await exists(path)) ? path : undefined;
}
