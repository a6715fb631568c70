/** Transforms as the tests of them run them, and what comes of records, in short. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { ShapedRecord } from '../../../../gateway/forward/shape/shaped-record.ts';
import { openTransform } from '../../../../gateway/forward/transform/open-transform.ts';
import type {
  TransformContext,
  TransformedBatch,
  TransformOptions,
} from '../../../../gateway/forward/transform/transform.ts';
import { MemoryLogger } from '../../../support/memory-logger.ts';
import { ImpatientClock } from '../../functions/support/functions.ts';

export const never = new AbortController().signal;
export const timeoutSeconds = 300;

export const context: TransformContext = {
  planId: 'b3b9a1c4-8a53-4d3c-9a30-0a4f5a1d7e10',
  deliveryStreamArn: 'arn:aws:firehose:us-east-1:000000000000:deliverystream/archive',
  sourceStreamArn: 'arn:aws:kinesis:us-east-1:000000000000:stream/readings',
  region: 'us-east-1',
  shard: { index: 3, createdMs: Date.UTC(2026, 0, 1) },
};

export function recordOf(sequence: number, data: string | Buffer, subSequence = 0): ShapedRecord {
  return {
    ...{ sequence, subSequence, partitionKey: `key "${sequence}" ä` },
    ...{ arrivalMs: Date.UTC(2026, 0, 2) + sequence, data: Buffer.from(data), partition: null },
  };
}

export function recordsOf(count: number): readonly ShapedRecord[] {
  return Array.from({ length: count }, (_, index) => recordOf(100 + index, `r${index}`));
}

export async function* inSlices(records: readonly ShapedRecord[], size: number) {
  for (let at = 0; at < records.length; at += size) {
    await Promise.resolve();
    yield records.slice(at, at + size);
  }
}

export function opened(
  t: TestContext,
  options: Pick<TransformOptions, 'function'> & Partial<TransformOptions>,
) {
  const clock = new ImpatientClock();
  const logger = new MemoryLogger();
  const all = { batchBytes: 2 ** 20, retries: 3, timeoutSeconds, ...options };
  const transform = openTransform(all, { clock, logger, fetch, random: () => 0.5 });
  t.after(() => transform.close());
  const run = async (
    records: readonly ShapedRecord[],
    { slice = 7, signal = never, plan = context } = {},
  ): Promise<readonly TransformedBatch[]> => {
    const batches: TransformedBatch[] = [];
    for await (const batch of transform.run(inSlices(records, slice), plan, signal)) {
      batches.push(batch);
    }
    return batches;
  };
  return { clock, logger, transform, run };
}

/** Of one call, in short: what became of each record, in the order of the lists. */
export function shown([batch, ...others]: readonly TransformedBatch[]) {
  assert.deepEqual(others, []);
  return {
    records: batch!.records.map(({ sequence, data }) => `${sequence} ${data.toString()}`),
    failed: batch!.failed.map(
      ({ record: { sequence, data }, stage, errorCode, attempts }) =>
        `${sequence} ${data.toString()} ${stage} ${errorCode} ${attempts}`,
    ),
    dropped: batch!.dropped,
  };
}

/** A function: `calls` counts how often it is called, `ok` changes a record, `of` finds one by its data. */
export const answering = (answer: string): string => `
  let calls = 0;
  const encode = (text) => Buffer.from(text).toString('base64');
  export async function handler({ records }, context) {
    calls += 1;
    const ok = ({ recordId, data }, text = Buffer.from(data, 'base64').toString().toUpperCase()) =>
      ({ recordId, result: 'Ok', data: encode(text) });
    const of = (data) => records.find((record) => record.data === encode(data));
    ${answer}
  }`;
