/** What is said of something that is not there by the name that was asked for. */
import { suggest } from '../../config/suggest.ts';
import { StorageError } from '../../../storage/errors.ts';
import type { Log, StreamDescription } from '../../../storage/model.ts';
import { HttpError } from '../../http/errors.ts';

/** As many names are told; of more, how many. */
const namesMax = 10;

/**
 * Names the nearest that there is, or all of them.
 *
 * @example
 * absent('delivery', 'archve', ['archive']);
 * // There is no delivery named archve. Did you mean archive?
 */
export function absent(what: string, name: string, names: readonly string[]): HttpError {
  return new HttpError('not-found', `There is no ${what} named ${name}. ${hint(name, names)}`);
}

function hint(name: string, names: readonly string[]): string {
  const meant = suggest(name, names);
  if (meant !== null) return `Did you mean ${meant}?`;
  const [first, ...others] = names;
  if (first === undefined) return 'There is none at all.';
  if (others.length === 0) return `There is only ${first}.`;
  const more = names.length - namesMax;
  const shown = names.slice(0, namesMax).join(', ');
  return `There are ${shown}${more > 0 ? `, and ${more} more` : ''}.`;
}

/** @throws HttpError `not-found`, with the names there are */
export function streamNamed(log: Pick<Log, 'stream' | 'streams'>, name: string): StreamDescription {
  try {
    return log.stream(name);
  } catch (error) {
    throw withStreams(log, name, error);
  }
}

/** The same error, but for one that says that the stream is not there: then with those that are. */
export function withStreams(log: Pick<Log, 'streams'>, name: string, error: unknown): unknown {
  if (!(error instanceof StorageError) || error.code !== 'not-found') return error;
  const names = log.streams().map((stream) => stream.name);
  if (names.includes(name)) return error;
  return absent(
    'stream',
    name,
    names.toSorted((a, b) => a.localeCompare(b)),
  );
}
