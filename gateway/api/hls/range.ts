/** A piece of a camera's past, as a query asks for it. */
import type { Context } from 'hono';
import type { FragmentSpan, VideoStore } from '../../../storage/model.ts';
import type { AppEnv } from '../../http/authentication.ts';
import { HttpError } from '../../http/errors.ts';
import { timeQuery } from '../rest/times.ts';

/** 12 hours at one per 2 s. */
const fragmentsMax = 21_600;

export interface Range {
  readonly fromUs: number;
  readonly toUs: number;
}

/** `from` and `to`. @throws HttpError `bad-request` */
export function rangeOf(c: Context<AppEnv>): Range {
  const [fromMs, toMs] = (['from', 'to'] as const).map((field) => {
    const parsed = timeQuery.safeParse(c.req.query(field) ?? '');
    if (parsed.success) return parsed.data;
    const message = parsed.error.issues[0]?.message ?? 'is no time';
    throw new HttpError('bad-request', `${field} ${message}`, { details: [{ field, message }] });
  }) as [number, number];
  if (fromMs >= toMs) throw new HttpError('bad-request', '`to` must come after `from`.');
  return { fromUs: fromMs * 1_000, toUs: toMs * 1_000 };
}

/**
 * What was recorded in it, in order of time; at least one.
 * @throws HttpError `not-found`; `bad-request`: more than one answer may list
 */
export async function rangeRows(
  video: VideoStore,
  camera: string,
  { fromUs, toUs }: Range,
): Promise<readonly [FragmentSpan, ...FragmentSpan[]]> {
  const rows = await video.spans({ camera, fromUs, toUs, limit: fragmentsMax + 1 });
  const [first, ...others] = rows;
  if (first === undefined) {
    throw new HttpError('not-found', `Nothing of ${camera} was recorded in this time.`);
  }
  if (rows.length <= fragmentsMax) return [first, ...others];
  throw new HttpError(
    'bad-request',
    `${fragmentsMax} fragments (about 12 hours) are the most at once: ask for less time.`,
  );
}
