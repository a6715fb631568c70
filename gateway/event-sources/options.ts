/** What an event source is told; the shape fits the configuration's `functions` entries. */
import type { FunctionTarget } from '../functions/target.ts';

export interface EventSourceOptions {
  readonly name: string;
  readonly from: { readonly stream: string };
  readonly function: FunctionTarget;
  readonly batchSize: number;
  readonly batchWindowSeconds: number;
  /** Calls at once for each shard. */
  readonly parallelization: number;
  readonly bisectOnError: boolean;
  /** null: until the records have expired. */
  readonly retries: number | null;
  readonly maxRecordAgeSeconds: number | null;
  readonly reportBatchItemFailures: boolean;
  /** 0: none. */
  readonly tumblingWindowSeconds: number;
  /** JSON texts (`pattern.ts`); none: all records. */
  readonly filter: readonly string[];
  readonly startAt: { readonly edge: 'earliest' | 'latest' } | { readonly time: string };
  readonly deadLetter: { readonly stream: string } | { readonly folder: string } | null;
  readonly timeoutSeconds: number;
  readonly required: boolean;
  readonly paused: boolean;
}
