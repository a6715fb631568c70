/**
 * What a function made of a plan's records, as bytes in pieces: what is kept under the plan, and read
 * from there however often the plan is carried out.
 *
 * An entry: the length of its head (4 bytes, big-endian), the head (JSON), the data (as many bytes as
 * the head says). Entries go over the ends of pieces.
 */
import type { Failure } from './failures.ts';
import type { PartitionValues, RecordOrigin, ShapedRecord } from './shaped-record.ts';

/** Of a piece of at most 1 MiB. */
export const pieceBytes = 1024 ** 2;
const lengthBytes = 4;

type Head =
  | { readonly failure: Failure }
  | {
      readonly at: readonly [sequence: number, subSequence: number, arrivalMs: number];
      readonly key: string;
      readonly hashKey?: string;
      readonly bytes: number;
      readonly partition?: PartitionValues;
      readonly origin?: RecordOrigin;
    };

export interface OutputPart {
  readonly records: readonly ShapedRecord[];
  readonly failures: readonly Failure[];
}

/** Cuts entries into pieces of one size. */
export class OutputWriter {
  #waiting: Buffer[] = [];
  #bytes = 0;

  /** The pieces that are full by now. */
  *add({ records, failures }: OutputPart): Generator<Buffer, void> {
    for (const record of records) {
      this.#entry(headOf(record), record.data);
      yield* this.#full();
    }
    for (const failure of failures) {
      this.#entry({ failure }, null);
      yield* this.#full();
    }
  }

  /** The last piece, which may be empty. */
  rest(): Buffer {
    return Buffer.concat(this.#waiting, this.#bytes);
  }

  #entry(head: Head, data: Buffer | null): void {
    const json = Buffer.from(JSON.stringify(head));
    const length = Buffer.alloc(lengthBytes);
    length.writeUInt32BE(json.length);
    this.#waiting.push(length, json);
    this.#bytes += lengthBytes + json.length;
    if (data === null) return;
    this.#waiting.push(data);
    this.#bytes += data.length;
  }

  *#full(): Generator<Buffer, void> {
    if (this.#bytes <= pieceBytes) return;
    let rest = Buffer.concat(this.#waiting, this.#bytes);
    while (rest.length > pieceBytes) {
      yield rest.subarray(0, pieceBytes);
      rest = rest.subarray(pieceBytes);
    }
    this.#waiting = [rest];
    this.#bytes = rest.length;
  }
}

function headOf(record: ShapedRecord): Head {
  const { sequence, subSequence, arrivalMs, data, partition, origin } = record;
  const { partitionKey: key, explicitHashKey: hashKey } = record;
  return {
    at: [sequence, subSequence, arrivalMs],
    key,
    ...(hashKey !== undefined && { hashKey }),
    bytes: data.length,
    ...(partition !== null && { partition }),
    ...(origin !== undefined && { origin }),
  };
}

/** The entries of pieces, a part for each piece that completes some. */
export async function* readOutput(pieces: AsyncIterable<Buffer>): AsyncGenerator<OutputPart, void> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const piece of pieces) {
    rest = rest.length === 0 ? piece : Buffer.concat([rest, piece]);
    const records: ShapedRecord[] = [];
    const failures: Failure[] = [];
    let at = 0;
    for (;;) {
      const dataAt = headEnd(rest, at);
      if (dataAt === null) break;
      const head = JSON.parse(rest.toString('utf8', at + lengthBytes, dataAt)) as Head;
      const end = dataAt + ('failure' in head ? 0 : head.bytes);
      if (end > rest.length) break;
      if ('failure' in head) failures.push(head.failure);
      else records.push(recordOf(head, rest.subarray(dataAt, end)));
      at = end;
    }
    rest = rest.subarray(at);
    if (records.length > 0 || failures.length > 0) yield { records, failures };
  }
}

function headEnd(bytes: Buffer, at: number): number | null {
  if (bytes.length < at + lengthBytes) return null;
  const end = at + lengthBytes + bytes.readUInt32BE(at);
  return end <= bytes.length ? end : null;
}

function recordOf(head: Exclude<Head, { failure: Failure }>, data: Buffer): ShapedRecord {
  const [sequence, subSequence, arrivalMs] = head.at;
  const { key: partitionKey, hashKey: explicitHashKey, partition = null, origin } = head;
  return {
    ...{ sequence, subSequence, partitionKey, arrivalMs, data, partition },
    ...(explicitHashKey !== undefined && { explicitHashKey }),
    ...(origin !== undefined && { origin }),
  };
}
