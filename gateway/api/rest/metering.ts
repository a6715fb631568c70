/** The route of metering: what a stream took and gave, under the names that Kinesis has for it. */
import { createRoute } from '@hono/zod-openapi';
import type { Log } from '../../../storage/model.ts';
import type { Metering } from '../kinesis/metering.ts';
import { answers, nameParameter, type RestRouter } from './router.ts';
import { MeteringSchema, type MeteringAnswer } from './schemas.ts';
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

export function meteringRoutes(
  router: RestRouter,
  options: { readonly log: Log; readonly metering: Metering },
): void {
  router.openapi(metering, (c) => {
    const stream = options.log.stream(c.req.valid('param').name);
    const answer: MeteringAnswer = {
      sinceTime: isoFromMs(options.metering.sinceMs),
      metrics: options.metering.of(stream).map((metered) => ({ ...metered })),
    };
    return c.json(answer, 200);
  });
}
