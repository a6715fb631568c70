/**
 * Which stream, shard or consumer a request means. Every operation takes a stream by its name or by
 * its ARN.
 */
import { StorageError } from '../../../storage/errors.ts';
import type { ShardDescription, StreamDescription } from '../../../storage/model.ts';
import { parseConsumerArn, parseStreamArn, consumerArn, keyArn, streamArn } from './arns.ts';
import { KinesisError, invalidArgument, notFound } from './errors.ts';
import type { KinesisContext, Resource } from './operation.ts';
import { parseShardId, shardIdOf } from './sequence-numbers.ts';
import { attributeOf, type RegisteredConsumer } from './stream-attributes.ts';

export interface StreamTarget {
  readonly StreamName?: string;
  readonly StreamARN?: string;
}

/**
 * The name of the stream that is meant; it need not exist.
 * @throws KinesisError `InvalidArgumentException`, `ResourceNotFoundException` for another account's
 */
export function streamNameOf(target: StreamTarget, context: KinesisContext): string {
  const { StreamName: name, StreamARN: arn } = target;
  if (arn === undefined) {
    if (name === undefined) {
      throw invalidArgument('Either StreamName or StreamARN should be provided.');
    }
    return name;
  }
  const parsed = parseStreamArn(arn);
  if (parsed === null) throw invalidArgument(`StreamARN ${arn} is not the ARN of a stream.`);
  if (name !== undefined && name !== parsed.name) {
    throw invalidArgument(`StreamName ${name} and StreamARN ${arn} are not the same stream.`);
  }
  const { region, accountId } = context.account;
  if (parsed.region !== region || parsed.accountId !== accountId) {
    throw notFound(`Stream ${parsed.name} under account ${parsed.accountId} not found.`);
  }
  return parsed.name;
}

/** The stream that is meant, as something to be permitted. */
export function streamResource(target: StreamTarget, context: KinesisContext): Resource {
  return namedResource(streamNameOf(target, context), context);
}

/** A stream by its name, which need not exist, as something to be permitted. */
export function namedResource(name: string, context: KinesisContext): Resource {
  const stream = findStream(name, context);
  const policy = stream === null ? null : attributeOf(stream, 'policy');
  return {
    arn: streamArn(context.account, name),
    policies: policy === null ? [] : [policy],
  };
}

/**
 * What a producer or a consumer of a stream needs permission for: the stream, and the key that it is
 * encrypted with on request (StartStreamEncryption).
 */
export function streamDataResources(
  name: string,
  action: 'kms:GenerateDataKey' | 'kms:Decrypt',
  context: KinesisContext,
): readonly Resource[] {
  return [namedResource(name, context), ...keyResources(name, action, context)];
}

/** The key that a stream is encrypted with on request; none when it is not. */
function keyResources(name: string, action: string, context: KinesisContext): readonly Resource[] {
  const stream = findStream(name, context);
  const encryption = stream === null ? null : attributeOf(stream, 'encryption');
  if (encryption === null) return [];
  const facts = {
    'kms:ViaService': `kinesis.${context.account.region}.amazonaws.com`,
    'kms:EncryptionContext:aws:kinesis:arn': streamArn(context.account, name),
  };
  return [{ arn: keyArn(context.account, encryption.keyId), policies: [], action, facts }];
}

/** null: there is none, or it is being deleted. */
function findStream(name: string, { log }: KinesisContext): StreamDescription | null {
  try {
    return log.stream(name);
  } catch (error) {
    if (error instanceof StorageError && error.code === 'not-found') return null;
    throw error;
  }
}

/**
 * A stream that is there, in whatever state.
 * @throws KinesisError `ResourceNotFoundException`
 */
export function knownStream(target: StreamTarget, context: KinesisContext): StreamDescription {
  const name = streamNameOf(target, context);
  const stream = findStream(name, context);
  if (stream === null) throw streamNotFound(name, context);
  return stream;
}

/**
 * A stream that takes and gives records.
 * @throws KinesisError `ResourceNotFoundException`
 */
export function usableStream(target: StreamTarget, context: KinesisContext): StreamDescription {
  const stream = knownStream(target, context);
  if (context.states.of(stream.name) === 'CREATING') throw streamNotFound(stream.name, context);
  return stream;
}

/**
 * A stream that nothing is happening to.
 * @throws KinesisError `ResourceNotFoundException`, `ResourceInUseException`
 */
