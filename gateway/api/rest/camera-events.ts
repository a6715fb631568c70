/** Routes of a camera's events: what happened when, and whether it holds its footage. */
import { createRoute, z } from '@hono/zod-openapi';
import type { VideoEvent, VideoStore } from '../../../storage/model.ts';
import { HttpError } from '../../http/errors.ts';
import {
  answers,
  checkRange,
  nameParameter,
  rangeFields,
  wholeQuery,
  type RestRouter,
} from './router.ts';
import { CameraEventSchema, CameraEventsSchema, type CameraEvent } from './camera-schemas.ts';
import { isoFromMs, isoFromUs, timeQuery } from './times.ts';

const eventsMax = 1_000;
const kind = z.string().regex(/^[a-zA-Z0-9_.:-]{1,64}$/, '1 to 64 of a-z A-Z 0-9 _ . : -');

const eventParameters = nameParameter.extend({ id: z.string().regex(/^\d{1,15}$/, 'a number') });

const list = createRoute({
  method: 'get',
  path: '/cameras/{name}/events',
  summary: 'Events of a camera that overlap a stretch of time',
  request: {
    params: nameParameter,
    query: z.object({
      ...rangeFields,
      kind: kind.optional(),
      hold: z.enum(['true', 'false']).optional(),
      limit: wholeQuery(1, eventsMax, 500),
    }),
  },
  responses: answers(CameraEventsSchema, 'In order of their start'),
});

const add = createRoute({
  method: 'post',
  path: '/cameras/{name}/events',
  summary: 'Adds an event',
  request: {
    params: nameParameter,
    body: {
      required: true,
      content: {
        'application/json': {
          schema: z.strictObject({
            kind,
            startTime: timeQuery,
            endTime: timeQuery.optional().describe('Left out: an instant'),
            data: z.unknown().default(null).describe('Anything, in at most 16 KiB'),
            hold: z
              .boolean()
              .default(false)
              .describe('Keeps its footage from being deleted by age and bytes'),
          }),
        },
      },
    },
  },
  responses: answers(CameraEventSchema, 'The event'),
});

const change = createRoute({
  method: 'patch',
  path: '/cameras/{name}/events/{id}',
  summary: 'Has an event hold its footage, or release it',
  request: {
    params: eventParameters,
    body: {
      required: true,
      content: { 'application/json': { schema: z.strictObject({ hold: z.boolean() }) } },
    },
  },
  responses: answers(CameraEventSchema, 'The event'),
});

const remove = createRoute({
  method: 'delete',
  path: '/cameras/{name}/events/{id}',
  summary: 'Deletes an event, which releases what it holds',
  request: { params: eventParameters },
  responses: answers(CameraEventSchema, 'The event as it was'),
});

export function cameraEventRoutes(
  router: RestRouter,
  { video }: { readonly video: VideoStore },
): void {
  router.openapi(list, async (c) => {
    const { from, to, limit, hold, kind: wanted } = c.req.valid('query');
    checkRange(from, to);
    const found = await video.events({
      camera: c.req.valid('param').name,
      fromUs: from * 1_000,
      toUs: to * 1_000,
      limit: limit + 1,
      ...(wanted === undefined ? {} : { kind: wanted }),
      ...(hold === undefined ? {} : { hold: hold === 'true' }),
    });
    return c.json(
      { events: found.slice(0, limit).map(eventOf), complete: found.length <= limit },
      200,
    );
  });

  router.openapi(add, async (c) => {
    const { startTime, endTime = startTime, data, hold, kind: ofKind } = c.req.valid('json');
    if (endTime < startTime) {
      const message = 'must not come before startTime';
      const details = [{ field: 'endTime', message }];
      throw new HttpError('bad-request', `endTime ${message}`, { details });
    }
    const event = await video.addEvent({
      camera: c.req.valid('param').name,
      kind: ofKind,
      startUs: startTime * 1_000,
      endUs: endTime * 1_000,
      data,
      hold,
    });
    return c.json(eventOf(event), 200);
  });

  router.openapi(change, async (c) => {
    const { id } = await eventAt(video, c.req.valid('param'));
    return c.json(eventOf(await video.changeEvent(id, c.req.valid('json'))), 200);
  });

  router.openapi(remove, async (c) => {
    const event = await eventAt(video, c.req.valid('param'));
    await video.deleteEvent(event.id);
    return c.json(eventOf(event), 200);
  });
}

/** @throws HttpError `not-found` also for another camera's */
async function eventAt(
  video: VideoStore,
  { name, id }: { readonly name: string; readonly id: string },
): Promise<VideoEvent> {
  const event = await video.event(Number(id));
  if (event.camera === name) return event;
  throw new HttpError('not-found', `The camera ${name} has no event ${id}.`);
}

function eventOf({
  id,
  kind: ofKind,
  startUs,
  endUs,
  data,
  hold,
  createdMs,
}: VideoEvent): CameraEvent {
  return {
    id,
    kind: ofKind,
    startTime: isoFromUs(startUs),
    endTime: isoFromUs(endUs),
    data,
    hold,
    createdTime: isoFromMs(createdMs),
  };
}
