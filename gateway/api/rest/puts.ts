/** The route that takes records, and what a body of records may weigh. */
import { createRoute } from '@hono/zod-openapi';
import type { MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type { Log, RecordInput } from '../../../storage/model.ts';
import { whenAnswered, type AppEnv } from '../../http/authentication.ts';
import { ByteBudget } from '../../http/byte-budget.ts';
import { HttpError } from '../../http/errors.ts';
import { withStreams } from './absent.ts';
import { answers, nameParameter, type RestRouter } from './router.ts';
import { PlacesSchema, PutRecordsSchema } from './stream-schemas.ts';

/** As much as one call of PutRecords takes, in base64. */
const putBytesMax = 15 * 1024 * 1024;
/** Of all bodies of records that are being taken. */
const putsBytesMax = 64 * 1024 * 1024;

const put = createRoute({
  method: 'post',
  path: '/streams/{name}/records',
  summary: 'Appends records to a stream: all of them, or none',
  description:
    'Answered once all of them are on disk. `encoding` is what the reading of records has: text, ' +
    'or base64 of any bytes.',
  request: {
    params: nameParameter,
    body: { content: { 'application/json': { schema: PutRecordsSchema } }, required: true },
  },
  responses: answers(PlacesSchema, 'Where they are'),
});

export interface PutRoutesOptions {
  readonly log: Pick<Log, 'append' | 'streams'>;
  /** 0 inclusive to 1 exclusive. */
  readonly random: () => number;
}

export function putRoutes(router: RestRouter, { log, random }: PutRoutesOptions): void {
  router.openapi(put, async (c) => {
    const { name } = c.req.valid('param');
    const records = c.req.valid('json').records.map((record, index): RecordInput => {
      const { partitionKey, encoding, data, explicitHashKey } = record;
      return {
        partitionKey: partitionKey ?? random().toString(36).slice(2).padEnd(1, '0'),
        data: encoding === 'utf8' ? Buffer.from(data) : fromBase64(data, index),
        ...(explicitHashKey === undefined ? {} : { explicitHashKey: BigInt(explicitHashKey) }),
      };
    });
    const places = await log.append(name, records).catch((error: unknown) => {
      throw withStreams(log, name, error);
    });
    return c.json(
      { places: places.map(({ shardIndex, sequence }) => ({ shard: shardIndex, sequence })) },
      200,
    );
  });
}

/** Node takes what it can from any text; this takes base64 and nothing else. */
function fromBase64(text: string, index: number): Buffer {
  if (text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text)) {
    return Buffer.from(text, 'base64');
  }
  const [field, message] = [`records.${index}.data`, 'is not base64'];
  throw new HttpError('bad-request', `The request is not right: ${field}: ${message}`, {
    details: [{ field, message }],
  });
}

/** Whether a request brings records. */
export function isPut({
  method,
  path,
}: {
  readonly method: string;
  readonly path: string;
}): boolean {
  return method === 'POST' && /^\/api\/v1\/streams\/[^/]+\/records$/.test(path);
}

/** Refuses bodies of records that are too large, and more of them than memory should hold. */
export function limitPuts(): MiddlewareHandler<AppEnv> {
  const budget = new ByteBudget(putsBytesMax, 'Too many records are coming in: try again.');
  const limit = bodyLimit({
    maxSize: putBytesMax,
    onError: () => {
      throw new HttpError('too-large', `The body exceeds ${putBytesMax} bytes.`);
    },
  });
  return async (c, next) => {
    if (!isPut(c.req)) return next();
    const length = Number(c.req.header('content-length') ?? putBytesMax);
    whenAnswered(
      c.env,
      budget.take(Number.isFinite(length) ? Math.min(length, putBytesMax) : putBytesMax),
    );
    return limit(c, next);
  };
}
