/**
 * Where the failed records of deliveries are kept, beside what else the configuration puts somewhere:
 * their streams belong to nobody else, and what says where they go has to be able to.
 */
import { failedStreamOf } from '../forward/failed-records.ts';
import { fields, type Fields } from './fields.ts';

export interface FailedProblem {
  readonly path: readonly string[];
  readonly message: string;
  readonly allowed?: string;
}

/** Where what fails can be put into an object beside those that were sent. */
const havingErrorObjects: readonly string[] = ['folder', 's3'];
const partitionExpression = /!\{partitionKeyFrom(?:Query|Lambda):/;

/** The delivery whose failed records the stream has; null: it is none of those. */
export function failedOwner(config: Fields, stream: string): string | null {
  const names = Object.keys(fields(config['deliveries']));
  return names.find((name) => failedStreamOf(name) === stream) ?? null;
}

export function failedMistakes(config: Fields): readonly FailedProblem[] {
  return [
    ...Object.keys(fields(config['streams'])).flatMap((stream): readonly FailedProblem[] => {
      const owner = failedOwner(config, stream);
      if (owner === null) return [];
      const message = `is where the failed records of the delivery ${owner} are kept`;
      return [{ path: ['streams', stream], message, allowed: 'another name' }];
    }),
    ...Object.entries(fields(config['deliveries'])).flatMap(([name, delivery]) =>
      errorPrefixMistakes(fields(delivery), ['deliveries', name]),
    ),
  ];
}

function errorPrefixMistakes(delivery: Fields, path: readonly string[]): readonly FailedProblem[] {
  const { from, to, layout, failed, retrySeconds } = delivery;
  const { errorPrefix, partitionBy } = fields(layout);
  const [kind = ''] = Object.keys(fields(to));
  if (typeof errorPrefix !== 'string' || kind === '') return [];
  const prefixPath = [...path, 'layout', 'errorPrefix'];
  if ('camera' in fields(from)) {
    return [{ path: prefixPath, message: 'is of records, and footage is files' }];
  }
  if (!havingErrorObjects.includes(kind)) {
    const message = `is of objects in folder and s3, and does nothing with ${kind}`;
    const allowed = '"failed", which puts them into a bucket or a folder';
    return [{ path: prefixPath, message, allowed }];
  }
  // What the destination itself does not take is put aside only for these.
  const { prefix } = fields(fields(to)[kind]);
  const isPartitioned =
    Object.keys(fields(partitionBy)).length > 0 || partitionExpression.test(String(prefix));
  if ((failed ?? null) === null || (retrySeconds ?? null) !== null || isPartitioned) return [];
  return [
    {
      path: [...path, 'failed'],
      message: 'gets nothing: what fails is put below layout.errorPrefix',
      allowed: 'one of the two; or both with retrySeconds, for what could not be sent by then',
    },
  ];
}
