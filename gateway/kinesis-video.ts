/** Starts the Kinesis Video API: who may use it, what is written down of it, and what it answers. */
import type { Hono } from 'hono';
import type { Clock, Logger, Metrics } from '../storage/ports.ts';
import type { Store } from '../storage/store.ts';
import { KinesisVideoService } from './api/kinesis-video/kinesis-video.ts';
import type { Streams } from './api/kinesis-video/streams.ts';
import type { Close, Stage } from './closing.ts';
import type { Config } from './config/schema.ts';
import type { AppEnv } from './http/authentication.ts';
import type { Images } from './media/images.ts';
import type { Kinesis } from './kinesis.ts';
import type { StreamCameras } from './stream-cameras.ts';

export interface KinesisVideoParts {
  readonly config: Config;
  readonly store: Store;
  readonly cameras: StreamCameras;
  readonly kinesis: Kinesis;
  readonly images: Pick<Images, 'imageOf'>;
  /** Of this gateway. */
  readonly secret: Buffer;
  readonly onClose: (stage: Stage, name: string, close: Close) => void;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface KinesisVideo {
  readonly routes: Hono<AppEnv>;
  readonly streams: Streams;
}

export function startKinesisVideo(parts: KinesisVideoParts): KinesisVideo {
  const { config, store, cameras, kinesis, secret, clock, logger, metrics } = parts;
  const { accountId, region } = config.aws;
  const service = new KinesisVideoService({
    video: store.video,
    ...{ cameras, secret, clock, logger, metrics },
    account: { accountId, region },
    authenticator: kinesis.authenticator,
    authorizer: kinesis.authorizer,
    audit: kinesis.audit,
    images: parts.images,
  });
  parts.onClose('parts', 'Kinesis Video', () => {
    service.close();
  });
  return service;
}
