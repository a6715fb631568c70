/**
 * Routes that hold a delivery back, let it go on, put it elsewhere, send again what failed, and let go
 * of one that is no longer configured. Each is in the audit log.
 */
import { createRoute, z } from '@hono/zod-openapi';
import type { Deliveries } from '../../forward/deliveries.ts';
import type { RemovedDelivery, StillFailed } from '../../forward/removed.ts';
import { HttpError } from '../../http/errors.ts';
import { absent } from './absent.ts';
import { placeOf, rewindBody, steering, type SteeringRoutes } from './steering.ts';
import { answers, nameParameter, type RestRouter } from './router.ts';
import { DeliverySchema, RemovedDeliverySchema, ReplaySchema } from './delivery-schemas.ts';
import { deliveryOf } from './status.ts';

export type DeliveryFlow = Pick<
  Deliveries,
  'pause' | 'resume' | 'rewind' | 'replay' | 'removed' | 'forget' | 'metered' | 'optionsOf'
>;

const pause = createRoute({
  method: 'post',
  path: '/deliveries/{name}/pause',
  summary: 'Holds a delivery back until it is resumed',
  description:
    'Nothing is begun any more, also after restarts; what is under way is finished. A required ' +
    'delivery keeps what it has not sent, as long as the byte limit of its source allows: a stream ' +
    'that is full does then what its whenFull says. Again is harmless.',
  request: { params: nameParameter },
  responses: answers(DeliverySchema, 'The delivery, which waits'),
});

const resume = createRoute({
  method: 'post',
  path: '/deliveries/{name}/resume',
  summary: 'Lets a paused delivery go on where it was',
  description:
    'An attempt that waits for its time is made at once. Its schedule and its command may hold it back yet. Again is harmless.',
  request: { params: nameParameter },
  responses: answers(DeliverySchema, 'The delivery'),
});

const rewind = createRoute({
  method: 'post',
  path: '/deliveries/{name}/rewind',
  summary: 'Has a delivery begin anew elsewhere in its source, back or forwards',
  description:
    'What came at the time or after it is sent, again where it was sent before; what is skipped is ' +
    'not. Records that go again come in other objects than the first time, with the next version in ' +
    'their names; footage replaces what is there. What was under way is called off: it may have ' +
    'arrived. Lanes are joined. What is deleted already does not come back.',
  request: { params: nameParameter, body: rewindBody },
  responses: answers(DeliverySchema, 'The delivery, where it is now'),
});

const replay = createRoute({
  method: 'post',
  path: '/deliveries/{name}/replay',
  summary: 'Sends the records of a delivery again that have failed by now',
  description:
    'They are in the stream failed.<name>, and go through the delivery as it is configured now, in ' +
    'the background. Those that fail once more are kept once more. While they are under way, again ' +
    'adds what has failed since, and sends none of them twice.',
  request: { params: nameParameter },
  responses: answers(ReplaySchema, 'They are on their way'),
});

const forget = createRoute({
  method: 'post',
  path: '/deliveries/{name}/forget',
  summary: 'Lets go of a delivery that is no longer configured: how far it had come, what it holds',
  description:
    'The stream failed.<name> goes with it. While that has records that were not sent again, or ' +
    'somebody else reads it, this is refused (409), unless force says so.',
  request: {
    params: nameParameter,
    query: z.object({
      force: z.enum(['true', 'false']).default('false').describe('Deletes failed records as well'),
    }),
  },
  responses: answers(RemovedDeliverySchema.pick({ name: true }), 'It is forgotten'),
});

/** What is said of a delivery that is not there: whether it is one that was removed. */
export async function absentDelivery(
  name: string,
  {
    removed,
    names,
  }: { readonly removed: DeliveryFlow['removed']; readonly names: readonly string[] },
): Promise<HttpError> {
  const left = (await removed()).find((one) => one.name === name);
  if (left === undefined) return absent('delivery', name, names);
  return new HttpError(
    'conflict',
    `${name} is no longer configured, and left ${leftText(left)}. Configured again it goes on where it was; "headgate delivery forget ${name}" lets go of it.`,
  );
}

function leftText({ backlog, failedRecords }: RemovedDelivery): string {
  const unsent = backlog.records > 0 ? [`${backlog.records} unsent`] : [];
  const failed = failedRecords > 0 ? [failedText(failedRecords)] : [];
  return [...unsent, ...failed].join(' and ') || 'what it had planned to send';
}

function failedText(records: number): string {
  return `${records} failed ${records === 1 ? 'record' : 'records'}`;
}

function refusalOf(name: string, failed: readonly StillFailed[]): HttpError {
  const what = failed.map(({ stream, records, readers }) => {
    const others = readers.length === 0 ? '' : `; read by ${readers.join(', ')}`;
    return `${stream} (${failedText(records)} not sent again${others})`;
  });
  return new HttpError(
    'conflict',
    `With ${name} goes ${what.join(' and ')}. Configure ${name} again to send them, or forget it with force (--force, ?force=true).`,
  );
}

export function deliveryFlowRoutes(
  router: RestRouter,
  { flow, absentOne, audit, clock }: SteeringRoutes<DeliveryFlow>,
): void {
  const told = steering({ audit, absentOne, what: 'delivery', shown: deliveryOf });
  const did = steering({ audit, absentOne, what: 'delivery', shown: (records: number) => records });
  router.openapi(pause, async (c) => {
    const { name } = c.req.valid('param');
    return c.json(await told(c, 'PauseDelivery', name, () => flow().pause(name)), 200);
  });
  router.openapi(resume, async (c) => {
    const { name } = c.req.valid('param');
    return c.json(await told(c, 'ResumeDelivery', name, () => flow().resume(name)), 200);
  });
  router.openapi(rewind, async (c) => {
    const { name } = c.req.valid('param');
    const to = placeOf(c.req.valid('json').to, clock);
    return c.json(await told(c, 'RewindDelivery', name, () => flow().rewind(name, to)), 200);
  });
  router.openapi(replay, async (c) => {
    const { name } = c.req.valid('param');
    const records = await did(c, 'ReplayDelivery', name, () => flow().replay(name));
    return c.json({ name, records }, 200);
  });
  router.openapi(forget, async (c) => {
    const { name } = c.req.valid('param');
    const isForced = c.req.valid('query').force === 'true';
    await did(c, 'ForgetDelivery', name, async () => {
      const outcome = await flow().forget(name, isForced);
      if (outcome === 'forgotten') return 0;
      if (outcome === 'unknown') {
        const names = (await flow().removed()).map((one) => one.name);
        throw absent('removed delivery', name, names);
      }
      if (outcome !== 'configured') throw refusalOf(name, outcome);
      const isMade = flow().optionsOf(name)?.origin === 'firehose';
      throw new HttpError(
        'conflict',
        isMade
          ? `${name} was made over the Firehose API, and DeleteDeliveryStream deletes it.`
          : `${name} is configured: take it out first, then forget it.`,
      );
    });
    return c.json({ name }, 200);
  });
}
