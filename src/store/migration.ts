import { z } from 'zod';
import { HumanError } from '../core/errors';
import { formatVersion } from './meta';

/** Turns what the version before wrote into `meta.json` into the form of its own version. */
export type MigrationStep = (meta: Readonly<Record<string, unknown>>) => Record<string, unknown>;

/** By the version that a step leads to: one for each change of `formatVersion`, which so far has had none. */
const ownSteps: Readonly<Record<number, MigrationStep>> = {};

const versioned = z.looseObject({ version: z.int().min(1) });

/**
 * Brings the content of a `meta.json` to the present form, one version after the other; the file is written in it with the
 * task's next change. Throws for one of a later program, which is left alone.
 */
export function migrate(content: unknown, target = formatVersion, steps = ownSteps): Record<string, unknown> {
  let meta: Record<string, unknown> = versioned.parse(content);
  const { version: from } = versioned.parse(content);
  if (from > target) {
    throw new HumanError(
      `It was written by a later version of Codex Worker (format ${from}, known here: ${target}). Update to see it.`,
    );
  }
  for (let version = from + 1; version <= target; version++) {
    const step = steps[version];
    if (!step) throw new HumanError(`Nothing leads from format ${version - 1} to ${version}.`);
    meta = { ...step(meta), version };
  }
  return meta;
}
