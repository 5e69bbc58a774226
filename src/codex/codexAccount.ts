import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { readText } from '../base/readText';
import { hashOf } from '../core/hash';

type Environment = Readonly<Record<string, string | undefined>>;

/** The directory of Codex's configuration, login and threads. */
export function codexHome(env: Environment): string {
  // Codex takes an empty one for none.
  return [env.CODEX_HOME, process.env.CODEX_HOME].find((dir) => dir) ?? join(homedir(), '.codex');
}

const authFileLimit = 1024 * 1024;

/** `auth.json` of Codex 0.169, as far as it tells one account from another; tokens are renewed, the account stays. */
const authSchema = z.looseObject({
  OPENAI_API_KEY: z.string().nullish(),
  tokens: z.looseObject({ account_id: z.string().nullish() }).nullish(),
});

/**
 * Names the account that a Codex would work with that is started now, without telling anything of it. A running one keeps the
 * account that it was started with, whatever is logged in or out meanwhile (seen with 0.169.0). An account that is kept in
 * the system's keyring is not seen.
 */
export async function accountKey(env: Environment): Promise<string> {
  const home = codexHome(env);
  const text = await readText(join(home, 'auth.json'), authFileLimit).catch(() => null);
  return hashOf({ home, account: accountOf(text ?? '') });
}

function accountOf(text: string): unknown {
  try {
    const { OPENAI_API_KEY: key, tokens } = authSchema.parse(JSON.parse(text));
    return [key ?? null, tokens?.account_id ?? null];
  } catch {
    return null;
  }
}
