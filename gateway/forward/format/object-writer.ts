/** An object as it is written from its beginning to its end, all of it in memory. */
import { createHash } from 'node:crypto';
import { Blocks } from './blocks.ts';
import type { Compressor, OnPiece } from './compressor.ts';
import type { EncodedObject } from './encoder.ts';

export type MakeCompressor = (onPiece: OnPiece) => Compressor;

export class ObjectWriter {
  readonly #blocks = new Blocks();
  readonly #compressor: Compressor;
  readonly #pieces: Buffer[] = [];
  readonly #hash = createHash('sha256');
  #sizeBytes = 0;
  #plainBytes = 0;

  constructor(compressor: MakeCompressor) {
    this.#compressor = compressor((piece) => {
      this.#pieces.push(piece);
      this.#sizeBytes += piece.length;
      this.#hash.update(piece);
    });
  }

  /** null: there is room for more; else it resolves when there is. */
  write(pieces: readonly Buffer[]): Promise<void> | null {
    for (const piece of pieces) {
      this.#plainBytes += piece.length;
      this.#blocks.add(piece);
    }
    const full = this.#blocks.takeFull();
    return full.length === 0 ? null : this.#compress(full);
  }

  /** Called once. @param plainBytes left out: as many as were written */
  async end(records: number, plainBytes = this.#plainBytes): Promise<EncodedObject | null> {
    await this.#compressor.end(this.#blocks.rest());
    if (records === 0) return null;
    return {
      pieces: this.#pieces,
      sizeBytes: this.#sizeBytes,
      sha256: this.#hash.digest('hex'),
      records,
      plainBytes,
    };
  }

  close(): void {
    this.#compressor.close();
  }

  async #compress(blocks: readonly Buffer[]): Promise<void> {
    for (const block of blocks) await this.#compressor.write(block);
  }
}
