/** Our own API, mounted at `/api/v1`, with its OpenAPI 3.1 description at `openapi.json`. */
import { applicationRoutes } from './applications.ts';
import { cameraDiscoveryRoutes } from './camera-discovery.ts';
import { cameraEventRoutes } from './camera-events.ts';
import { cameraRoutes } from './cameras.ts';
import { absent } from './absent.ts';
import { deliveryCheckRoutes } from './delivery-check.ts';
import { absentDelivery, deliveryFlowRoutes } from './delivery-flow.ts';
import type { HttpError } from '../../http/errors.ts';
import type { CameraFinding } from '../../camera-finding.ts';
import type { CameraSettings } from '../../camera-settings.ts';
import type { AuditLog } from '../../observe/audit.ts';
import type { Operations } from '../../operations.ts';
import { operationsRoutes } from './operations.ts';
import type { Metering } from '../kinesis/metering.ts';
import { mediaRoutes, type Media } from './media.ts';
import { meteringRoutes } from './metering.ts';
import { functionFlowRoutes } from './function-flow.ts';
import { createRouter, type RestRouter } from './router.ts';
import { putRoutes } from './puts.ts';
import { seriesRoutes } from './series.ts';
import { statusRoutes, type StatusRoutesOptions } from './status.ts';
import { streamRoutes } from './streams.ts';
import { Waiting } from './waiting.ts';

export interface RestOptions extends StatusRoutesOptions {
  readonly operations: Operations;
  readonly cameraSettings: CameraSettings;
  readonly cameraFinding: CameraFinding;
  readonly metering: Metering;
  readonly audit: Pick<AuditLog, 'record'>;
  readonly media: Media;
  /** Aborted when the gateway closes: no request waits any longer. */
  readonly closing: AbortSignal;
}

export function restRoutes(options: RestOptions): RestRouter {
  const { clock, log, video, sources, version } = options;
  const router = createRouter();
  const noDelivery = async (name: string): Promise<HttpError> =>
    absentDelivery(name, {
      removed: () => sources.deliveryFlow.removed(),
      names: (await sources.deliveries()).map((one) => one.name),
    });
  const noFunction = async (name: string): Promise<HttpError> =>
    absent(
      'function',
      name,
      (await sources.functions()).map((one) => one.name),
    );
  statusRoutes(router, options, { delivery: noDelivery, function: noFunction });
  const { audit } = options;
  deliveryFlowRoutes(router, {
    ...{ flow: () => sources.deliveryFlow, absentOne: noDelivery, audit, clock },
  });
  deliveryCheckRoutes(router, (name) => sources.checkDelivery(name), noDelivery);
  functionFlowRoutes(router, {
    ...{ flow: () => sources.functionFlow, absentOne: noFunction, audit, clock },
  });
  operationsRoutes(router, options);
  const waiting = new Waiting({ log, clock, closing: options.closing });
  streamRoutes(router, { log, clock, waiting });
  applicationRoutes(router, { log, clock });
  putRoutes(router, { log, random: Math.random });
  seriesRoutes(router, { log });
  meteringRoutes(router, {
    log,
    metering: options.metering,
    deliveries: () => sources.deliveryFlow,
    absentDelivery: noDelivery,
  });
  cameraRoutes(router, {
    video,
    cameraStatuses: () => sources.cameras(),
    settings: options.cameraSettings,
  });
  cameraDiscoveryRoutes(router, options.cameraFinding);
  cameraEventRoutes(router, { video });
  mediaRoutes(router, { video, ...options.media });

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
        'Streams and their records, applications that read them, cameras and their footage, deliveries and functions and their backlogs. ' +
        'Times are ISO 8601 in UTC; in queries also milliseconds since the epoch.',
    },
    servers: [{ url: '/api/v1' }],
    security: [{ token: [] }],
  });
  return router;
}
