/**
 * Makes the object of a range of records: NDJSON, gzipped, in memory once and compressed only.
 *
 * The same range gives the same bytes: lines are fed to the compressor in blocks of a fixed size,
 * however the log happens to slice them, and the header carries no time.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createGzip } from 'node:zlib';
import type { Log } from '../../storage/model.ts';
import { recordLine, type RecordFormat } from './format/ndjson.ts';
import type { ObjectUpload } from './sink.ts';
import { inOrder } from './uploads.ts';

const sliceRecords = 2_000;
const sliceBytes = 1024 ** 2;
const blockBytes = 64 * 1024;

export interface PackedRange {
  /** null: no record of the range is left. */
  readonly upload: ObjectUpload | null;
  readonly records: number;
  /** Of the lines, before compression. */
  readonly plainBytes: number;
  /** Records of the range that were deleted since it was decided. */
  readonly trimmed: number;
}

/** @throws the signal's reason, once it aborts; StorageError */
export async function packRange(
  log: Log,
  range: {
    readonly shardId: number;
    readonly shardIndex: number;
    readonly from: number;
    readonly to: number;
    readonly format: RecordFormat;
    readonly key: string;
  },
  signal: AbortSignal,
): Promise<PackedRange> {
  const gzip = createGzip();
  const hash = createHash('sha256');
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  gzip.on('data', (piece: Buffer) => {
    pieces.push(piece);
    sizeBytes += piece.length;
    hash.update(piece);
  });
  const ended = once(gzip, 'end');
  ended.catch(() => undefined);
  let records = 0;
  let plainBytes = 0;
  let trimmed = 0;
  try {
    const blocks = new Blocks();
    const onTrimmed = (count: number): void => {
      trimmed += count;
    };
    for await (const record of recordsOf(log, range, onTrimmed, signal)) {
      records += 1;
      for (const piece of recordLine(record, range.format, range.shardIndex)) {
        plainBytes += piece.length;
        for (const block of blocks.add(piece)) {
          if (!gzip.write(block)) await once(gzip, 'drain');
        }
      }
    }
    gzip.end(blocks.rest());
    await ended;
  } finally {
    gzip.destroy();
  }
  if (records === 0) return { upload: null, records, plainBytes, trimmed };
  const upload: ObjectUpload = {
    key: range.key,
    contentType: 'application/gzip',
    sizeBytes,
    sha256: hash.digest('hex'),
    read: () => inOrder(pieces),
  };
  return { upload, records, plainBytes, trimmed };
}

async function* recordsOf(
  log: Log,
  range: { readonly shardId: number; readonly from: number; readonly to: number },
  onTrimmed: (count: number) => void,
  signal: AbortSignal,
) {
  for (let next = range.from; next < range.to;) {
    signal.throwIfAborted();
    const slice = await log.read({
      shardId: range.shardId,
      fromSequence: next,
      maxRecords: Math.min(sliceRecords, range.to - next),
      maxBytes: sliceBytes,
    });
    onTrimmed(Math.min(slice.skipped.trimmed, range.to - next));
    for (const record of slice.records) {
      if (record.sequence >= range.to) return;
      yield record;
    }
    // A shard that ends before the plan does has lost its last batches; there is no more to read.
    if (slice.nextSequence <= next) return;
    next = slice.nextSequence;
  }
}

/** Cuts pieces of any size into blocks of one size. */
class Blocks {
  #gathered: Buffer[] = [];
  #bytes = 0;

  *add(piece: Buffer): Generator<Buffer> {
    let rest = piece;
    while (this.#bytes + rest.length >= blockBytes) {
      const head = rest.subarray(0, blockBytes - this.#bytes);
      yield Buffer.concat([...this.#gathered, head], blockBytes);
      rest = rest.subarray(head.length);
      this.#gathered = [];
      this.#bytes = 0;
    }
    if (rest.length > 0) this.#gathered.push(rest);
    this.#bytes += rest.length;
  }

  rest(): Buffer {
    return Buffer.concat(this.#gathered, this.#bytes);
  }
}
