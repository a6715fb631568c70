/** Whether what a delivery needs is there, found out by the gateway itself: with its keys, from where it is. */
import { createRoute } from '@hono/zod-openapi';
import type { Diagnosis } from '../../doctor/diagnosis.ts';
import type { HttpError } from '../../http/errors.ts';
import { answers, nameParameter, type RestRouter } from './router.ts';
import { FindingsSchema } from './delivery-schemas.ts';

const check = createRoute({
  method: 'post',
  path: '/deliveries/{name}/check',
  summary: 'Looks whether what a delivery needs is there',
  description:
    'Asks its destination, and the function of its transform, whether they are there and let the ' +
    'gateway in, for some seconds at most. Nothing is sent.',
  request: { params: nameParameter },
  responses: answers(FindingsSchema, 'What was found'),
});

export function deliveryCheckRoutes(
  router: RestRouter,
  checkDelivery: (name: string) => Promise<readonly Diagnosis[] | null>,
  absentOne: (name: string) => Promise<HttpError>,
): void {
  router.openapi(check, async (c) => {
    const { name } = c.req.valid('param');
    const found = await checkDelivery(name);
    if (found === null) throw await absentOne(name);
    return c.json({ findings: [...found] }, 200);
  });
}
