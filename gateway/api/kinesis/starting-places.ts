/** Where in a shard reading begins: what GetShardIterator and SubscribeToShard are asked for. */
import type { ShardDescription, StreamDescription } from '../../../storage/model.ts';
import { invalidArgument } from './errors.ts';
import type { KinesisContext } from './operation.ts';
import { isOfShard, parseSequenceNumber, shardIdOf } from './sequence-numbers.ts';
import { choice } from '../aws/shapes.ts';

export const startingType = choice([
  'AFTER_SEQUENCE_NUMBER',
  'LATEST',
  'AT_TIMESTAMP',
  'AT_SEQUENCE_NUMBER',
  'TRIM_HORIZON',
]);

export interface StartingPlace {
  readonly type:
    'AFTER_SEQUENCE_NUMBER' | 'LATEST' | 'AT_TIMESTAMP' | 'AT_SEQUENCE_NUMBER' | 'TRIM_HORIZON';
  readonly sequenceNumber: string | undefined;
  readonly timestampMs: number | undefined;
}

/** What is asked of which shard, and by which operation. */
interface Asked extends StartingPlace {
  readonly operation: 'GetShardIterator' | 'SubscribeToShard';
  readonly stream: StreamDescription;
  readonly shard: ShardDescription;
}

/**
 * The local sequence number at which reading begins.
 * @throws KinesisError `InvalidArgumentException`
 */
export async function startingSequence(asked: Asked, context: KinesisContext): Promise<number> {
  const { type, sequenceNumber: starting, shard } = asked;
  const isByNumber = type === 'AT_SEQUENCE_NUMBER' || type === 'AFTER_SEQUENCE_NUMBER';
  const isByPlace = type === 'TRIM_HORIZON' || type === 'LATEST';
  if ((isByPlace && starting !== undefined) || (isByNumber && starting === undefined)) {
    throw invalidArgument(
      'Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and ' +
        'StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. ' +
        `Request specified ${type} and ${isByPlace ? 'also a' : 'no'} StartingSequenceNumber.`,
    );
  }
  if (starting !== undefined && isByNumber) {
    const sequence = checkedSequence(starting, asked, context);
    return type === 'AT_SEQUENCE_NUMBER' ? Math.max(sequence, 0) : sequence + 1;
  }
  if (type === 'TRIM_HORIZON') return shard.trimSequence;
  if (type === 'LATEST') return shard.nextSequence;
  return context.log.sequenceAt(shard.id, checkedTime(asked.timestampMs, context));
}

/**
 * The local sequence number that is meant: -1 for the beginning of the shard, and for the end of a
 * closed one that of its last record.
 */
function checkedSequence(
  text: string,
  { operation, stream, shard }: Asked,
  { account }: KinesisContext,
): number {
  const number = parseSequenceNumber(text);
  const used =
    `StartingSequenceNumber ${text} used in ${operation} on shard ${shardIdOf(shard.index)} ` +
    `in stream ${stream.name} under account ${account.accountId} is invalid`;
  if (number === null) throw invalidArgument(`${used}.`);
  if (number.shardIndex !== shard.index) {
    throw invalidArgument(
      `Invalid StartingSequenceNumber. It encodes ${shardIdOf(number.shardIndex)}, ` +
        `while it was used in a call to a shard with ${shardIdOf(shard.index)}`,
    );
  }
  if (!isOfShard(number, shard)) {
    throw invalidArgument(`${used} because it did not come from this stream.`);
  }
  const last = shard.nextSequence - 1;
  if (number.sequence === Infinity && shard.closedMs !== null) return last;
  // One that was never given to a record would skip those that are still to come.
  if (number.sequence > last) throw invalidArgument(`${used}.`);
  return number.sequence;
}

function checkedTime(timestampMs: number | undefined, { clock }: KinesisContext): number {
  if (timestampMs === undefined) {
    throw invalidArgument(
      'Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. ' +
        'Current request has no timestamp parameter.',
    );
  }
  const nowMs = clock.nowMs();
  if (timestampMs > nowMs) {
    throw invalidArgument(
      'The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. ' +
        `timestampInMillis: ${timestampMs}, currentTimestampInMillis: ${nowMs}`,
    );
  }
  return timestampMs;
}
