/**
 * What the appends of one group commit make of the shards: places for their records at once, and at
 * the end of the group one batch per shard.
 *
 * Invariants
 * - A group works on its own copy of the positions it touches. The shared ones move after the
 *   commit, all at once, so a reader never sees a position that may yet be undone, and a group that
 *   fails leaves no trace.
 * - Shards that this group closes and opens count at once for the appends behind in it.
 * - What is written of an encrypted stream is sealed; what readers at the head get from memory is not.
 */
import { StorageError } from '../errors.ts';
import type { AppendGroup, PreparedAppend, Transaction } from '../group-commit.ts';
import { sealedOverheadBytes } from '../keys.ts';
import type { RecordPlace, StreamDescription } from '../model.ts';
import { batchHeaderBytes, type TimedRecord } from './batch.ts';
import { deleteBatches, insertBatches, insertRowsMax } from './batch-table.ts';
import type { BatchRow, NewBatch } from './batch-table.ts';
import type { KeyHasher } from './hash-keys.ts';
import { Routing } from './routing.ts';
import type { Sealing } from './sealing.ts';
import { batchBytesMax, StagedShard, type Mutable } from './staged-shard.ts';
import { storedBytesOf } from './streams.ts';
import type { Shard, ShardPosition, Stream, Streams } from './streams.ts';
import type { TailCache } from './tail-cache.ts';

/** What is encoded and sealed at a time; others have their turn while it is inserted. */
const insertBytesMax = 1024 * 1024;

export interface LogAppend extends PreparedAppend {
  readonly records: readonly TimedRecord[];
  /** Hash keys given by the caller, by the record's index. */
  readonly explicit: ReadonlyMap<number, string> | null;
}

/** Frees room in a stream's budget; `retention.ts` knows what may go. */
export interface RoomMaker {
  makeRoom(stream: Stream, bytes: number, group: LogGroup, transaction: Transaction): Promise<void>;
}

/** Is told of records once they are on disk. */
export type AppendListener = (
  stream: Pick<StreamDescription, 'id' | 'name'>,
  shardIndex: number,
  records: readonly Pick<TimedRecord, 'keyBytes' | 'data'>[],
) => void;

/** What a group works with. */
export interface LogGroupParts {
  readonly streams: Streams;
  readonly hasher: KeyHasher;
  readonly tail: TailCache;
  readonly sealing: Sealing;
  /** null: nobody asked. */
  readonly listener: AppendListener | null;
}

function budgetOf(stream: Stream): number {
  return stream.options.maxBytes ?? Infinity;
}

/** What this group makes of the shards of a stream. */
interface Reshape {
  /** The closed ones and when they were closed. */
  readonly closed: ReadonlyMap<Shard, number>;
  readonly added: readonly Shard[];
  readonly routing: Routing;
}

export class LogGroup implements AppendGroup<LogAppend> {
  readonly #streams: Streams;
  readonly #hasher: KeyHasher;
  readonly #tail: TailCache;
  readonly #sealing: Sealing;
  readonly #listener: AppendListener | null;
  readonly #roomMaker: RoomMaker | null;
  /** Streams whose encryption begins with this group. */
  readonly #sealedFromNow = new Set<Stream>();
  readonly #staged = new Map<Shard, StagedShard>();
  readonly #reshapes = new Map<Stream, Reshape>();
  /** `storedBytes` as far as it was asked for: a stream may have thousands of shards. */
  readonly #stored = new Map<Stream, number>();
  #undoLog: (() => unknown)[] = [];

  constructor(
    { streams, hasher, tail, sealing, listener }: LogGroupParts,
    roomMaker: RoomMaker | null,
  ) {
    this.#streams = streams;
    this.#hasher = hasher;
    this.#tail = tail;
    this.#sealing = sealing;
    this.#listener = listener;
    this.#roomMaker = roomMaker;
  }

  /** Where a shard is, with what this group does to it. */
  position(shard: Shard): ShardPosition {
    return this.#staged.get(shard)?.position ?? shard.position;
  }

  /** What the stream holds once this group is written. */
  storedBytes(stream: Stream): number {
    const known = this.#stored.get(stream);
    if (known !== undefined) return known;
    const added = this.#reshapes.get(stream)?.added ?? [];
    let sum = 0;
    for (const shard of stream.shards) sum += storedBytesOf(this.position(shard));
    for (const shard of added) sum += storedBytesOf(this.position(shard));
    this.#stored.set(stream, sum);
    this.#undoLog.push(() => this.#stored.delete(stream));
    return sum;
  }

