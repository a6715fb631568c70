/** An object that is written from its first record to its last: lines, and raw data. */
import { createHash } from 'node:crypto';
import type { ShapedRecord } from '../shape/shaped-record.ts';
import { Blocks } from './blocks.ts';
import type { Compressor } from './compressor.ts';
import type { Encoded, EncodedObject, Encoder } from './encoder.ts';

/** The pieces of an object as they are made, all in memory. */
export class ObjectPieces {
  readonly #pieces: Buffer[] = [];
  readonly #hash = createHash('sha256');
  #sizeBytes = 0;

  add(piece: Buffer): void {
    this.#pieces.push(piece);
    this.#sizeBytes += piece.length;
    this.#hash.update(piece);
  }

  /** Called once, at the end. */
  object(of: Pick<EncodedObject, 'records' | 'plainBytes'>): EncodedObject {
    const { records, plainBytes } = of;
    return {
      pieces: this.#pieces,
      sizeBytes: this.#sizeBytes,
      sha256: this.#hash.digest('hex'),
      records,
      plainBytes,
    };
  }
}

export interface StreamEncoderOptions {
  /** A record as it stands in the object, in pieces to be written one after the other. */
  readonly piecesOf: (record: ShapedRecord) => readonly Buffer[];
  readonly compressor: (onPiece: (piece: Buffer) => void) => Compressor;
}

export class StreamEncoder implements Encoder {
  readonly #piecesOf: StreamEncoderOptions['piecesOf'];
  readonly #compressor: Compressor;
  readonly #blocks = new Blocks();
  readonly #pieces = new ObjectPieces();
  #records = 0;
  #plainBytes = 0;

  constructor({ piecesOf, compressor }: StreamEncoderOptions) {
    this.#piecesOf = piecesOf;
    this.#compressor = compressor((piece) => {
      this.#pieces.add(piece);
    });
  }

  async add(records: readonly ShapedRecord[]): Promise<void> {
    for (const record of records) {
      for (const piece of this.#piecesOf(record)) {
        this.#plainBytes += piece.length;
        this.#blocks.add(piece);
      }
      this.#records += 1;
      for (const block of this.#blocks.takeFull()) await this.#compressor.write(block);
    }
  }

  async end(): Promise<Encoded> {
    await this.#compressor.end(this.#blocks.rest());
    const [records, plainBytes] = [this.#records, this.#plainBytes];
    const object = records === 0 ? null : this.#pieces.object({ records, plainBytes });
    return { object, failed: [] };
  }

  close(): void {
    this.#compressor.close();
  }
}
