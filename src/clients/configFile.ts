import {
  applyEdits,
  findNodeAtLocation,
  type JSONPath,
  modify,
  type Node,
  parse,
  type ParseError,
  parseTree,
} from 'jsonc-parser';
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
    const before = await this.get(place);
    if (value === undefined && before === undefined) return;
    const next = edited(text, place, before, value);
    // Whatever is odd about the file: it never gets worse.
    parseWhole(next, this.path);
    await replaceText(this.path, next);
  }

  private async text(): Promise<string> {
    const text = (await readText(this.path, fileLimit))?.replace(/^\ufeff/, '') ?? '';
    return text.trim() === '' ? '{}\n' : text;
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

function edited(text: string, place: JSONPath, before: unknown, value: unknown): string {
  const holder: unknown = parse(text, [], { allowTrailingComma: true });
  const list = (holder as Record<string, unknown>)[String(place[0])];
  if (list !== undefined && (typeof list !== 'object' || list === null || Array.isArray(list))) {
    throw new HumanError(
      `"${String(place[0])}" is no object in this file, so nothing is changed in it. Mend it first.`,
    );
  }
  if (value === undefined) return removed(text, place);
  return before === undefined ? inserted(text, place, value) : changed(text, place, value);
}

function changed(text: string, place: JSONPath, value: unknown): string {
  return applyEdits(text, modify(text, place, value, { formattingOptions: formatOf(text) }));
}

/** Cuts a value out with its name, and touches nothing beside it. */
function removed(text: string, place: JSONPath): string {
  const root = parseTree(text, [], { allowTrailingComma: true });
  const property = root && findNodeAtLocation(root, place)?.parent;
  const siblings = property?.parent?.children ?? [];
  const index = property ? siblings.indexOf(property) : -1;
  const [before, after] = [siblings[index - 1], siblings[index + 1]];
  if (!property?.parent) return text;
  if (!before && !after) return `${text.slice(0, property.parent.offset)}{}${text.slice(endOf(property.parent))}`;
  const from = after ? property.offset : endOf(before ?? property);
  return text.slice(0, from) + text.slice(after ? after.offset : endOf(property));
}

function endOf({ offset, length }: Node): number {
  return offset + length;
}

/** Puts a new value first in its object, on lines of its own: what follows stays as it is written, with its comments. */
function inserted(text: string, place: JSONPath, value: unknown): string {
  const root = parseTree(text, [], { allowTrailingComma: true });
  let depth = 0;
  while (root && depth < place.length - 1 && findNodeAtLocation(root, place.slice(0, depth + 1))) depth++;
  const parent = root && findNodeAtLocation(root, place.slice(0, depth));
  const first = parent?.type === 'object' ? parent.children?.[0] : undefined;
  if (!first) return changed(text, place, value);
  const missing = place.slice(depth + 1).reduceRight<unknown>((inner, name) => ({ [name]: inner }), value);
  const { indent, eol } = formatOf(text);
  const lines = JSON.stringify({ [String(place[depth])]: missing }, null, indent)
    .split('\n')
    .slice(1, -1);
  const content = lines.map((line) => indent.repeat(depth) + line).join(eol);
  return `${text.slice(0, first.offset)}${content.trimStart()},${eol}${indent.repeat(depth + 1)}${text.slice(first.offset)}`;
}

/** As the file is indented now. */
function formatOf(text: string) {
  const [, indent = '  '] = /\n([ \t]+)"/.exec(text) ?? [];
  const insertSpaces = !indent.startsWith('\t');
  return {
    indent,
    insertSpaces,
    tabSize: insertSpaces ? indent.length : 1,
    eol: text.includes('\r\n') ? '\r\n' : '\n',
  };
}
