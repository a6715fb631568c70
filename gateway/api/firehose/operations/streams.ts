/** CreateDeliveryStream, DeleteDeliveryStream, and what tells of delivery streams. */
import { flag, integer, optional, required, structure, type Described } from '../../aws/shapes.ts';
import { parseStreamArn } from '../../kinesis/arns.ts';
import type { DeliveryStreams } from '../delivery-streams.ts';
import { descriptionOf, onlyDestinationId } from '../descriptions.ts';
import { configurations, destinationKinds, type GivenDestination } from '../destination-shapes.ts';
import { FirehoseError, invalid } from '../errors.ts';
import {
  arn,
  deliveryStreamName,
  deliveryStreamType,
  destinationId,
  encryptionInput,
  tags,
  target,
  whatever,
} from '../members.ts';
import { defineOperation, ownStream, type FirehoseContext } from '../operation.ts';
import { encryptionOf } from './encryption.ts';
import { tagsOf } from './tags.ts';

const shownDefault = 10;
const shownMax = 10_000;

const createInput = structure({
  ...target,
  DeliveryStreamType: optional(deliveryStreamType),
  DirectPutSourceConfiguration: optional(
    structure({ ThroughputHintInMBs: required(integer({ min: 1, max: 100 })) }),
  ),
  KinesisStreamSourceConfiguration: optional(
    structure({ KinesisStreamARN: required(arn), RoleARN: required(arn) }),
  ),
  DeliveryStreamEncryptionConfigurationInput: optional(encryptionInput),
  S3DestinationConfiguration: optional(configurations.S3),
  ExtendedS3DestinationConfiguration: optional(configurations.ExtendedS3),
  RedshiftDestinationConfiguration: optional(configurations.Redshift),
  ElasticsearchDestinationConfiguration: optional(configurations.Elasticsearch),
  AmazonopensearchserviceDestinationConfiguration: optional(configurations.Amazonopensearchservice),
  SplunkDestinationConfiguration: optional(configurations.Splunk),
  HttpEndpointDestinationConfiguration: optional(configurations.HttpEndpoint),
  Tags: optional(tags),
  AmazonOpenSearchServerlessDestinationConfiguration: optional(whatever),
  MSKSourceConfiguration: optional(whatever),
  SnowflakeDestinationConfiguration: optional(whatever),
  IcebergDestinationConfiguration: optional(whatever),
  DatabaseSourceConfiguration: optional(whatever),
});

type CreateInput = Described<typeof createInput>;

/** What there is no counterpart of, with the reason. */
const refused = {
  AmazonOpenSearchServerlessDestinationConfiguration:
    'Collections are not delivered to over this API.',
  MSKSourceConfiguration: 'There is no Kafka to read from here.',
  SnowflakeDestinationConfiguration: 'Snowflake is not delivered to.',
  IcebergDestinationConfiguration: 'Tables of Iceberg are not delivered to.',
  DatabaseSourceConfiguration: 'There is no database to read from here.',
} as const;

export const createDeliveryStream = defineOperation({
  name: 'CreateDeliveryStream',
  input: createInput,
  resources: ownStream,
  async run(input, context) {
    const { DeliveryStreamName: name, Tags, DirectPutSourceConfiguration } = input;
    for (const [member, reason] of Object.entries(refused)) {
      if (input[member as keyof typeof refused] !== undefined) throw invalid(reason);
    }
    const type = typeOf(input);
    const sse = input.DeliveryStreamEncryptionConfigurationInput;
    if (type !== 'DirectPut' && sse !== undefined) {
      throw invalid('Server-side encryption is enabled on the source stream instead.');
    }
    if (type !== 'DirectPut' && DirectPutSourceConfiguration !== undefined) {
      throw invalid('DirectPutSourceConfiguration goes with the type DirectPut.');
    }
    const encryption = sse === undefined ? null : encryptionOf(sse);
    await context.streams.create(
      name,
      { type, destination: destinationOf(input), ...sourceOf(input, context) },
      { tags: tagsOf(Tags ?? []), encryption },
    );
    return { DeliveryStreamARN: context.streams.arnOf(name) };
  },
});

