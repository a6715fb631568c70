/** What the routes share that hold a delivery or a function back, let it go on, and put it elsewhere. */
import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import type { RewindTo } from '../../forward/flow/rewind.ts';
import { remoteAddress, type AppEnv } from '../../http/authentication.ts';
import type { Clock } from '../../../storage/ports.ts';
import { HttpError, toHttpError } from '../../http/errors.ts';
import type { AuditLog } from '../../observe/audit.ts';
import { timeQuery } from './times.ts';

export interface SteeringRoutes<Flow> {
  readonly flow: () => Flow;
  /** What is said of one that is not there. */
  readonly absentOne: (name: string) => Promise<HttpError>;
  readonly audit: Pick<AuditLog, 'record'>;
  readonly clock: Pick<Clock, 'nowMs'>;
}

/**
 * A mistyped year would pass over everything that waits.
 * @throws HttpError `bad-request`
 */
export function placeOf(to: RewindTo, clock: Pick<Clock, 'nowMs'>): RewindTo {
  if (typeof to === 'string' || to.timeMs <= clock.nowMs()) return to;
  throw new HttpError(
    'bad-request',
    'to: lies in the future; latest passes over what is stored, and begins with what comes next',
  );
}

const place = z.string().transform((text, context): RewindTo => {
  if (text === 'earliest' || text === 'latest') return text;
  const time = timeQuery.safeParse(text);
  if (time.success) return { timeMs: time.data };
  const message = 'must be earliest, latest, or a time such as 2026-01-31T09:30:00Z';
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
});

/** Where to begin anew. */
export const rewindBody = {
  required: true,
  content: {
    'application/json': {
      schema: z.strictObject({
        to: place.openapi({
          type: 'string',
          example: '2026-01-31T09:30:00Z',
          description:
            'earliest: all that is stored; latest: what comes next; or a time, ISO 8601 or milliseconds since the epoch',
        }),
      }),
    },
  },
} as const;

/**
 * Does what is asked for, and writes down what came of it.
 * @throws HttpError as `absentOne` says when there is none of that name; whatever it throws
 */
export function steering<Status, Shown>(options: {
  readonly audit: Pick<AuditLog, 'record'>;
  readonly absentOne: (name: string) => Promise<HttpError>;
  readonly what: 'delivery' | 'function';
  readonly shown: (status: Status) => Shown;
}) {
  const { audit, absentOne, what, shown } = options;
  return async (
    c: Context<AppEnv>,
    action: string,
    name: string,
    work: () => Promise<Status | null>,
  ): Promise<Shown> => {
    const entry = {
      action: `headgate:${action}`,
      resource: `${what}/${name}`,
      // Whoever holds a token, or is logged in, is the operator.
      caller: 'operator',
      accessKeyId: null,
      sourceAddress: remoteAddress(c.env),
      requestId: null,
    };
    try {
      const status = await work();
      if (status === null) throw await absentOne(name);
      audit.record({ ...entry, outcome: 'ok' });
      return shown(status);
    } catch (error) {
      audit.record({ ...entry, outcome: toHttpError(error).code });
      throw error;
    }
  };
}
