/** From what the configuration says about a destination to the sink that serves it. */
import { randomUUID } from 'node:crypto';
import type { Clock } from '../../storage/ports.ts';
import type {
  AwsDestination,
  Destination,
  HttpDestination,
  KafkaDestination,
  NatsDestination,
  OpenSearchDestination,
  RedshiftDestination,
  S3Destination,
  SplunkDestination,
} from './options.ts';
import type { BatchSink, ObjectSink, Sink, TableSink } from './sink.ts';
import type { AwsOptions } from './sinks/aws.ts';
import type { TlsFiles } from './sinks/connection.ts';
import { dynamoDbSink } from './sinks/dynamodb/dynamodb-sink.ts';
import { folderSink } from './sinks/folder/folder-sink.ts';
import { httpSink } from './sinks/http/http-sink.ts';
import { kafkaSink } from './sinks/kafka/kafka-sink.ts';
import { kinesisSink } from './sinks/kinesis/kinesis-sink.ts';
import { kinesisVideoSink } from './sinks/kinesis-video/kinesis-video-sink.ts';
import { natsSink } from './sinks/nats/nats-sink.ts';
import { idsBy } from './sinks/opensearch/bulk.ts';
import { openSearchSink } from './sinks/opensearch/opensearch-sink.ts';
import { redshiftSink } from './sinks/redshift/redshift-sink.ts';
import { s3Sink } from './sinks/s3/s3-sink.ts';
import { splunkSink } from './sinks/splunk/splunk-sink.ts';

/** @param delivery its name, for destinations that are told where things come from */
export function sinkFor(destination: Destination, clock: Clock, delivery: string): Sink {
  if ('folder' in destination) return folderSink(destination.folder);
  if ('kinesis' in destination) {
    const { stream, aggregate = 'none', maxRecordBytes = 1024 ** 2 } = destination.kinesis;
    const options = { stream, aggregate, maxRecordBytes };
    return kinesisSink({ ...awsOptions(destination.kinesis), ...options });
  }
  if ('kinesisVideo' in destination) {
    const { stream } = destination.kinesisVideo;
    return kinesisVideoSink({ ...awsOptions(destination.kinesisVideo), stream, clock });
  }
  if ('http' in destination) return httpSinkFor(destination.http, clock, delivery);
  if ('opensearch' in destination) return openSearchSinkFor(destination.opensearch, clock);
  if ('splunk' in destination) return splunkSinkFor(destination.splunk, clock);
  if ('dynamodb' in destination) {
    const { table, sets = [] } = destination.dynamodb;
    return dynamoDbSink({ ...awsOptions(destination.dynamodb), table, sets, clock });
  }
  if ('redshift' in destination) return redshiftSinkFor(destination.redshift);
  if ('nats' in destination) return natsSinkFor(destination.nats);
  if ('kafka' in destination) return kafkaSinkFor(destination.kafka);
  return s3SinkFor(destination.s3);
}

function s3SinkFor(to: S3Destination): ObjectSink {
  const { bucket, forcePathStyle } = to;
  return s3Sink({
    ...awsOptions(to),
    bucket,
    ...(typeof forcePathStyle === 'boolean' && { forcePathStyle }),
  });
}

function redshiftSinkFor(to: RedshiftDestination): TableSink {
  const { host, port = 5439, database, username, password, tls = true, caFile = null } = to;
  const { schema = 'public', table, ledger = 'headgate_loads', ledgerDays = 7, staging } = to;
  const { bucket, prefix = '', region = null } = staging;
  const { accessKeyId, secretAccessKey } = staging;
  return redshiftSink({
    ...{ host, port, database, username, password, tls, caFile },
    table: { schema, table },
    ledger: { schema, table: ledger },
    ledgerSeconds: ledgerDays * 86_400,
    // One of the two is there: the configuration asks for it.
    authorization:
      typeof to.iamRole === 'string'
        ? { iamRole: to.iamRole }
        : { accessKeyId: accessKeyId ?? '', secretAccessKey: secretAccessKey ?? '' },
    staging: { sink: s3SinkFor(staging), bucket, prefix, region },
    loadTimeoutMs: (to.loadTimeoutSeconds ?? 1800) * 1000,
  });
}

function natsSinkFor(to: NatsDestination): BatchSink {
  return natsSink({
    ...{ servers: to.servers, subject: to.subject, stream: to.stream ?? null },
    ...{ username: to.username ?? null, password: to.password ?? null, token: to.token ?? null },
    ...{ nkeySeed: to.nkeySeed ?? null, credentialsFile: to.credentialsFile ?? null },
    ...tlsFiles(to),
  });
}

function kafkaSinkFor(to: KafkaDestination): BatchSink {
  const { brokers, topic, compression = 'none', maxRequestBytes = 900_000 } = to;
  const { sasl = 'none', username = null, password = null, tls = false } = to;
  return kafkaSink({
    ...{ brokers, topic, compression, requestBytes: maxRequestBytes },
    ...{ sasl, username, password, tls, ...tlsFiles(to) },
  });
}

function tlsFiles({ caFile, certFile, keyFile }: NatsDestination | KafkaDestination): TlsFiles {
  return { caFile: caFile ?? null, certFile: certFile ?? null, keyFile: keyFile ?? null };
}

function httpSinkFor(to: HttpDestination, clock: Clock, delivery: string): BatchSink {
  const { accessKey = null, commonAttributes = {}, compression = 'none', sourceArn } = to;
  return httpSink({
    ...{ url: to.url, accessKey, commonAttributes, compression, clock },
    sourceArn: sourceArn ?? `arn:aws:firehose:us-east-1:000000000000:deliverystream/${delivery}`,
    timeoutMs: (to.timeoutSeconds ?? 180) * 1000,
    caFile: to.caFile ?? null,
  });
}

function openSearchSinkFor(to: OpenSearchDestination, clock: Clock): BatchSink {
  const { endpoint, index, rotation = 'none', operation = 'index', documentId = 'record' } = to;
  const { username, password, service, maxBytes = 5 * 1024 ** 2, caFile = null } = to;
  const login =
    typeof username === 'string' && typeof password === 'string' ? { username, password } : null;
  const { region = null, accessKeyId = null, secretAccessKey = null } = to;
  const signing =
    service === 'es' || service === 'aoss'
      ? { service, ...awsOptions({ region, accessKeyId, secretAccessKey }) }
      : null;
  const ids = documentId === 'query' ? idsBy(to.idQuery ?? '') : documentId;
  const documents = { index, rotation, operation, documentId: ids };
  return openSearchSink({
    ...{ endpoint, ...documents, access: signing ?? login, maxBytes, caFile, clock },
  });
}

function splunkSinkFor(to: SplunkDestination, clock: Clock): BatchSink {
  const { endpoint, token, mode = 'event', acknowledgements = true, ackTimeoutSeconds = 180 } = to;
  const { index = null, source = null, sourcetype = null, host = null, caFile = null } = to;
  return splunkSink({
    ...{ endpoint, token, mode, index, source, sourcetype, host, acknowledgements, caFile, clock },
    channel: to.channel ?? randomUUID(),
    ackTimeoutMs: ackTimeoutSeconds * 1000,
    maxBytes: to.maxBytes ?? 5e6,
  });
}

/** What every key at the destination begins with. */
export function prefixOf(destination: Destination): string {
  if ('redshift' in destination) return destination.redshift.staging.prefix ?? '';
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
