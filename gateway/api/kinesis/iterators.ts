/** Shard iterators: a place in a shard, good for five minutes. */
import type { Clock } from '../../../storage/ports.ts';
import { KinesisError, invalidArgument } from './errors.ts';
import type { Sealer } from '../aws/sealing.ts';

const lifeMs = 300_000;
const purpose = 'shard iterator';
const numberBytes = 6;

export interface IteratorPlace {
  /** The log's ids: one of a stream that was deleted is not found, even if its name is used again. */
  readonly streamId: number;
  readonly shardId: number;
  /** The next sequence number to be read. */
  readonly sequence: number;
}

export class ShardIterators {
  readonly #sealer: Sealer;
  readonly #clock: Clock;

  constructor(sealer: Sealer, clock: Clock) {
    this.#sealer = sealer;
    this.#clock = clock;
  }

  /** 84 characters of base64. */
  make({ streamId, shardId, sequence }: IteratorPlace): string {
    const content = Buffer.allocUnsafe(2 * numberBytes + 8);
    content.writeUIntBE(streamId, 0, numberBytes);
    content.writeUIntBE(shardId, numberBytes, numberBytes);
    content.writeBigUInt64BE(BigInt(sequence), 2 * numberBytes);
    return this.#sealer.seal(purpose, content);
  }

  /** @throws KinesisError `InvalidArgumentException`, `ExpiredIteratorException` */
  open(text: string): IteratorPlace {
    const unsealed = this.#sealer.open(purpose, text);
    if (unsealed === null) throw invalidArgument('Invalid ShardIterator.');
    const { content, createdMs } = unsealed;
    const nowMs = this.#clock.nowMs();
    if (nowMs - createdMs > lifeMs) {
      throw new KinesisError(
        'ExpiredIteratorException',
        `Iterator expired. The iterator was created at time ${javaDate(createdMs)} while right now ` +
          `it is ${javaDate(nowMs)} which is further in the future than the tolerated delay of ` +
          `${lifeMs} milliseconds.`,
      );
    }
    return {
      streamId: content.readUIntBE(0, numberBytes),
      shardId: content.readUIntBE(numberBytes, numberBytes),
      sequence: Number(content.readBigUInt64BE(2 * numberBytes)),
    };
  }
}

/** `Thu Jan 22 01:22:02 UTC 2015` */
export function javaDate(atMs: number): string {
  const [weekday = '', day, month, year, time] = new Date(atMs).toUTCString().split(' ');
  return `${weekday.slice(0, 3)} ${month} ${day} ${time} UTC ${year}`;
}
