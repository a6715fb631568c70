/** `firehose`: the Firehose API, and where what is put into its delivery streams may go. */
import { z } from 'zod';
import { awsCredentials, endpoint, region } from './aws-access.ts';
import { flag, keyNotes, line, whole } from './leaves.ts';

/** A host with a port, or a host by itself. */
function place() {
  return z
    .string()
    .regex(/^[a-zA-Z0-9](?:[a-zA-Z0-9.-]{0,252})(?::\d{1,5})?$/)
    .register(keyNotes, { allowed: 'a host, or a host with a port' });
}

/** What an ARN ends with. */
function named(pattern: RegExp, allowed: string) {
  return z.string().regex(pattern).register(keyNotes, { allowed });
}

function allowed<Leaf extends z.ZodType>(leaf: Leaf, what: string, example: string) {
  return z
    .array(leaf)
    .max(1000)
    .register(keyNotes, { allowed: `a list of ${what}`, example: [example] })
    .default([]);
}

const access = { region, endpoint, ...awsCredentials };

export const firehose = z.strictObject({
  enabled: flag()
    .default(true)
    .describe(
      'Whether the Firehose API is served, on the port of the Kinesis API. What was made over it goes on without.',
    ),
  maxDeliveryStreams: whole(0, 1000)
    .default(50)
    .describe('How many delivery streams there may be that were made over the API.'),
  allowed: z
    .strictObject({
      buckets: allowed(
        named(/^[\w.-]{1,255}$/, 'the name of a bucket, not its ARN'),
        'names of buckets, not ARNs',
        'archive',
      ).describe('Buckets that delivery streams may write to, by name.'),
      hosts: allowed(place(), 'hosts, each perhaps with a port', 'logs.example.net:8088').describe(
        'Hosts that they may send to: HTTP endpoints, Splunk, OpenSearch, Redshift. Without a port, every port of it.',
      ),
      functions: allowed(
        named(/^[\w-]{1,140}$/, 'the name of a function, not its ARN'),
        'names of functions, not ARNs',
        'clean',
      ).describe('Lambda functions that they may have their records changed by, by name.'),
    })
    .prefault({})
    .describe(
      'Where delivery streams that are made over the API may send; nowhere else, whoever asks. Deliveries of this file need not be listed. What is taken out waits, with its records.',
    ),
  s3: z
    .strictObject({
      ...access,
      forcePathStyle: flag()
        .nullable()
        .default(null)
        .describe(
          'Puts the bucket into the path instead of the host name; null: with an endpoint of its own.',
        ),
    })
    .prefault({})
    .describe('Where their buckets are, and with which key they are written to.'),
  opensearch: z
    .strictObject({
      region: region.describe('Of the signature. null: found as every AWS program does.'),
      accessKeyId: line(256, 'an access key id')
        .nullable()
        .default(null)
        .describe(
          'Signs requests (SigV4, service es) to all OpenSearch clusters that they send to. null: they are not signed.',
        ),
      secretAccessKey: awsCredentials.secretAccessKey,
    })
    .prefault({})
    .describe('With which key they write to domains of Amazon OpenSearch Service.'),
  lambda: z.strictObject(access).prefault({}).describe('Where their functions are.'),
});

export type FirehoseConfig = z.output<typeof firehose>;
