/** Whether a delivery's destination is there and lets us in, asked without sending anything. */
import { DescribeStreamSummaryCommand, KinesisClient } from '@aws-sdk/client-kinesis';
import { HeadBucketCommand, S3Client } from '@aws-sdk/client-s3';
import type { Clock } from '../../storage/ports.ts';
import { awsOptions, sinkFor } from '../forward/destinations.ts';
import type { Destination, KinesisDestination } from '../forward/options.ts';
import { SinkError, type Sink } from '../forward/sink.ts';
import { AwsClient } from '../forward/sinks/aws.ts';
import { tryFolder } from '../forward/sinks/folder/folder-sink.ts';
import { kinesisVideoSink } from '../forward/sinks/kinesis-video/kinesis-video-sink.ts';
import { failure, fine, warning, type Diagnosis } from './diagnosis.ts';

const askTimeoutMs = 8000;

export async function diagnoseDestination(
  delivery: string,
  to: Destination,
  clock: Clock,
): Promise<Diagnosis> {
  const name = `Delivery ${delivery}`;
  try {
    return fine(name, await ask(delivery, to, clock));
  } catch (error) {
    if (!(error instanceof SinkError)) throw error;
    const [kind = ''] = Object.keys(to);
    const network = `check the network, a proxy or firewall, and ${addressOf(kind)}`;
    const advice: Readonly<Partial<Record<SinkError['code'], string>>> = {
      credentials: `check ${passOf(kind)}`,
      denied: 'check what these credentials may do',
      missing: 'make it, or correct its name and region',
      unreachable: network,
      timeout: network,
      aborted: network,
    };
    const say = error.retryable && error.code !== 'credentials' ? warning : failure;
    const reason =
      error.code === 'aborted' ? `no answer within ${askTimeoutMs / 1000} s` : error.message;
    return say(
      name,
      `${describe(to)}: ${reason}`,
      error.advice ?? advice[error.code] ?? 'see the reason',
    );
  }
}

/** The key that says where it is. */
function addressOf(kind: string): string {
  const keys: Readonly<Record<string, string>> = {
    ...{ http: 'url', nats: 'servers', kafka: 'brokers', redshift: 'host and port' },
  };
  return `to.${kind}.${keys[kind] ?? 'endpoint'}`;
}

/** The keys that let us in. */
function passOf(kind: string): string {
  const keys: Readonly<Record<string, string>> = {
    ...{ http: 'accessKey', splunk: 'token', redshift: 'username and password' },
    ...{ nats: 'username and password', kafka: 'username and password' },
  };
  return `to.${kind}.${keys[kind] ?? 'accessKeyId and secretAccessKey'}`;
}

function describe(to: Destination): string {
  if ('folder' in to) return to.folder.path;
  if ('kinesisVideo' in to) return `video stream ${to.kinesisVideo.stream}`;
  if ('kinesis' in to) return `data stream ${to.kinesis.stream}`;
  if ('http' in to) return `endpoint ${new URL(to.http.url).host}`;
  if ('opensearch' in to) return `index ${to.opensearch.index}`;
  if ('splunk' in to) return `Splunk at ${new URL(to.splunk.endpoint).host}`;
  if ('redshift' in to) return `table ${to.redshift.table} in Redshift`;
  if ('nats' in to) return `subject ${to.nats.subject}`;
  if ('kafka' in to) return `topic ${to.kafka.topic}`;
  return 's3' in to ? `bucket ${to.s3.bucket}` : `table ${to.dynamodb.table}`;
}

/** @throws SinkError */
async function ask(delivery: string, to: Destination, clock: Clock): Promise<string> {
  if ('folder' in to) {
    const { path } = to.folder;
    return (await tryFolder(path)) ? `${path} can be written` : `${path} will be made`;
  }
  const signal = AbortSignal.timeout(askTimeoutMs);
  if ('s3' in to) {
    const { bucket, forcePathStyle, endpoint } = to.s3;
    const client = new AwsClient(
      's3',
      awsOptions(to.s3),
      (config) =>
        new S3Client({ ...config, forcePathStyle: forcePathStyle ?? typeof endpoint === 'string' }),
    );
    try {
      const command = new HeadBucketCommand({ Bucket: bucket });
      await client.call(signal, (s3, abortSignal) => s3.send(command, { abortSignal }));
    } finally {
      client.close();
    }
    return `bucket ${bucket} is there`;
  }
  if ('kinesisVideo' in to) {
    const { stream } = to.kinesisVideo;
    const sink = kinesisVideoSink({ ...awsOptions(to.kinesisVideo), stream, clock });
    try {
      return `video stream ${stream} is there, and takes media at ${await sink.dataEndpoint(signal)}`;
    } finally {
      await sink.close();
    }
  }
  if ('kinesis' in to) return askStream(to.kinesis, signal);
  const sink = sinkFor(to, clock, delivery);
  try {
    return await askSink(sink, signal);
  } finally {
    await sink.close();
  }
}

/** @throws SinkError */
async function askSink(sink: Sink, signal: AbortSignal): Promise<string> {
  const said = 'check' in sink ? await sink.check?.(signal) : undefined;
  return said ?? `${sink.description} is not asked anything beforehand`;
}

/** @throws SinkError */
async function askStream(to: KinesisDestination, signal: AbortSignal): Promise<string> {
  const client = new AwsClient('kinesis', awsOptions(to), (config) => new KinesisClient(config));
  try {
    const command = new DescribeStreamSummaryCommand({ StreamName: to.stream });
    const { StreamDescriptionSummary: summary } = await client.call(
      signal,
      (kinesis, abortSignal) => kinesis.send(command, { abortSignal }),
    );
    return `data stream ${to.stream} is ${summary?.StreamStatus?.toLowerCase() ?? 'there'}`;
  } finally {
    client.close();
  }
}
