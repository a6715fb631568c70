/**
 * lifion-kinesis as a program, unchanged: reads a stream and prints what it is given, a JSON array
 * [shard, partition key, data] for each record.
 *
 * Its fan-out mode takes from its endpoint only protocol and port: the module that signs for it puts
 * the host of AWS in. So this process finds that name on this machine, as it would with a line in
 * /etc/hosts.
 *
 * Arguments: endpoints of Kinesis and DynamoDB, the stream, and `fan-out` or `polling`.
 */
import dns from 'node:dns';
import { createRequire } from 'node:module';
import type { Readable } from 'node:stream';

interface Batch {
  readonly shardId: string;
  readonly records: readonly { readonly partitionKey: string; readonly data: unknown }[];
}

interface Consumer extends Readable {
  startConsumer(): Promise<void>;
}

const Lifion = createRequire(import.meta.url)('lifion-kinesis') as new (
  options: Readonly<Record<string, unknown>>,
) => Consumer;

const [endpoint, dynamoDbEndpoint, streamName, mode] = process.argv.slice(2);
const region = 'us-east-1';
const { lookup } = dns;
const lookupHere = (name: string, ...rest: readonly unknown[]): unknown =>
  (lookup as (...args: readonly unknown[]) => unknown)(
    name === `kinesis.${region}.amazonaws.com` ? '127.0.0.1' : name,
    ...rest,
  );
dns.lookup = lookupHere as typeof dns.lookup;
const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = process.env;

const tell = (...said: readonly unknown[]): void => {
  console.error(...said);
};
const consumer = new Lifion({
  ...{ endpoint, region, accessKeyId, secretAccessKey, streamName },
  ...{ consumerGroup: 'plant', initialPositionInStream: 'TRIM_HORIZON' },
  dynamoDb: { endpoint: dynamoDbEndpoint, region },
  useEnhancedFanOut: mode === 'fan-out',
  shouldDeaggregate: true,
  // Its own intervals are made for streams that last for years.
  ...{ leaseAcquisitionInterval: 500, noRecordsPollDelay: 250 },
  logger: { debug: tell, warn: tell, error: tell },
});
consumer.on('data', ({ shardId, records }: Batch) => {
  for (const { partitionKey, data } of records) {
    const text = Buffer.isBuffer(data) ? data.toString() : data;
    console.log(JSON.stringify([shardId, partitionKey, text]));
  }
});
consumer.on('error', tell);
await consumer.startConsumer();
console.log('started');
