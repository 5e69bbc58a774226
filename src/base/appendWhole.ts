import { open } from 'node:fs/promises';

/** Appends all of a text or nothing: what a full disk took of it is taken back, so that it can be tried again. */
export async function appendWhole(path: string, text: string): Promise<void> {
  const file = await open(path, 'a', 0o600);
  try {
    const { size } = await file.stat();
    await file.appendFile(text).catch(async (error: unknown) => {
      await file.truncate(size).catch(() => undefined);
      throw error;
    });
  } finally {
    await file.close();
  }
}
