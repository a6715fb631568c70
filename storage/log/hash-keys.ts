/**
 * Hash keys: which shard a partition key belongs to.
 *
 * As in the Kinesis Data Streams service model: the MD5 of the key's UTF-8 bytes, read as a 128-bit
 * number. Here they travel as 32 lowercase hexadecimal digits, whose text order is their number
 * order; only what is shown outside is a BigInt.
 */
import { hash } from 'node:crypto';

export const hashKeyMax = (1n << 128n) - 1n;

/** Keys whose hash is remembered: at most 256 characters each, so some tens of megabytes at worst. */
const rememberedMax = 65_536;

export function toHashKey(value: bigint): string {
  return value.toString(16).padStart(32, '0');
}

export function fromHashKey(hashKey: string): bigint {
  return BigInt(`0x${hashKey}`);
}

/** Whether a text is a hash key as they are written here. */
export function isHashKey(text: string): boolean {
  return /^[0-9a-f]{32}$/.test(text);
}

/** `count` ranges that cover the whole space, as even as they can be; both ends are inclusive. */
export function evenRanges(count: number): { first: bigint; last: bigint }[] {
  const total = hashKeyMax + 1n;
  const parts = BigInt(count);
  return Array.from({ length: count }, (_, index) => ({
    first: (total * BigInt(index)) / parts,
    last: (total * BigInt(index + 1)) / parts - 1n,
  }));
}

/** MD5 with a memory: devices publish under the same few keys again and again. */
export class KeyHasher {
  readonly #known = new Map<string, string>();

  hashKeyOf(partitionKey: string): string {
    const known = this.#known.get(partitionKey);
    if (known !== undefined) return known;
    const hashKey = hash('md5', partitionKey, 'hex');
    // Full: forget everything, so that a flood of new keys costs no more than a hash and an insert.
    if (this.#known.size >= rememberedMax) this.#known.clear();
    this.#known.set(partitionKey, hashKey);
    return hashKey;
  }
}
