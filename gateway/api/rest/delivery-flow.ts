/** Routes that hold a delivery back, let it go on, and put it elsewhere. Each is in the audit log. */
import { createRoute } from '@hono/zod-openapi';
import type { Deliveries } from '../../forward/deliveries.ts';
import { placeOf, rewindBody, steering, type SteeringRoutes } from './steering.ts';
import { answers, nameParameter, type RestRouter } from './router.ts';
import { DeliverySchema } from './schemas.ts';
import { deliveryOf } from './status.ts';

export type DeliveryFlow = Pick<Deliveries, 'pause' | 'resume' | 'rewind' | 'metered'>;

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
  description: 'Its schedule and its command may hold it back yet. Again is harmless.',
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

export function deliveryFlowRoutes(
  router: RestRouter,
  { flow, audit, clock }: SteeringRoutes<DeliveryFlow>,
): void {
  const told = steering({ audit, what: 'delivery', shown: deliveryOf });
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
}
