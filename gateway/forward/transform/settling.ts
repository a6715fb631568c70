/** What is known so far of the records of one call, which may take several attempts. */
import { payloadBytesMax } from '../../functions/limits.ts';
import type { FailedRecord, ShapedRecord } from '../shape/shaped-record.ts';
import type { Failure, Verdict } from './answer.ts';
import type { Entry } from './batches.ts';
import type { TransformedBatch } from './transform.ts';

const tooLarge: Verdict = {
  type: 'refused',
  failure: {
    errorCode: 'Lambda.RequestTooLargeException',
    errorMessage: `With Base64 this record has more than the ${payloadBytesMax} bytes that a call may have.`,
  },
};

interface Settled {
  readonly verdict: Verdict;
  readonly attempts: number;
}

export class Settling {
  readonly #entries: readonly Entry[];
  /** The last that was said of each. */
  readonly #settled = new Map<Entry, Settled>();
  #attempts = 0;

  constructor(entries: readonly Entry[]) {
    this.#entries = entries;
    for (const entry of entries) {
      if (entry.text === null) this.#settled.set(entry, { verdict: tooLarge, attempts: 0 });
    }
  }

  get attempts(): number {
    return this.#attempts;
  }

  /** Those that are still to be asked for, in order. */
  get open(): readonly Entry[] {
    return this.#entries.filter((entry) => {
      const verdict = this.#settled.get(entry)?.verdict;
      return verdict === undefined || verdict.type === 'wrong';
    });
  }

  /** An attempt is over: all that was open was asked for. */
  attempted(): void {
    this.#attempts += 1;
  }

  /** Of the attempt under way, what was answered. */
  answered(asked: readonly Entry[], verdicts: readonly Verdict[]): void {
    const attempts = this.#attempts + 1;
    asked.forEach((entry, index) => {
      const verdict = verdicts[index];
      if (verdict !== undefined) this.#settled.set(entry, { verdict, attempts });
    });
  }

  /** Of the attempt under way, of what nothing came. */
  failed(asked: readonly Entry[], failure: Failure): void {
    const verdict: Verdict = { type: 'wrong', failure };
    this.answered(
      asked,
      asked.map(() => verdict),
    );
  }

  /** What has come of them, those that are open having failed. */
  result(): TransformedBatch {
    const records: ShapedRecord[] = [];
    const failed: FailedRecord[] = [];
    let dropped = 0;
    for (const entry of this.#entries) {
      const settled = this.#settled.get(entry);
      if (settled === undefined) throw new TypeError('a record that was never asked for');
      const { record } = entry;
      const { verdict, attempts } = settled;
      if (verdict.type === 'dropped') dropped += 1;
      else if (verdict.type === 'ok') records.push(made(record, verdict));
      else failed.push({ record, stage: 'processing-failed', ...verdict.failure, attempts });
    }
    return { records, failed, dropped };
  }
}

function made(
  record: ShapedRecord,
  { data, partitionKeys }: Extract<Verdict, { readonly type: 'ok' }>,
): ShapedRecord {
  if (partitionKeys === null) return { ...record, data };
  const query = record.partition?.query ?? {};
  return { ...record, data, partition: { query, lambda: partitionKeys } };
}
