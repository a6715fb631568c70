/**
 * Sequence numbers as clients see them: 56 decimal digits that order the records of a shard, and
 * those of a child shard behind its parents'.
 *
 * In hexadecimal, from the front: `20`, the second in which the shard was created (8 digits), the
 * last digit of the shard's index, the number (16), `000`, the second in which the record arrived
 * (8), the shard's index (8), `2`.
 *
 * The number is the local sequence number plus one. 0 stands for the shard's beginning, before its
 * first record, 7fff ffff ffff ffff for the end of one that was closed.
 */
import type { ShardDescription } from '../../../storage/model.ts';

const beginning = 0n;
const end = 0x7fff_ffff_ffff_ffffn;
const seconds32 = 0xffff_ffff;

type ShardFacts = Pick<ShardDescription, 'createdMs' | 'index'>;

/** What a sequence number says. */
export interface SequenceNumber {
  readonly createdSeconds: number;
  readonly shardIndex: number;
  /** When the record arrived, seconds since the Unix epoch. */
  readonly arrivalSeconds: number;
  /** The local sequence number of the record; -1 for the beginning, Infinity for the end. */
  readonly sequence: number;
}

/** Writes the sequence numbers of one shard. */
export class SequenceNumbers {
  readonly #base: bigint;

  constructor(shard: ShardFacts) {
    this.#base =
      (0x20n << 180n) |
      (BigInt(seconds(shard.createdMs)) << 148n) |
      (BigInt(shard.index & 0xf) << 144n) |
      (BigInt(shard.index) << 4n) |
      2n;
  }

  of(sequence: number, arrivalMs: number): string {
    return this.#write(BigInt(sequence) + 1n, arrivalMs);
  }

  beginning(createdMs: number): string {
    return this.#write(beginning, createdMs);
  }

  end(closedMs: number): string {
    return this.#write(end, closedMs);
  }

  #write(number: bigint, atMs: number): string {
    return (this.#base | (number << 80n) | (BigInt(seconds(atMs)) << 36n)).toString();
  }
}

function seconds(atMs: number): number {
  return Math.min(Math.max(Math.floor(atMs / 1000), 0), seconds32);
}

/** null: it is not one of ours, whatever the shard. */
export function parseSequenceNumber(text: string): SequenceNumber | null {
  if (!/^[1-9]\d{55}$/.test(text)) return null;
  const value = BigInt(text);
  const shardIndex = (value >> 4n) & 0xffff_ffffn;
  const number = (value >> 80n) & 0xffff_ffff_ffff_ffffn;
  const isOurs =
    value >> 180n === 0x20n &&
    (value & 0xfn) === 2n &&
    ((value >> 68n) & 0xfffn) === 0n &&
    ((value >> 144n) & 0xfn) === (shardIndex & 0xfn) &&
    (number === end || number <= BigInt(Number.MAX_SAFE_INTEGER));
  if (!isOurs) return null;
  return {
    createdSeconds: Number((value >> 148n) & 0xffff_ffffn),
    shardIndex: Number(shardIndex),
    arrivalSeconds: Number((value >> 36n) & 0xffff_ffffn),
    sequence: number === end ? Infinity : Number(number) - 1,
  };
}

/** Whether the sequence number was made for this shard, and not for one of an earlier stream. */
export function isOfShard(number: SequenceNumber, shard: ShardFacts): boolean {
  return number.shardIndex === shard.index && number.createdSeconds === seconds(shard.createdMs);
}

/** `shardId-000000000012` */
export function shardIdOf(index: number): string {
  return `shardId-${String(index).padStart(12, '0')}`;
}

/** The index in a shard's id, null when it can't be one. As the service does, `12` is taken too. */
export function parseShardId(text: string): number | null {
  const digits = /^(?:[^-]*-)?(\d{1,12})$/.exec(text)?.[1];
  const index = Number(digits);
  return digits !== undefined && index <= 0x7fff_ffff ? index : null;
}
