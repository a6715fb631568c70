/** Routes that hold a delivery back, let it go on, and put it elsewhere. Each is in the audit log. */
import { createRoute, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import type { DeliveryStatus } from '../../forward/delivery-status.ts';
import type { Deliveries } from '../../forward/deliveries.ts';
import type { RewindTo } from '../../forward/flow/rewind.ts';
import { remoteAddress, type AppEnv } from '../../http/authentication.ts';
import { HttpError, toHttpError } from '../../http/errors.ts';
import type { AuditLog } from '../../observe/audit.ts';
import { answers, nameParameter, type RestRouter } from './router.ts';
import { DeliverySchema } from './schemas.ts';
import { deliveryOf } from './status.ts';
import { timeQuery } from './times.ts';

export type DeliveryFlow = Pick<Deliveries, 'pause' | 'resume' | 'rewind' | 'metered'>;

export interface DeliveryFlowOptions {
  readonly flow: () => DeliveryFlow;
  readonly audit: Pick<AuditLog, 'record'>;
}

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

const place = z.string().transform((text, context): RewindTo => {
  if (text === 'earliest' || text === 'latest') return text;
  const time = timeQuery.safeParse(text);
  if (time.success) return { timeMs: time.data };
  const message = 'must be earliest, latest, or a time such as 2026-01-31T09:30:00Z';
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
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
  request: {
    params: nameParameter,
    body: {
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
    },
  },
  responses: answers(DeliverySchema, 'The delivery, where it is now'),
});

export function deliveryFlowRoutes(router: RestRouter, options: DeliveryFlowOptions): void {
  const { flow } = options;
  router.openapi(pause, async (c) => {
    const { name } = c.req.valid('param');
    return c.json(await told(options, c, 'PauseDelivery', name, () => flow().pause(name)), 200);
  });
  router.openapi(resume, async (c) => {
    const { name } = c.req.valid('param');
    return c.json(await told(options, c, 'ResumeDelivery', name, () => flow().resume(name)), 200);
  });
  router.openapi(rewind, async (c) => {
    const { name } = c.req.valid('param');
    const { to } = c.req.valid('json');
    return c.json(
      await told(options, c, 'RewindDelivery', name, () => flow().rewind(name, to)),
      200,
    );
  });
}

/** Does it, and writes down what came of it. @throws HttpError `not-found`; whatever it throws */
async function told(
  { audit }: DeliveryFlowOptions,
  c: Context<AppEnv>,
  action: string,
  name: string,
  work: () => Promise<DeliveryStatus | null>,
) {
  const entry = {
    action: `headgate:${action}`,
    resource: `delivery/${name}`,
    // Whoever holds a token, or is logged in, is the operator.
    caller: 'operator',
    accessKeyId: null,
    sourceAddress: remoteAddress(c.env),
    requestId: null,
  };
  try {
    const status = await work();
    if (status === null) throw new HttpError('not-found', `There is no delivery named ${name}.`);
    audit.record({ ...entry, outcome: 'ok' });
    return deliveryOf(status);
  } catch (error) {
    audit.record({ ...entry, outcome: toHttpError(error).code });
    throw error;
  }
}