function typeOf(input: CreateInput): 'DirectPut' | 'KinesisStreamAsSource' {
  const type = input.DeliveryStreamType ?? 'DirectPut';
  if (type === 'MSKAsSource') throw invalid(refused.MSKSourceConfiguration);
  if (type === 'DatabaseAsSource') throw invalid(refused.DatabaseSourceConfiguration);
  const isRead = type === 'KinesisStreamAsSource';
  if (isRead === (input.KinesisStreamSourceConfiguration !== undefined)) return type;
  throw invalid(
    isRead
      ? 'KinesisStreamSourceConfiguration is needed for the type KinesisStreamAsSource.'
      : 'KinesisStreamSourceConfiguration goes with the type KinesisStreamAsSource.',
  );
}

/** @throws FirehoseError `InvalidArgumentException` where there is no such stream */
function sourceOf(
  { KinesisStreamSourceConfiguration: given }: CreateInput,
  { log, account }: FirehoseContext,
): { readonly source: string | null; readonly roleArn: string | null } {
  if (given === undefined) return { source: null, roleArn: null };
  const parsed = parseStreamArn(given.KinesisStreamARN);
  const isHere =
    parsed !== null &&
    parsed.region === account.region &&
    parsed.accountId === account.accountId &&
    log.streams().some(({ name }) => name === parsed.name);
  if (!isHere) throw invalid(`There is no stream ${given.KinesisStreamARN} here.`);
  return { source: parsed.name, roleArn: given.RoleARN };
}

/** @throws FirehoseError `InvalidArgumentException` where there is not exactly one */
function destinationOf(input: CreateInput): GivenDestination {
  const given = destinationKinds.flatMap((kind) => {
    const configuration = input[`${kind}DestinationConfiguration`];
    // The compiler does not see that each kind goes with its own configuration.
    return configuration === undefined ? [] : [{ kind, configuration } as GivenDestination];
  });
  const [only, ...more] = given;
  if (only !== undefined && more.length === 0) return only;
  throw invalid('Exactly one destination configuration is supported for a Firehose');
}

export const deleteDeliveryStream = defineOperation({
  name: 'DeleteDeliveryStream',
  input: structure({ ...target, AllowForceDelete: optional(flag()) }),
  resources: ownStream,
  async run({ DeliveryStreamName }, { streams }) {
    await streams.remove(DeliveryStreamName);
    return {};
  },
});

export const describeDeliveryStream = defineOperation({
  name: 'DescribeDeliveryStream',
  input: structure({
    ...target,
    Limit: optional(integer({ min: 1, max: shownMax })),
    ExclusiveStartDestinationId: optional(destinationId),
  }),
  resources: ownStream,
  run({ DeliveryStreamName, ExclusiveStartDestinationId: after }, { streams, log, account }) {
    const description = descriptionOf(streams.known(DeliveryStreamName), log, account);
    return Promise.resolve({
      DeliveryStreamDescription:
        after !== undefined && after >= onlyDestinationId
          ? { ...description, Destinations: [] }
          : description,
    });
  },
});

export const listDeliveryStreams = defineOperation({
  name: 'ListDeliveryStreams',
  input: structure({
    Limit: optional(integer({ min: 1, max: shownMax })),
    DeliveryStreamType: optional(deliveryStreamType),
    ExclusiveStartDeliveryStreamName: optional(deliveryStreamName),
  }),
  resources: () => ['*'],
  run(input, { streams }) {
    const { Limit = shownDefault, DeliveryStreamType: type } = input;
    const names = namesAfter(input.ExclusiveStartDeliveryStreamName, type, streams);
    return Promise.resolve({
      DeliveryStreamNames: names.slice(0, Limit),
      HasMoreDeliveryStreams: names.length > Limit,
    });
  },
});

function namesAfter(
  after: string | undefined,
  type: string | undefined,
  streams: DeliveryStreams,
): readonly string[] {
  return streams
    .all()
    .filter((stream) => type === undefined || stream.type === type)
    .map(({ name }) => name)
    .filter((name) => after === undefined || name > after);
}

/** @throws FirehoseError `InvalidArgumentException` */
export function checkDestinationId(id: string): void {
  if (id === onlyDestinationId) return;
  throw new FirehoseError('InvalidArgumentException', `Destination Id ${id} not found`);
}
