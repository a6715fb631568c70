/** jq's ways to write a value as text: `tostring`, `@base64` and the like. */
import type { Json } from '../query.ts';
import type { Steps } from '../steps.ts';
import { isArray, print, QueryError, typeOf } from '../values.ts';
import { JqError } from './filter.ts';

type Format = (value: Json, steps: Steps) => string;

const formats: Readonly<Record<string, Format>> = {
  text: toText,
  json: print,
  uri: (value, steps) => percentEncoded(toText(value, steps), steps),
  base64: (value, steps) => Buffer.from(toText(value, steps)).toString('base64'),
  base64d: (value, steps) => Buffer.from(toText(value, steps), 'base64').toString(),
  csv: (value, steps) => row(value, steps, ',', (text) => `"${text.replaceAll('"', '""')}"`),
  tsv: (value, steps) => row(value, steps, '\t', escapedForTsv),
};

/** @throws QueryError when there is none of that name */
export function formatOf(name: string): Format {
  const format = Object.hasOwn(formats, name) ? formats[name] : undefined;
  if (format === undefined) throw new QueryError(`there is no format @${name} here`);
  return format;
}

/** A text as it is, anything else as JSON. */
export function toText(value: Json, steps: Steps): string {
  if (typeof value !== 'string') return print(value, steps);
  steps.takeCharacters(value.length);
  return value;
}

/** All but letters, digits and `-_.!~*'()`; jq keeps no more than RFC 3986 does. */
function percentEncoded(text: string, steps: Steps): string {
  steps.take(text.length);
  const wellFormed = text.replace(/\p{Surrogate}/gu, '\uFFFD');
  return encodeURIComponent(wellFormed).replace(
    /[!*'()]/g,
    (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function row(
  value: Json,
  steps: Steps,
  separator: string,
  quote: (text: string) => string,
): string {
  if (!isArray(value))
    throw new JqError(`${typeOf(value)} cannot be formatted, only an array can be`);
  return value
    .map((item) => {
      steps.take(1);
      if (typeof item === 'string') return quote(toText(item, steps));
      if (item === null) return '';
      if (typeof item === 'object') throw new JqError(`${typeOf(item)} is not valid in a row`);
      return String(item);
    })
    .join(separator);
}

function escapedForTsv(text: string): string {
  return text
    .replaceAll('\\', '\\\\')
    .replaceAll('\t', '\\t')
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r');
}
