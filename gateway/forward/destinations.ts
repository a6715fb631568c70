/** From what the configuration says about a destination to the sink that serves it. */
import type { Clock } from '../../storage/ports.ts';
import type { AwsDestination, Destination } from './options.ts';
import type { Sink } from './sink.ts';
import type { AwsOptions } from './sinks/aws.ts';
import { folderSink } from './sinks/folder/folder-sink.ts';
import { kinesisSink } from './sinks/kinesis/kinesis-sink.ts';
import { kinesisVideoSink } from './sinks/kinesis-video/kinesis-video-sink.ts';
import { s3Sink } from './sinks/s3/s3-sink.ts';

export function sinkFor(destination: Destination, clock: Clock): Sink {
  if ('folder' in destination) return folderSink(destination.folder);
  if ('kinesis' in destination) {
    const { stream, aggregate = 'none' } = destination.kinesis;
    return kinesisSink({ ...awsOptions(destination.kinesis), stream, aggregate });
  }
  if ('kinesisVideo' in destination) {
    const { stream } = destination.kinesisVideo;
    return kinesisVideoSink({ ...awsOptions(destination.kinesisVideo), stream, clock });
  }
  const { bucket, forcePathStyle } = destination.s3;
  return s3Sink({
    ...awsOptions(destination.s3),
    bucket,
    ...(typeof forcePathStyle === 'boolean' && { forcePathStyle }),
  });
}

/** What every key at the destination begins with. */
export function prefixOf(destination: Destination): string {
  if ('folder' in destination) return destination.folder.prefix ?? '';
  return 's3' in destination ? (destination.s3.prefix ?? '') : '';
}

/** How the SDK is to connect, as the configuration says. */
export function awsOptions(destination: AwsDestination): AwsOptions {
  const { region, endpoint, accessKeyId, secretAccessKey } = destination;
  return {
    ...(typeof region === 'string' && { region }),
    ...(typeof endpoint === 'string' && { endpoint }),
    ...(typeof accessKeyId === 'string' &&
      typeof secretAccessKey === 'string' && { credentials: { accessKeyId, secretAccessKey } }),
  };
}
