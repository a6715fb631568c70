import {
  SinkError,
  type OutgoingRecord,
  type Outcomes,
  type RecordSink,
} from '../../../../gateway/forward/sink.ts';

/** A record sink that a test looks into: `answer` says what becomes of each record, or throws. */
export class MemoryRecordSink implements RecordSink {
  readonly kind = 'kinesis';
  readonly description = 'memory';
  readonly limits: RecordSink['limits'];
  /** Every call, in order. */
  readonly calls: (readonly OutgoingRecord[])[] = [];
  /** Taken for good, in order. */
  readonly taken: OutgoingRecord[] = [];
  answer: (record: OutgoingRecord) => SinkError | null = () => null;
  before: () => void = () => undefined;

  constructor(limits: Partial<RecordSink['limits']> = {}) {
    this.limits = { records: 20, bytes: 20_000, recordBytes: 10_000, ...limits };
  }

  async send(records: readonly OutgoingRecord[], signal: AbortSignal): Promise<Outcomes> {
    await Promise.resolve();
    if (signal.aborted) throw new SinkError('aborted', 'called off');
    this.calls.push(records);
    this.before();
    return records.map((record) => {
      const outcome = this.answer(record);
      if (outcome === null) this.taken.push(record);
      return outcome;
    });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
