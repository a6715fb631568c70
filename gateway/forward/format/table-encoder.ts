/**
 * An object of rows, CSV or Parquet, that a thread makes of the records. Two slices of them are on
 * the way at most: one that the thread is at, and the next.
 */
import type { FailedRecord, ShapedRecord } from '../shape/shaped-record.ts';
import { asBuffer } from './compressor.ts';
import type { Encoded, Encoder } from './encoder.ts';
import { ObjectWriter, type MakeCompressor } from './object-writer.ts';
import type { Result, Work } from './thread/protocol.ts';
import type { EncoderThreads, Session } from './thread/threads.ts';

export interface TableEncoderOptions {
  readonly work: Work;
  readonly threads: EncoderThreads;
  /** The JSON that becomes a row, in pieces. */
  readonly jsonOf: (record: ShapedRecord) => readonly Buffer[];
  readonly compressor: MakeCompressor;
}

/** Handed over at a time; a record may have more. */
const sliceBytes = 512 * 1024;

export class TableEncoder implements Encoder {
  readonly #jsonOf: TableEncoderOptions['jsonOf'];
  readonly #session: Session;
  readonly #writer: ObjectWriter;
  readonly #failed: FailedRecord[] = [];
  readonly #isCompressedWithin: boolean;
  #records = 0;
  #recordBytes = 0;
  #underWay: Promise<void> = Promise.resolve();

  constructor({ work, threads, jsonOf, compressor }: TableEncoderOptions) {
    this.#jsonOf = jsonOf;
    this.#isCompressedWithin = work.kind === 'parquet';
    this.#session = threads.open(work);
    this.#writer = new ObjectWriter(compressor);
  }

  async add(records: readonly ShapedRecord[]): Promise<void> {
    for (let from = 0; from < records.length;) {
      const pieces: Buffer[] = [];
      const lengths: number[] = [];
      let to = from;
      for (let bytes = 0; bytes < sliceBytes; to += 1) {
        const record = records[to];
        if (record === undefined) break;
        let length = 0;
        for (const piece of this.#jsonOf(record)) {
          pieces.push(piece);
          length += piece.length;
        }
        lengths.push(length);
        bytes += length;
      }
      const slice = records.slice(from, to);
      from = to;
      await this.#underWay;
      this.#underWay = this.#hand(slice, pieces, lengths);
      // It is waited for with the next slice, or at the end.
      this.#underWay.catch(() => undefined);
    }
  }

  async end(): Promise<Encoded> {
    await this.#underWay;
    await this.#write(await this.#session.ask({ type: 'end' }));
    const plainBytes = this.#isCompressedWithin ? this.#recordBytes : undefined;
    return { object: await this.#writer.end(this.#records, plainBytes), failed: this.#failed };
  }

  close(): void {
    this.#session.close();
    this.#writer.close();
  }

  async #hand(
    records: readonly ShapedRecord[],
    pieces: readonly Buffer[],
    lengths: readonly number[],
  ): Promise<void> {
    const bytes = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0));
    let at = 0;
    for (const piece of pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    const result = await this.#session.ask(
      { type: 'add', bytes, lengths: Uint32Array.from(lengths) },
      [bytes.buffer],
    );
    this.#records += records.length - result.failures.length;
    this.#recordBytes += at;
    for (const { index, code, message } of result.failures) {
      const record = records[index];
      if (record === undefined) throw new Error(`the thread speaks of record ${index}`);
      this.#recordBytes -= lengths[index] ?? 0;
      this.#failed.push({
        record,
        stage: 'format-conversion-failed',
        errorCode: code,
        errorMessage: message,
        attempts: 1,
      });
    }
    await this.#write(result);
  }

  async #write({ pieces }: Result): Promise<void> {
    await this.#writer.write(pieces.map(asBuffer));
  }
}
