/** SubscribeToShard: what it takes and when it is refused. Its events are subscription.ts's. */
import { KinesisError } from '../errors.ts';
import { consumerArn, instant, sequenceNumber, shardId } from '../members.ts';
import { defineOperation, type KinesisContext } from '../operation.ts';
import { optional, required, structure } from '../../aws/shapes.ts';
import { startingSequence, startingType } from '../starting-places.ts';
import { consumerDataResources, consumerOf, shardOf, type FoundConsumer } from '../targets.ts';
import { Throughput } from '../throttling.ts';

export const subscribeToShard = defineOperation({
  name: 'SubscribeToShard',
  input: structure({
    ConsumerARN: required(consumerArn),
    ShardId: required(shardId),
    StartingPosition: required(
      structure({
        Type: required(startingType),
        SequenceNumber: optional(sequenceNumber),
        Timestamp: optional(instant),
      }),
    ),
  }),
  resources: ({ ConsumerARN }, context) => consumerDataResources({ ConsumerARN }, context),
  async run({ ConsumerARN, ShardId, StartingPosition: position }, context) {
    const found = consumerOf({ ConsumerARN }, context);
    checkActive(found, context);
    const { stream, consumer, arn } = found;
    const shard = shardOf(stream, ShardId, context);
    const asked = {
      ...({ operation: 'SubscribeToShard', stream, shard } as const),
      type: position.Type,
      sequenceNumber: position.SequenceNumber,
      timestampMs: position.Timestamp,
    };
    const sequence = await startingSequence(asked, context);
    const isLimited = context.limits !== null && stream.mode === 'provisioned';
    const throughput = isLimited ? new Throughput(context.clock) : null;
    const request = { consumer: { arn, name: consumer.name }, stream, shard, sequence, throughput };
    return context.subscriptions.open(request, context);
  },
});

/** @throws KinesisError `ResourceInUseException` */
function checkActive(
  { stream, consumer, arn }: FoundConsumer,
  { account, states }: KinesisContext,
): void {
  if (states.ofConsumer(arn) === 'ACTIVE') return;
  throw new KinesisError(
    'ResourceInUseException',
    `Consumer ${consumer.name} with creation timestamp ${Math.floor(consumer.createdMs / 1000)} ` +
      `under stream: ${stream.name}, account ${account.accountId} is not in ACTIVE status.`,
  );
}
