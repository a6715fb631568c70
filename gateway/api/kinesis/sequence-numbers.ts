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

/** Numbers in a row of a shard are 2^80 apart, here in two parts of so many digits. */
const partDigits = 14;
const part = 10 ** partDigits;
const stepHigh = 12_089_258_196;
const stepLow = 14_629_174_706_176;
/** As many as can be counted on with whole numbers: `stepLow` times that is below 2^53. */
const rowLength = 512;

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

/**
 * Writes the sequence numbers of one shard. Those near the last one and of the same second are
 * counted on from its row, in a fraction of the time that a BigInt takes.
 */
export class SequenceNumbers {
  readonly #base: bigint;
  /** The number and the second that the row begins with, and its digits from the front. */
  #rowFirst = -1;
  #rowSeconds = -1;
  #front = '';
  #high = 0;
  #low = 0;

  constructor(shard: ShardFacts) {
    this.#base =
      (0x20n << 180n) |
      (BigInt(seconds(shard.createdMs)) << 148n) |
      (BigInt(shard.index & 0xf) << 144n) |
      (BigInt(shard.index) << 4n) |
      2n;
  }

  of(sequence: number, arrivalMs: number): string {
    const atSeconds = seconds(arrivalMs);
    const steps = (sequence + 1) % rowLength;
    const first = sequence + 1 - steps;
    if (first !== this.#rowFirst || atSeconds !== this.#rowSeconds) {
      this.#beginRow(first, atSeconds);
    }
    const low = this.#low + steps * stepLow;
    const rest = low % part;
    const high = this.#high + steps * stepHigh + (low - rest) / part;
    if (high >= part) return this.#write(BigInt(sequence) + 1n, arrivalMs);
    return this.#front + digits(high) + digits(rest);
  }

  #beginRow(first: number, atSeconds: number): void {
    const text = this.#write(BigInt(first), atSeconds * 1000);
    this.#rowFirst = first;
    this.#rowSeconds = atSeconds;
    this.#front = text.slice(0, -2 * partDigits);
    this.#high = Number(text.slice(-2 * partDigits, -partDigits));
    this.#low = Number(text.slice(-partDigits));
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

function digits(value: number): string {
  return String(value).padStart(partDigits, '0');
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
