/** Our own API, mounted at `/api/v1`, with its OpenAPI 3.1 description at `openapi.json`. */
import { cameraRoutes } from './cameras.ts';
import type { CameraSettings } from '../../camera-settings.ts';
import type { Operations } from '../../operations.ts';
import { operationsRoutes } from './operations.ts';
import { createRouter, type RestRouter } from './router.ts';
import { seriesRoutes } from './series.ts';
import { statusRoutes, type StatusRoutesOptions } from './status.ts';
import { streamRoutes } from './streams.ts';

export interface RestOptions extends StatusRoutesOptions {
  readonly operations: Operations;
  readonly cameraSettings: CameraSettings;
}

export function restRoutes(options: RestOptions): RestRouter {
  const { clock, log, video, sources, version } = options;
  const router = createRouter();
  statusRoutes(router, options);
  operationsRoutes(router, options);
  streamRoutes(router, { log, clock });
  seriesRoutes(router, { log });
  cameraRoutes(router, {
    video,
    cameraStatuses: () => sources.cameras(),
    settings: options.cameraSettings,
  });

  router.openAPIRegistry.registerComponent('securitySchemes', 'token', {
    type: 'http',
    scheme: 'bearer',
    description: 'What `headgate token` prints. A browser logs in and sends its cookie instead.',
  });
  router.doc31('/openapi.json', {
    openapi: '3.1.0',
    info: {
      title: 'Headgate',
      version,
      description:
        'Streams and their records, cameras and their footage, deliveries and their backlog. ' +
        'Times are ISO 8601 in UTC; in queries also milliseconds since the epoch.',
    },
    servers: [{ url: '/api/v1' }],
    security: [{ token: [] }],
  });
  return router;
}
