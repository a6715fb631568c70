/** Every operation, by the path that is posted to; PutMedia is in put-media.ts. */
import type { AnyOperation } from '../operation.ts';
import * as configurations from './configurations.ts';
import * as fragments from './fragments.ts';
import { getClip } from './get-clip.ts';
import { getImages } from './get-images.ts';
import { getMedia } from './get-media.ts';
import * as sessions from './sessions.ts';
import * as streams from './streams.ts';
import * as tags from './tags.ts';

const all: readonly AnyOperation[] = [
  streams.createStream,
  streams.deleteStream,
  streams.describeStream,
  streams.describeStreamStorageConfiguration,
  streams.getDataEndpoint,
  streams.listStreams,
  streams.updateDataRetention,
  streams.updateStream,
  streams.updateStreamStorageConfiguration,
  tags.listTagsForResource,
  tags.listTagsForStream,
  tags.tagResource,
  tags.tagStream,
  tags.untagResource,
  tags.untagStream,
  configurations.describeImageGenerationConfiguration,
  configurations.describeNotificationConfiguration,
  configurations.updateImageGenerationConfiguration,
  configurations.updateNotificationConfiguration,
  fragments.getMediaForFragmentList,
  fragments.listFragments,
  sessions.getDashStreamingSessionUrl,
  sessions.getHlsStreamingSessionUrl,
  getClip,
  getImages,
  getMedia,
];

export const operations: ReadonlyMap<string, AnyOperation> = new Map(
  all.map((operation) => [operation.path, operation]),
);
