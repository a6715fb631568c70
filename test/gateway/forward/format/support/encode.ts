/** Records of the tests, and what a format makes of them. */
import type { Encoded, EncodedObject } from '../../../../../gateway/forward/format/encoder.ts';
import {
  formatOf,
  type FormatOptions,
  type FormatSource,
} from '../../../../../gateway/forward/format/formats.ts';
import type { ShapedRecord } from '../../../../../gateway/forward/shape/shaped-record.ts';
import { seededRandom } from '../../../../storage/support/open.ts';

export function shaped(sequence: number, data: Buffer | string): ShapedRecord {
  return {
    sequence,
    subSequence: 0,
    partitionKey: `key-${sequence}`,
    arrivalMs: Date.UTC(2026, 0, 2, 3, 4, 5, sequence),
    data: Buffer.from(data),
    partition: null,
  };
}

export interface EncodedWhole extends Omit<Encoded, 'object'> {
  readonly object: (EncodedObject & { readonly content: Buffer }) | null;
}

/** @param records in slices, or all as one */
export async function encode(
  options: FormatOptions,
  records: readonly ShapedRecord[] | readonly (readonly ShapedRecord[])[],
  source: FormatSource = { shardIndex: 0 },
): Promise<EncodedWhole> {
  const encoder = formatOf(options, source).encoder();
  try {
    for (const slice of records) await encoder.add('sequence' in slice ? [slice] : slice);
    const { object, failed } = await encoder.end();
    if (object === null) return { object, failed };
    return { object: { ...object, content: Buffer.concat(object.pieces) }, failed };
  } finally {
    encoder.close();
  }
}

/** Slices of 0 to 300 records. */
export function randomSlices(
  records: readonly ShapedRecord[],
  seed: number,
): (readonly ShapedRecord[])[] {
  const random = seededRandom(seed);
  const slices: (readonly ShapedRecord[])[] = [];
  for (let at = 0; at < records.length;) {
    const count = Math.floor(random() * 301);
    slices.push(records.slice(at, at + count));
    at += count;
  }
  return slices;
}
