/** How the records of one object become its bytes. */
import type { FailedRecord, ShapedRecord } from '../shape/shaped-record.ts';

/**
 * Makes one object. The same records, in the same order, give the same bytes, however they are
 * divided among calls of `add`; nothing of the time or the machine is in them.
 */
export interface Encoder {
  /** Takes records in the order of the shard; resolves when there is room for more. */
  add(records: readonly ShapedRecord[]): Promise<void>;
  /** Of what was added. Called once, after at least one `add`. */
  end(): Promise<Encoded>;
  /** Lets go of everything; harmless after `end`. */
  close(): void;
}

export interface Encoded {
  /** null: no record of them could be encoded. */
  readonly object: EncodedObject | null;
  /** Records that could not, in order. */
  readonly failed: readonly FailedRecord[];
}

export interface EncodedObject {
  readonly pieces: readonly Buffer[];
  readonly sizeBytes: number;
  /** SHA-256 of the pieces, hexadecimal. */
  readonly sha256: string;
  /** In it. */
  readonly records: number;
  /** Before compression. */
  readonly plainBytes: number;
}

/** A way of encoding, as a delivery is configured. */
export interface Format {
  /** Of the object, such as `application/gzip`. */
  readonly contentType: string;
  /** With its dots, such as `.ndjson.gz`; what a key ends with unless the delivery says otherwise. */
  readonly extension: string;
  encoder(): Encoder;
}
