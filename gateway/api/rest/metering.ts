/**
 * The routes of metering: what a stream took and gave, under the names that Kinesis has for it, and
 * what a delivery did, under those of Firehose.
 */
import { createRoute } from '@hono/zod-openapi';
import type { Log } from '../../../storage/model.ts';
import type { Deliveries } from '../../forward/deliveries.ts';
import type { Metering } from '../kinesis/metering.ts';
import type { DeliveryMeasure } from '../../forward/flow/metering.ts';
import type { HttpError } from '../../http/errors.ts';
import { streamNamed } from './absent.ts';
import { answers, nameParameter, type RestRouter } from './router.ts';
import { DeliveryMeteringSchema, type DeliveryMeteringAnswer } from './delivery-schemas.ts';
import { MeteringSchema, type MeteringAnswer } from './stream-schemas.ts';
import { isoFromMs } from './times.ts';

const metering = createRoute({
  method: 'get',
  path: '/streams/{name}/metering',
  summary: 'What a stream took and gave',
  description:
    'Since the gateway started, under the names that Kinesis has in CloudWatch; PutPayloadUnits ' +
    'and ShardHours have none there. A measure is left out until there is something to measure.',
  request: { params: nameParameter },
  responses: answers(MeteringSchema, 'By name: of the stream, its consumers, and monitored shards'),
});

const ofDelivery = createRoute({
  method: 'get',
  path: '/deliveries/{name}/metering',
  summary: 'What a delivery did',
  description:
    'Since the gateway started, under the names that Firehose has in CloudWatch, made by the kind of ' +
    'destination: DeliveryToS3.DataFreshness is the age of the oldest record not sent yet, ' +
    'DeliveryToHttpEndpoint.Success the share of attempts that succeeded. What its backup did is ' +
    'told with it, as BackupToS3. Incoming and throttled ' +
    'records are those of its stream. A measure is left out until there is something to measure.',
  request: { params: nameParameter },
  responses: answers(DeliveryMeteringSchema, 'By name'),
});

/** Of a delivery's stream, what Firehose shows too, and under which name. */
const incoming: ReadonlyMap<string, string> = new Map([
  ['IncomingBytes', 'IncomingBytes'],
  ['IncomingRecords', 'IncomingRecords'],
  ['WriteProvisionedThroughputExceeded', 'ThrottledRecords'],
]);

export function meteringRoutes(
  router: RestRouter,
  options: {
    readonly log: Log;
    readonly metering: Metering;
    readonly deliveries: () => Pick<Deliveries, 'metered'>;
    /** What is said of a delivery that is not there. */
    readonly absentDelivery: (name: string) => Promise<HttpError>;
  },
): void {
  router.openapi(ofDelivery, async (c) => {
    const { name } = c.req.valid('param');
    const metered = await options.deliveries().metered(name);
    if (metered === null) throw await options.absentDelivery(name);
    const { from, sinceMs, measures } = metered;
    const stream = options.log.streams().find((one) => one.name === from.name);
    const taken = from.kind === 'stream' && stream !== undefined ? options.metering.of(stream) : [];
    const ofStream = taken.flatMap(({ name: its, consumer, shard, total, lastMinute }) => {
      const here = consumer === null && shard === null ? incoming.get(its) : undefined;
      const unit: DeliveryMeasure['unit'] = here === 'IncomingBytes' ? 'Bytes' : 'Count';
      return here === undefined ? [] : [{ name: here, unit, total, lastMinute }];
    });
    const answer: DeliveryMeteringAnswer = {
      sinceTime: isoFromMs(sinceMs),
      metrics: [...ofStream, ...measures.map((measure) => ({ ...measure }))],
    };
    return c.json(answer, 200);
  });

  router.openapi(metering, (c) => {
    const stream = streamNamed(options.log, c.req.valid('param').name);
    const answer: MeteringAnswer = {
      sinceTime: isoFromMs(options.metering.sinceMs),
      metrics: options.metering.of(stream).map((metered) => ({ ...metered })),
    };
    return c.json(answer, 200);
  });
}
