import { applyEdits, type JSONPath, modify, parse, type ParseError } from 'jsonc-parser';
import { replaceText } from '../base/privateFile';
import { readText } from '../base/readText';
import { HumanError } from '../core/errors';

/** A configuration file of another program: JSON, with comments where its program allows them. */
export class ConfigFile {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** The value at a place; undefined when there is none. Throws when the file is no JSON. */
  async get(place: JSONPath): Promise<unknown> {
    let value: unknown = parseWhole(await this.text(), this.path);
    for (const step of place) value = (value as Record<string, unknown> | undefined)?.[step];
    return value;
  }

  /** Sets or, with undefined, removes the value at a place, and leaves everything else as it is, comments too. */
  async set(place: JSONPath, value: unknown): Promise<void> {
    const text = await this.text();
    parseWhole(text, this.path);
    if (value === undefined && (await this.get(place)) === undefined) return;
    const edits = modify(text, place, value, { formattingOptions: formatOf(text) });
    await replaceText(this.path, applyEdits(text, edits));
  }

  private async text(): Promise<string> {
    const text = await readText(this.path, fileLimit);
    return text === null || text.trim() === '' ? '{}\n' : text;
  }
}

/** The state of Claude Code holds a history for each project. */
const fileLimit = 32 * 1024 * 1024;

function parseWhole(text: string, path: string): unknown {
  const errors: ParseError[] = [];
  const value: unknown = parse(text, errors, { allowTrailingComma: true });
  if (errors.length === 0 && typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw new HumanError(`"${path}" is not JSON as it stands, so nothing is changed in it. Mend it first.`);
}

/** As the file is indented now. */
function formatOf(text: string) {
  const [, indent = '  '] = /\n([ \t]+)"/.exec(text) ?? [];
  const insertSpaces = !indent.startsWith('\t');
  return { insertSpaces, tabSize: insertSpaces ? indent.length : 1, eol: text.includes('\r\n') ? '\r\n' : '\n' };
}
