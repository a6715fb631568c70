/**
 * What a function makes of a delivery's records before they are sent: Lambda's contract for
 * Firehose (docs.aws.amazon.com/firehose/latest/dev/data-transformation-status-model.html).
 */
import type { ShardDescription } from '../../../storage/model.ts';
import type { FunctionTarget } from '../../functions/target.ts';
import type { FailedRecord, ShapedRecord } from '../shape/shaped-record.ts';

/** The shapes fit the configuration's `transform` entries. */
export interface TransformOptions {
  readonly function: FunctionTarget;
  /** Of data in one call at most, before Base64. */
  readonly batchBytes: number;
  /** Calls after the first one that failed. */
  readonly retries: number;
  /** For one call. */
  readonly timeoutSeconds: number;
}

/** What is told to the function beside the records, and makes ids that are the same each time. */
export interface TransformContext {
  /** Names the plan among all that there ever are, such as a UUID. */
  readonly planId: string;
  readonly deliveryStreamArn: string;
  readonly sourceStreamArn: string;
  readonly region: string;
  readonly shard: Pick<ShardDescription, 'index' | 'createdMs'>;
}

/** What came of the records of one call. */
export interface TransformedBatch {
  /** In order, with the sequence and subSequence of what they were made from. */
  readonly records: readonly ShapedRecord[];
  /** As they were before, in order. */
  readonly failed: readonly FailedRecord[];
  /** Left out by the function. */
  readonly dropped: number;
}

/** One function, shared by the shards of a delivery. */
export interface Transform {
  /** Which function it is, for people; without secrets. */
  readonly description: string;
  /**
   * Hands the records over, call after call, in order. A second run makes the same calls again,
   * with the same ids; what comes of them may differ.
   * @throws SinkError when the function can't be run at all (`unreachable`, `throttled`, `denied`):
   *   no record is to blame, and the plan waits; the signal's reason, once it aborts
   */
  run(
    records: AsyncIterable<readonly ShapedRecord[]>,
    context: TransformContext,
    signal: AbortSignal,
  ): AsyncIterable<TransformedBatch>;
  /** Lets go of the function; a run that is under way is ended by its signal first. Twice is harmless. */
  close(): Promise<void>;
}
