/** Starts PutMedia: what answers `POST /putMedia`, for the cameras whose source it is. */
import type { PutMediaEntrance } from '../ingest/mkv/entrance.ts';
import type { Clock, Logger, Metrics } from '../storage/ports.ts';
import type { Store } from '../storage/store.ts';
import { fragmentNumber } from './api/kinesis-video/fragment-numbers.ts';
import { putMediaHandler } from './api/kinesis-video/put-media.ts';
import type { StreamingHandler } from './http/server.ts';
import type { KinesisVideo } from './kinesis-video.ts';
import type { Kinesis } from './kinesis.ts';

export interface PutMediaParts {
  readonly store: Store;
  readonly entrance: PutMediaEntrance;
  readonly kinesis: Kinesis;
  readonly kinesisVideo: KinesisVideo;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export function putMedia(parts: PutMediaParts): StreamingHandler {
  const { store, entrance, kinesis, kinesisVideo, clock, logger, metrics } = parts;
  return putMediaHandler({
    ...{ entrance, video: store.video, clock, logger, metrics },
    authenticator: kinesis.authenticator,
    authorizer: kinesis.authorizer,
    arnOf: (StreamName) => kinesisVideo.streams.arnOf({ StreamName }),
    fragmentNumber,
  });
}
