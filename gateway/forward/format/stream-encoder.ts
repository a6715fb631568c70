/** An object of records that stand in it one behind the other: lines, and raw data. */
import type { ShapedRecord } from '../shape/shaped-record.ts';
import type { Encoded, Encoder } from './encoder.ts';
import { ObjectWriter, type MakeCompressor } from './object-writer.ts';

export interface StreamEncoderOptions {
  /** A record as it stands in the object, in pieces to be written one after the other. */
  readonly piecesOf: (record: ShapedRecord) => readonly Buffer[];
  readonly compressor: MakeCompressor;
}

export class StreamEncoder implements Encoder {
  readonly #piecesOf: StreamEncoderOptions['piecesOf'];
  readonly #writer: ObjectWriter;
  #records = 0;

  constructor({ piecesOf, compressor }: StreamEncoderOptions) {
    this.#piecesOf = piecesOf;
    this.#writer = new ObjectWriter(compressor);
  }

  async add(records: readonly ShapedRecord[]): Promise<void> {
    for (const record of records) {
      this.#records += 1;
      const full = this.#writer.write(this.#piecesOf(record));
      if (full !== null) await full;
    }
  }

  async end(): Promise<Encoded> {
    return { object: await this.#writer.end(this.#records), failed: [] };
  }

  close(): void {
    this.#writer.close();
  }
}
