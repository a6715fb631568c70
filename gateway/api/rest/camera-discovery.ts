/** The route that finds cameras in the gateway's networks (ONVIF). */
import { createRoute, z } from '@hono/zod-openapi';
import type { CameraFinding } from '../../camera-finding.ts';
import { answers, type RestRouter } from './router.ts';

const WantedSchema = z
  .strictObject({
    hosts: z
      .array(z.string().max(300))
      .max(64)
      .default([])
      .describe('Asked instead of the network, as host or host:port'),
    waitSeconds: z.number().min(0.5).max(20).default(4).describe('How long answers are waited for'),
    user: z
      .strictObject({ username: z.string().max(128), password: z.string().max(128) })
      .optional()
      .describe('Whom the cameras know; the password goes out as a digest alone'),
  })
  .openapi('CameraSearch');

const FoundSchema = z
  .object({
    cameras: z.array(
      z.object({
        host: z.string(),
        port: z.int().nullable(),
        id: z.string(),
        name: z.string(),
        hardware: z.string(),
        facts: z
          .object({
            manufacturer: z.string(),
            model: z.string(),
            firmware: z.string(),
            streams: z.array(
              z.object({
                profile: z.string(),
                kind: z.enum(['main', 'sub']),
                url: z.string().describe('As the camera says it, without user and password'),
                codec: z.string().nullable(),
                width: z.number().nullable(),
                height: z.number().nullable(),
                framesPerSecond: z.number().nullable(),
              }),
            ),
          })
          .nullable(),
        problem: z
          .object({ code: z.string(), message: z.string() })
          .nullable()
          .describe('Why there are no facts'),
      }),
    ),
  })
  .openapi('FoundCameras');

const discover = createRoute({
  method: 'post',
  path: '/camera-discovery',
  summary: 'Finds ONVIF cameras in the network, and the addresses of their streams',
  description: 'The gateway connects only to cameras within sources.allowedNetworks.',
  request: {
    body: { required: true, content: { 'application/json': { schema: WantedSchema } } },
  },
  responses: answers(FoundSchema, 'The devices that answered, by address'),
});

export function cameraDiscoveryRoutes(router: RestRouter, find: CameraFinding): void {
  router.openapi(discover, async (c) => {
    const { hosts, waitSeconds, user = null } = c.req.valid('json');
    const found = await find({ hosts, waitMs: waitSeconds * 1_000, user });
    const cameras = found.map(({ facts, ...said }) => ({
      ...said,
      facts: facts === null ? null : { ...facts, streams: [...facts.streams] },
    }));
    return c.json({ cameras }, 200);
  });
}
