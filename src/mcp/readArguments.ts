import { wellFormed } from '../base/wellFormed';
import type { ObjectSchema } from './schemas';

type Schema = Readonly<Record<string, unknown>>;

/** A number as JSON writes it: `30000` and `1e3`, but neither `0x10` nor `30 s`. */
const jsonNumber = /^-?(?:0|[1-9]\d{0,30})(?:\.\d{1,30})?(?:[eE][+-]?\d{1,3})?$/;

/**
 * A call's arguments as they are meant. Clients and models send `null` for a field that they leave out, and arrays, objects
 * and numbers as JSON text: taken where the schema wants just that. A text that is wanted as text stays as it is, and what
 * cannot be read stays for the check of the arguments to refuse. All text becomes well-formed UTF-16: half a character
 * breaks the conversation of whoever gets it back.
 */
export function readArguments(
  schema: ObjectSchema,
  args: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  return readObject(schema, wellFormed(args) as Readonly<Record<string, unknown>>);
}

function readObject(
  { properties, required }: Schema,
  value: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const fields = (properties ?? {}) as Readonly<Record<string, Schema>>;
  const needed = (required ?? []) as readonly string[];
  const entries = Object.entries(value).flatMap(([name, inner]) => {
    const field = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (inner === null && field && !needed.includes(name)) return [];
    return [[name, field ? readValue(field, inner) : inner] as const];
  });
  return Object.fromEntries(entries);
}

function readValue(schema: Schema, value: unknown): unknown {
  const types = typesOf(schema);
  const meant = typeof value === 'string' ? readText(types, value) : value;
  if (Array.isArray(meant)) {
    const items = itemsOf(schema);
    return items ? meant.map((one) => readValue(items, one)) : meant;
  }
  const isObject = typeof meant === 'object' && meant !== null && types.includes('object');
  return isObject ? readObject(schema, meant as Readonly<Record<string, unknown>>) : meant;
}

/** What a text says where something else is wanted. A field that takes text and arrays, as ids do, takes a JSON array. */
function readText(types: readonly string[], text: string): unknown {
  const takesText = types.includes('string');
  const first = text.trimStart().charAt(0);
  if (first === '[' && types.includes('array') && !types.includes('object')) return parsed(text, Array.isArray);
  if (takesText) return text;
  if (first === '{' && types.includes('object')) return parsed(text, (value) => !Array.isArray(value));
  const isNumber = types.includes('number') || types.includes('integer');
  return isNumber && jsonNumber.test(text) ? Number(text) : text;
}

function parsed(text: string, fits: (value: unknown) => boolean): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return fits(value) ? wellFormed(value) : text;
  } catch {
    return text;
  }
}

/** The types that a field takes. */
function typesOf({ type, anyOf }: Schema): readonly string[] {
  if (typeof type === 'string') return [type];
  if (Array.isArray(type)) return type as string[];
  return ((anyOf ?? []) as readonly Schema[]).flatMap(typesOf);
}

function itemsOf({ items, anyOf }: Schema): Schema | undefined {
  return (items as Schema | undefined) ?? ((anyOf ?? []) as readonly Schema[]).map(itemsOf).find(Boolean);
}