  #addStored(stream: Stream, bytes: number): void {
    const before = this.#stored.get(stream);
    if (before === undefined) return;
    this.#stored.set(stream, before + bytes);
    this.#undoLog.push(() => this.#stored.set(stream, before));
  }

  /** Where records go, with what this group does to the shards. */
  routing(stream: Stream): Routing {
    return this.#reshapes.get(stream)?.routing ?? stream.routing;
  }

  /** From here on records go to the shards added, and none to those closed. */
  reshape(stream: Stream, closed: ReadonlyMap<Shard, number>, added: readonly Shard[]): void {
    const before = this.#reshapes.get(stream);
    const open = [...this.routing(stream).shards, ...added].filter(
      (shard) => shard.closedMs === null && !closed.has(shard),
    );
    this.#reshapes.set(stream, {
      closed: new Map([...(before?.closed ?? []), ...closed]),
      added: [...(before?.added ?? []), ...added],
      routing: new Routing(open),
    });
    this.#undoLog.push(() => {
      if (before === undefined) this.#reshapes.delete(stream);
      else this.#reshapes.set(stream, before);
    });
  }

  /** What this group writes of the stream is sealed, whatever its options still say. */
  sealFromNow(stream: Stream): void {
    if (this.#seals(stream)) return;
    this.#sealedFromNow.add(stream);
    this.#undoLog.push(() => this.#sealedFromNow.delete(stream));
    for (const staged of this.#staged.values()) {
      if (staged.shard.stream !== stream) continue;
      const grownBytes = staged.enlarge(sealedOverheadBytes);
      this.#addStored(stream, grownBytes);
      this.#undoLog.push(() => staged.enlarge(-sealedOverheadBytes));
    }
  }

  #seals(stream: Stream): boolean {
    return this.#sealing.seals(stream) || this.#sealedFromNow.has(stream);
  }

  /** What a batch takes beside its records. */
  #overheadBytes(stream: Stream): number {
    return batchHeaderBytes + (this.#seals(stream) ? sealedOverheadBytes : 0);
  }

  #sealer(shard: Shard): ((open: Buffer) => Buffer) | null {
    return this.#seals(shard.stream) ? (open) => this.#sealing.seal(shard, open) : null;
  }

  /** What an append takes of the budget: never less than it will turn out to be. */
  #neededBytes(stream: Stream, append: LogAppend): number {
    const batches =
      Math.min(append.records.length, this.routing(stream).shards.length) +
      Math.ceil((2 * append.bytes) / batchBytesMax);
    return append.bytes + batches * this.#overheadBytes(stream);
  }

  lacksRoom(append: LogAppend): boolean {
    const stream = this.#streams.find(append.stream);
    return stream !== undefined && this.#missingBytes(stream, append) > 0;
  }

  async makeRoom(append: LogAppend, transaction: Transaction): Promise<void> {
    const stream = this.#streams.find(append.stream);
    // What can never fit must not cost the stream what it holds.
    if (stream === undefined || this.#neededBytes(stream, append) > budgetOf(stream)) return;
    const missingBytes = this.#missingBytes(stream, append);
    await this.#roomMaker?.makeRoom(stream, missingBytes, this, transaction);
  }

  /** How far the append would take the stream past its budget. */
  #missingBytes(stream: Stream, append: LogAppend): number {
    if (stream.options.maxBytes === null) return 0;
    return this.storedBytes(stream) + this.#neededBytes(stream, append) - budgetOf(stream);
  }

  stage(append: LogAppend): readonly RecordPlace[] {
    const stream = this.#streams.get(append.stream);
    this.#sealing.checkReady(stream);
    const overheadBytes = this.#overheadBytes(stream);
    const mayExceed = stream.options.whenFull === 'drop-oldest';
    if (
      this.#neededBytes(stream, append) > budgetOf(stream) ||
      (!mayExceed && this.#missingBytes(stream, append) > 0)
    ) {
      stream.refusedAtBytes = stream.storedBytes;
      throw new StorageError(
        'stream-full',
        `stream ${append.stream} holds ${this.storedBytes(stream)} of ${budgetOf(stream)} bytes: ` +
          `no room for ${append.bytes} more`,
      );
    }
    stream.refusedAtBytes = null;
    const places: RecordPlace[] = [];
    const touched = new Map<Shard, { staged: StagedShard; position: Mutable<ShardPosition> }>();
    const routing = this.routing(stream);
    const { onlyShard } = routing;
    for (const [index, record] of append.records.entries()) {
      const shard =
        onlyShard ??
        routing.shardFor(
          append.explicit?.get(index) ?? this.#hasher.hashKeyOf(record.partitionKey),
        );
      let target = touched.get(shard);
      if (target === undefined) {
        const staged = this.#stagedShard(shard);
        target = { staged, position: { ...staged.position } };
        touched.set(shard, target);
        this.#undoLog.push(staged.snapshot());
      }
      const sequence = target.staged.add(record, target.position, overheadBytes);
      const { arrivalMs } = record;
      places.push({ shardId: shard.id, shardIndex: shard.index, sequence, arrivalMs });
    }
    let bytes = 0;
    for (const { staged, position } of touched.values()) {
      bytes += storedBytesOf(position) - storedBytesOf(staged.position);
      staged.position = position;
    }
    this.#addStored(stream, bytes);
    return places;
  }

  /**
   * Deletes the batches of a shard up to and with `last`, a batch that is in the table already, in
   * the transaction of this group.
   */
  async trim(shard: Shard, last: BatchRow, transaction: Transaction): Promise<void> {
    const savedBytes = await deleteBatches(transaction, shard.id, last, this.position(shard));
    this.#move(shard, {
      trimSequence: last.first_sequence + last.record_count,
      trimBytes: last.end_bytes,
      trimArrivalMs: last.running_arrival_ms,
      savedBytes,
    });
  }

  /** The batches of a shard take up so much less than was appended, once this group is written. */
  setSaved(shard: Shard, savedBytes: number): void {
    this.#move(shard, { savedBytes });
  }

  #move(shard: Shard, change: Partial<ShardPosition>): void {
    const staged = this.#stagedShard(shard);
    this.#undoLog.push(staged.snapshot());
    const position = { ...staged.position, ...change };
    this.#addStored(shard.stream, storedBytesOf(position) - storedBytesOf(staged.position));
    staged.position = position;
  }

  #stagedShard(shard: Shard): StagedShard {
    let staged = this.#staged.get(shard);
    if (staged === undefined) {
      staged = new StagedShard(shard);
      this.#staged.set(shard, staged);
    }
    return staged;
  }

  mark(): void {
    this.#undoLog = [];
  }

  undo(): void {
    for (const putBack of this.#undoLog.reverse()) putBack();
    this.#undoLog = [];
  }

  get isOneStatement(): boolean {
    let rows = 0;
    let bytes = 0;
    for (const { batches } of this.#staged.values()) {
      rows += batches.length;
      for (const batch of batches) bytes += batch.bytes;
    }
    return rows <= insertRowsMax && bytes < insertBytesMax;
  }

  async write(transaction: Transaction): Promise<void> {
    // What was said to be one statement may have no transaction around it, and has to be one.
    const partBytesMax = this.isOneStatement ? Infinity : insertBytesMax;
    let rows: NewBatch[] = [];
    let bytes = 0;
    for (const staged of this.#staged.values()) {
      for (const row of staged.encode(this.#sealer(staged.shard))) {
        rows.push(row);
        bytes += row.body.length;
        if (rows.length < insertRowsMax && bytes < partBytesMax) continue;
        await insertBatches(transaction, rows);
        rows = [];
        bytes = 0;
      }
    }
    await insertBatches(transaction, rows);
  }

  apply(): void {
    for (const [stream, { closed, added }] of this.#reshapes) {
      this.#streams.reshape(stream, closed, added);
    }
    for (const { shard, position, rows, batches } of this.#staged.values()) {
      shard.position = position;
      for (const { firstSequence, recordCount, open } of rows) {
        this.#tail.add(shard, firstSequence, recordCount, open);
      }
      const { id, options } = shard.stream;
      const stream = { id, name: options.name };
      for (const { records } of batches) this.#listener?.(stream, shard.index, records);
      if (rows.length > 0) shard.wakeReaders();
    }
  }
}
