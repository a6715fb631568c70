import type { Batch, BatchItem, BatchSink } from '../../../../gateway/forward/sink.ts';
import type { SinkError } from '../../../../gateway/forward/sink.ts';

/** A batch sink that a test looks into: `answer` says what becomes of each item, or throws. */
export class MemoryBatchSink implements BatchSink {
  readonly kind = 'http';
  readonly description = 'memory';
  readonly limits: BatchSink['limits'];
  /** Every call, in order. */
  readonly batches: Batch[] = [];
  /** Taken for good, in order. */
  readonly taken: BatchItem[] = [];
  answer: (item: BatchItem, batch: Batch) => SinkError | null = () => null;
  before: (batch: Batch, signal: AbortSignal) => Promise<void> | void = () => undefined;

  constructor(limits: Partial<BatchSink['limits']> = {}) {
    this.limits = { records: 500, bytes: 1024 ** 2, recordBytes: 1024 ** 2, ...limits };
  }

  async deliver(batch: Batch, signal: AbortSignal): Promise<readonly (SinkError | null)[]> {
    this.batches.push(batch);
    await this.before(batch, signal);
    return batch.items.map((item) => {
      const outcome = this.answer(item, batch);
      if (outcome === null) this.taken.push(item);
      return outcome;
    });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** The `id` in the data of each. */
export function idsOfItems(items: readonly BatchItem[]): number[] {
  return items.map(({ data }) => (JSON.parse(data.toString()) as { id: number }).id);
}
