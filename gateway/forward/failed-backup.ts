/**
 * Failed records in a bucket or a folder, as Firehose leaves them there: objects of JSON lines
 * (`failed-lines.ts`), apart by what failed, `!{firehose:error-output-type}` of the prefix.
 *
 * It is a delivery of its own, `<delivery>.failed`, from the stream `failed.<delivery>`, with its own
 * checkpoint and plans: so it is exactly once, and it and its owner never wait for each other. The
 * stream keeps what it has, as long as it keeps anything: a replay reads it with another checkpoint,
 * and what fails once more is a new record of it. What was replayed before this began is not told of.
 *
 * The stream is made when it begins, as it could not be paused or counted otherwise.
 */
import { joined, type FailedEnvelope } from './failed-records.ts';
import { failedText, stageOf } from './failed-lines.ts';
import type { Reading } from './shape/source.ts';
import type { ShapedRecord } from './shape/shaped-record.ts';

/** Each with its line in place of its data. For one plan that ends at `to`, see `joined`. */
export function readFailedLines(to: number): Reading {
  return joined(to, lineRecord);
}

function lineRecord(envelope: FailedEnvelope, sequence: number, data: Buffer): ShapedRecord {
  return {
    ...{ sequence, subSequence: 0, partitionKey: envelope.partitionKey },
    arrivalMs: Date.parse(envelope.arrival),
    data: Buffer.from(failedText(envelope, data)),
    partition: { query: {}, lambda: {}, stage: stageOf(envelope) },
  };
}
