/** Starts what makes media of stored footage: images, thumbnails, exports. */
import type { VideoStore } from '../storage/model.ts';
import type { Clock, Logger, Metrics } from '../storage/ports.ts';
import type { Media } from './api/rest/media.ts';
import type { Config } from './config/schema.ts';
import { Exports } from './media/export.ts';
import { Images } from './media/images.ts';
import { Thumbnails } from './media/thumbnails.ts';

export interface MediaParts {
  readonly config: Config['video'];
  readonly video: VideoStore;
  readonly ffmpegPath: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface RunningMedia extends Media {
  /** Ends what is under way. Twice is harmless. */
  readonly close: () => void;
}

export function startMedia(parts: MediaParts): RunningMedia {
  const { config, video, ffmpegPath, clock, metrics } = parts;
  const { imageCpuShare: cpuShare } = config;
  const logger = parts.logger.child({ part: 'media' });
  const images = new Images({ video, ffmpegPath, cpuShare, clock, metrics });
  const ahead = config.thumbnails === 'ahead';
  const thumbnails = new Thumbnails({ video, images, ahead, clock, logger });
  return {
    ...{ images, thumbnails, exports: new Exports(video) },
    close: () => {
      thumbnails.close();
      images.close();
    },
  };
}