export function settledStream(target: StreamTarget, context: KinesisContext): StreamDescription {
  const name = streamNameOf(target, context);
  const stream = findStream(name, context);
  const status = stream === null ? 'DELETING' : context.states.of(name);
  if (stream === null && context.states.deleting(name) === null) {
    throw streamNotFound(name, context);
  }
  if (stream === null || status !== 'ACTIVE') {
    throw new KinesisError(
      'ResourceInUseException',
      `Stream ${name} under account ${context.account.accountId} not ACTIVE, instead in state ${status}`,
    );
  }
  return stream;
}

export function streamNotFound(name: string, { account }: KinesisContext): KinesisError {
  return notFound(`Stream ${name} under account ${account.accountId} not found.`);
}

/** @throws KinesisError `ResourceNotFoundException` */
export function shardOf(
  stream: StreamDescription,
  id: string,
  { account }: KinesisContext,
): ShardDescription {
  const index = parseShardId(id);
  const shard = stream.shards.find((candidate) => candidate.index === index);
  if (shard !== undefined) return shard;
  const shown = index === null ? id : shardIdOf(index);
  throw notFound(
    `Could not find shard ${shown} in stream ${stream.name} under account ${account.accountId}.`,
  );
}

export interface ConsumerTarget {
  readonly StreamARN?: string;
  readonly ConsumerName?: string;
  readonly ConsumerARN?: string;
}

export interface FoundConsumer {
  readonly stream: StreamDescription;
  readonly consumer: RegisteredConsumer;
  readonly arn: string;
}

/**
 * A consumer by its ARN, or by its name and its stream's ARN.
 * @throws KinesisError `InvalidArgumentException`, `ResourceNotFoundException`
 */
export function consumerOf(target: ConsumerTarget, context: KinesisContext): FoundConsumer {
  const { streamName, name, createdSeconds } = consumerNamed(target, context);
  const stream = knownStream({ StreamName: streamName }, context);
  const consumer = consumersOf(stream, context).find(
    (candidate) =>
      candidate.name === name &&
      (createdSeconds === null || Math.floor(candidate.createdMs / 1000) === createdSeconds),
  );
  if (consumer === undefined) {
    throw notFound(`Consumer ${name}, account ${context.account.accountId} not found.`);
  }
  const arn = consumerArn(streamArn(context.account, stream.name), name, consumer.createdMs);
  return { stream, consumer, arn };
}

/** A stream's consumers, those that are DELETING too. */
export function consumersOf(
  stream: StreamDescription,
  { states }: Pick<KinesisContext, 'states'>,
): readonly RegisteredConsumer[] {
  return [...attributeOf(stream, 'consumers'), ...states.deletingConsumers(stream.id)];
}

/** The consumer that is meant, as something to be permitted; one that is not there is, by its stream. */
export function consumerResource(target: ConsumerTarget, context: KinesisContext): Resource {
  const { streamName } = consumerNamed(target, context);
  try {
    const { arn, consumer } = consumerOf(target, context);
    return { arn, policies: consumer.policy === null ? [] : [consumer.policy] };
  } catch (error) {
    if (!(error instanceof KinesisError)) throw error;
    return namedResource(streamName, context);
  }
}

/** What who reads as a consumer needs permission for: the consumer, and the key of its stream. */
export function consumerDataResources(
  target: ConsumerTarget,
  context: KinesisContext,
): readonly Resource[] {
  const { streamName } = consumerNamed(target, context);
  return [consumerResource(target, context), ...keyResources(streamName, 'kms:Decrypt', context)];
}

function consumerNamed(
  { StreamARN, ConsumerName, ConsumerARN }: ConsumerTarget,
  context: KinesisContext,
): { streamName: string; name: string; createdSeconds: number | null } {
  if (ConsumerARN === undefined) {
    if (StreamARN === undefined || ConsumerName === undefined) {
      throw invalidArgument(
        'Either ConsumerARN or both StreamARN and ConsumerName should be provided.',
      );
    }
    const streamName = streamNameOf({ StreamARN }, context);
    return { streamName, name: ConsumerName, createdSeconds: null };
  }
  const parsed = parseConsumerArn(ConsumerARN);
  if (parsed === null) {
    throw invalidArgument(`ConsumerARN ${ConsumerARN} is not the ARN of a consumer.`);
  }
  const { stream, name, createdSeconds } = parsed;
  const arn = streamArn(stream, stream.name);
  const streamName = streamNameOf({ StreamARN: arn }, context);
  const isSame =
    (StreamARN === undefined || streamNameOf({ StreamARN }, context) === streamName) &&
    (ConsumerName === undefined || ConsumerName === name);
  if (!isSame) {
    throw invalidArgument(
      `ConsumerARN ${ConsumerARN} is not the consumer that is named beside it.`,
    );
  }
  return { streamName, name, createdSeconds };
}
