/** `deliveries.*.to`: where a delivery goes. */
import { z } from 'zod';
import { awsCredentials, bucket, endpoint, region } from './aws-access.ts';
import { dynamoDbDestination } from './destinations/dynamodb.ts';
import { httpDestination } from './destinations/http.ts';
import { kafkaDestination } from './destinations/kafka.ts';
import { natsDestination } from './destinations/nats.ts';
import { openSearchDestination } from './destinations/opensearch.ts';
import { redshiftDestination } from './destinations/redshift.ts';
import { splunkDestination } from './destinations/splunk.ts';
import { choice, flag, keyNotes, name, oneOf, path, size } from './leaves.ts';

const prefix = z
  .string()
  .max(1024)
  .register(keyNotes, { allowed: 'at most 1024 characters' })
  .default('')
  .describe(
    'Begins every key; end it with / for a folder. Of records it may have expressions, in quotes: "!{timestamp:yyyy/MM}/", and those of firehose, partitionKeyFromQuery and partitionKeyFromLambda. Without a time or a partition in it, yyyy/MM/dd/HH/ follows.',
  );

/** Without expressions in it, what failed and the time follow. */
const failedPrefix = prefix.describe(
  'Begins every key; end it with / for a folder. It may have expressions, in quotes: "!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/", the first of which has to be among them. Without any, what failed and the hour follow, each as a folder.',
);

const folderKeys = { path: path('a folder').describe('The folder; it is made when missing.') };
const folderText = 'A folder on this machine, laid out as the bucket would be.';
const folder = z.strictObject({ ...folderKeys, prefix }).describe(folderText);

const bucketText = 'A bucket of S3, or of a server that speaks its protocol.';
const s3 = z
  .strictObject({
    bucket,
    prefix,
    region,
    endpoint,
    ...awsCredentials,
    forcePathStyle: flag()
      .nullable()
      .default(null)
      .describe(
        'Puts the bucket into the path instead of the host name; null: with an endpoint of its own.',
      ),
  })
  .describe(bucketText);

const objectsText = 'Where they go: folder or s3.';

export const backupDestination = oneOf({ folder, s3 }).describe(objectsText);

export const failedDestination = oneOf({
  folder: z.strictObject({ ...folderKeys, prefix: failedPrefix }).describe(folderText),
  s3: s3.extend({ prefix: failedPrefix }).describe(bucketText),
}).describe(objectsText);

export const destination = oneOf({
  folder,
  s3,
  kinesis: z
    .strictObject({
      stream: name().describe('The data stream; it has to be there.'),
      region,
      endpoint,
      ...awsCredentials,
      aggregate: choice(['none', 'kpl'])
        .default('none')
        .describe(
          'kpl packs many records into one, as the Kinesis Producer Library does: far more small records fit through a shard, and consumers have to take them apart (the KCL does). Needs the right to ListShards.',
        ),
      maxRecordBytes: size(1024, 10 * 2 ** 20)
        .default(2 ** 20)
        .describe(
          'The largest record that the stream takes, its key included; a larger one is kept as failed.',
        ),
    })
    .describe('A Kinesis data stream.'),
  kinesisVideo: z
    .strictObject({
      stream: name().describe('The video stream; it has to be there.'),
      region,
      endpoint,
      ...awsCredentials,
    })
    .describe('A stream of Kinesis Video, for a camera: each fragment as it is recorded.'),
  http: httpDestination,
  opensearch: openSearchDestination,
  splunk: splunkDestination,
  dynamodb: dynamoDbDestination,
  redshift: redshiftDestination,
  nats: natsDestination,
  kafka: kafkaDestination,
}).describe(
  'Where it goes: folder, s3, kinesis, kinesisVideo, http, opensearch, splunk, dynamodb, redshift, nats or kafka.',
);
