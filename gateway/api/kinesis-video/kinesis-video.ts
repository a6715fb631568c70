/** Puts the Kinesis Video API together: what its operations work with, and its routes. */
import { Hono } from 'hono';
import type { VideoStore } from '../../../storage/model.ts';
import type { Clock } from '../../../storage/ports.ts';
import type { AppEnv } from '../../http/authentication.ts';
import type { Images } from '../../media/images.ts';
import type { Account } from '../aws/account.ts';
import { PageTokens } from '../kinesis/page-tokens.ts';
import { Sealer } from '../aws/sealing.ts';
import type { ServiceOptions } from '../aws/service.ts';
import { Clips } from './clips.ts';
import { MediaStreams } from './media.ts';
import { kinesisVideoRoutes } from './routes.ts';
import { sessionRoutes } from './sessions/routes.ts';
import { SessionTokens } from './sessions/tokens.ts';
import { Streams, type StreamCameras } from './streams.ts';

export interface KinesisVideoOptions extends ServiceOptions {
  readonly video: VideoStore;
  readonly cameras: StreamCameras;
  readonly images: Pick<Images, 'imageOf'>;
  readonly account: Account;
  /** Of this gateway: tokens are sealed with a key made from it. */
  readonly secret: Buffer;
  readonly clock: Clock;
}

/**
 * @example
 * const kinesisVideo = new KinesisVideoService({ video: store.video, cameras, account, secret, … });
 * createApp({ …, kinesisVideo: kinesisVideo.routes });
 */
export class KinesisVideoService {
  readonly routes: Hono<AppEnv>;
  readonly streams: Streams;
  readonly #media: MediaStreams;

  constructor(options: KinesisVideoOptions) {
    const { video, clock, logger, metrics, images } = options;
    this.streams = new Streams(video, options.cameras, options.account);
    this.#media = new MediaStreams({ video, clock, logger, metrics });
    const sealer = new Sealer(options.secret, clock);
    const context = {
      ...{ video, clock, images },
      streams: this.streams,
      media: this.#media,
      clips: new Clips(video),
      pageTokens: new PageTokens(sealer, clock),
      sessions: new SessionTokens(sealer, clock),
    };
    const { authenticator, authorizer, audit } = options;
    const asked = { context, authenticator, authorizer, audit, logger, metrics };
    this.routes = new Hono<AppEnv>();
    this.routes.route('/', kinesisVideoRoutes(asked));
    this.routes.route('/', sessionRoutes({ video, clock, logger, tokens: context.sessions }));
  }

  /** Ends what would be answered for hours; calling it twice is harmless. */
  close(): void {
    this.#media.close();
  }
}
