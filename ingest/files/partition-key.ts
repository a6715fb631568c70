/**
 * Partition keys of what is read from files: `{path}`, `web-{record.host}`.
 *
 *     {path}         where the file was found first: what is in one file stays in order
 *     {file}         the last part of that
 *     {record.a.b}   a field of a record that was converted to JSON
 *     {random}       another one each time: spread over all shards, in no order
 *     {{ and }}      braces
 */
import { basename } from 'node:path';
import { fitKey } from '../mqtt/partition-key.ts';
import { FilesError } from './errors.ts';

export interface RecordKeyContext {
  readonly path: string;
  readonly value: unknown;
}

type Part = (context: RecordKeyContext) => string | null;

/** The key of a record: one that asks for what is not there falls back to the path. */
export type RecordKey = (context: RecordKeyContext) => string;

/**
 * @param random 0 inclusive to 1 exclusive
 * @throws FilesError `invalid-options`
 */
export function compileFileKey(template: string, random: () => number): RecordKey {
  const parts: Part[] = [];
  for (const [text, reference] of template.matchAll(/\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+/g)) {
    if (reference !== undefined) parts.push(partOf(reference, template, random));
    else if (text === '{{' || text === '}}') parts.push(() => text.charAt(0));
    else if (text === '{' || text === '}') throw wrong(template, `a lone ${text}`);
    else parts.push(() => text);
  }
  return (context) => {
    const texts = parts.map((part) => part(context));
    const key = texts.includes(null) ? '' : texts.join('');
    return fitKey(key === '' ? context.path : key);
  };
}

function partOf(reference: string, template: string, random: () => number): Part {
  if (reference === 'path') return ({ path }) => path;
  if (reference === 'file') return ({ path }) => basename(path);
  if (reference === 'random') return () => random().toString(36).slice(2) || '0';
  if (!/^record(\.[^.]+)+$/.test(reference)) {
    throw wrong(template, `{${reference}} is none of {path}, {file}, {random}, {record.field}`);
  }
  const names = reference.split('.').slice(1);
  return ({ value }) => textAt(value, names);
}

function textAt(value: unknown, names: readonly string[]): string | null {
  let at = value;
  for (const name of names) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return null;
    at = Reflect.get(at, name);
  }
  return ['string', 'number', 'boolean'].includes(typeof at) ? String(at) : null;
}

function wrong(template: string, what: string): FilesError {
  return new FilesError('invalid-options', `the partition key '${template}' is not right: ${what}`);
}
