/**
 * What an append turns into: places for its records at once, and at the end of the group commit one
 * batch per shard.
 *
 * Invariants
 * - A group works on its own copy of the positions it touches. The shared ones move after the
 *   commit, all at once, so a reader never sees a position that may yet be undone, and a group that
 *   fails leaves no trace.
 * - Shards that this group closes and opens count at once for the appends behind in it.
 * - A shard's sequence numbers are dense: the next one is where the last batch ends, or where the
 *   shard was trimmed to.
 * - A batch holds at most `batchBytesMax` of records, or a single larger one.
 * - What is written of an encrypted stream is sealed; what readers at the head get from memory is not.
 */
import { StorageError } from '../errors.ts';
import { sealedOverheadBytes } from '../keys.ts';
import type { RecordInput, RecordPlace, StreamDescription } from '../model.ts';
import type { Clock } from '../ports.ts';
import type { AppendGroup, Appender, PreparedAppend, Transaction } from '../group-commit.ts';
import { arrivalSpanMaxMs, batchHeaderBytes, encodeBatch, encodedBytes } from './batch.ts';
import type { TimedRecord } from './batch.ts';
import { deleteBatches, insertBatches, insertRowsMax } from './batch-table.ts';
import type { BatchRow, NewBatch } from './batch-table.ts';
import { KeyHasher, hashKeyMax, toHashKey } from './hash-keys.ts';
import { Routing } from './routing.ts';
import type { Sealing } from './sealing.ts';
import { storedBytesOf } from './streams.ts';
import type { Shard, ShardPosition, Stream, Streams } from './streams.ts';
import type { TailCache } from './tail-cache.ts';

/** Longest data of one record, as in the service model. */
export const recordDataBytesMax = 10 * 1024 * 1024;
/** Most that one append may carry. */
export const appendBytesMax = 32 * 1024 * 1024;
export const partitionKeyCharactersMax = 256;
/** Readers load whole batches, so this bounds what a read of one record costs. */
const batchBytesMax = 512 * 1024;
/** What is encoded and sealed at a time; others have their turn while it is inserted. */
const insertBytesMax = 1024 * 1024;

interface LogAppend extends PreparedAppend {
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

export class LogAppender implements Appender<LogAppend> {
  readonly hasher = new KeyHasher();
  readonly streams: Streams;
  readonly tail: TailCache;
  readonly sealing: Sealing;
  /** null: nobody asked. */
  readonly listener: AppendListener | null;
  readonly #clock: Clock;
  #roomMaker: RoomMaker | null = null;
  #group: LogGroup | null = null;

  constructor(
    streams: Streams,
    tail: TailCache,
    sealing: Sealing,
    clock: Clock,
    listener: AppendListener | null = null,
  ) {
    this.streams = streams;
    this.tail = tail;
    this.sealing = sealing;
    this.listener = listener;
    this.#clock = clock;
  }

  setRoomMaker(roomMaker: RoomMaker): void {
    this.#roomMaker = roomMaker;
  }

  /** The group that is being committed: what a work item trims shards through. */
  get group(): LogGroup {
    if (this.#group === null) throw new Error('no group is being committed');
    return this.#group;
  }

  prepare(stream: string, records: readonly RecordInput[]): LogAppend {
    const arrivalMs = this.#clock.nowMs();
    const timed: TimedRecord[] = [];
    let explicit: Map<number, string> | null = null;
    let bytes = 0;
    for (const [index, record] of records.entries()) {
      const prepared = checkRecord(record, arrivalMs);
      timed.push(prepared);
      bytes += encodedBytes(prepared);
      if (record.explicitHashKey !== undefined) {
        explicit ??= new Map<number, string>();
        explicit.set(index, toHashKey(record.explicitHashKey));
      }
    }
    if (bytes > appendBytesMax) {
      throw new StorageError(
        'invalid-argument',
        `an append of ${bytes} bytes; at most ${appendBytesMax} are allowed`,
      );
    }
    return { stream, records: timed, explicit, bytes };
  }

  beginGroup(): LogGroup {
    this.#group = new LogGroup(this, this.#roomMaker);
    return this.#group;
  }
}

function checkRecord(record: RecordInput, arrivalMs: number): TimedRecord {
  const { partitionKey, data, explicitHashKey } = record;
  if (partitionKey.length === 0 || partitionKey.length > partitionKeyCharactersMax) {
    throw new StorageError(
      'invalid-argument',
      `a partition key has 1 to ${partitionKeyCharactersMax} characters, not ${partitionKey.length}`,
    );
  }
  if (data.length > recordDataBytesMax) {
    throw new StorageError(
      'invalid-argument',
      `a record of ${data.length} bytes; at most ${recordDataBytesMax} are allowed`,
    );
  }
  if (explicitHashKey !== undefined && (explicitHashKey < 0n || explicitHashKey > hashKeyMax)) {
    throw new StorageError('invalid-argument', 'an explicit hash key is 0 to 2^128 - 1');
  }
  const keyBytes = Buffer.byteLength(partitionKey, 'utf8');
  // Half of a surrogate pair has no UTF-8: it would come back as another key.
  if (keyBytes !== partitionKey.length && /\p{Surrogate}/u.test(partitionKey)) {
    throw new StorageError('invalid-argument', 'a partition key is well-formed Unicode');
  }
  return { partitionKey, keyBytes, data, arrivalMs };
}

/** Records on their way into one batch. */
interface PendingBatch {
  readonly firstSequence: number;
  readonly records: TimedRecord[];
  bytes: number;
  lowArrivalMs: number;
  highArrivalMs: number;
}

/** A batch as it is written, and as it was before it was sealed. */
interface EncodedBatch extends NewBatch {
  readonly open: Buffer;
}

/** A shard as this group leaves it. */
class StagedShard {
  readonly shard: Shard;
  position: ShardPosition;
  readonly batches: PendingBatch[] = [];
  readonly rows: EncodedBatch[] = [];

  constructor(shard: Shard) {
    this.shard = shard;
    this.position = shard.position;
  }

  /**
   * Gives the record its sequence number.
   * @param overheadBytes what a batch takes beside its records
   */
  add(record: TimedRecord, position: Mutable<ShardPosition>, overheadBytes: number): number {
    const bytes = encodedBytes(record);
    const { arrivalMs } = record;
    let batch = this.batches.at(-1);
    if (batch === undefined || !fits(batch, record, bytes)) {
      batch = {
        firstSequence: position.nextSequence,
        records: [],
        bytes: overheadBytes,
        lowArrivalMs: arrivalMs,
        highArrivalMs: arrivalMs,
      };
      this.batches.push(batch);
      position.endBytes += overheadBytes;
    }
    batch.records.push(record);
    batch.bytes += bytes;
    if (arrivalMs < batch.lowArrivalMs) batch.lowArrivalMs = arrivalMs;
    if (arrivalMs > batch.highArrivalMs) batch.highArrivalMs = arrivalMs;
    position.endBytes += bytes;
    position.newestArrivalMs = batch.highArrivalMs;
    if (arrivalMs > position.runningArrivalMs) position.runningArrivalMs = arrivalMs;
    position.nextSequence += 1;
    return position.nextSequence - 1;
  }

  /** How to put everything back as it is now. */
  snapshot(): () => void {
    const { position } = this;
    const count = this.batches.length;
    const last = this.batches.at(-1);
    const { bytes, lowArrivalMs, highArrivalMs } = last ?? {};
    const records = last?.records.length ?? 0;
    return () => {
      this.position = position;
      this.batches.length = count;
      if (last === undefined) return;
      last.records.length = records;
      Object.assign(last, { bytes, lowArrivalMs, highArrivalMs });
    };
  }

  /** Each batch takes so much more; returns what all of them do. */
  enlarge(bytesEach: number): number {
    for (const batch of this.batches) batch.bytes += bytesEach;
    const bytes = bytesEach * this.batches.length;
    this.position = { ...this.position, endBytes: this.position.endBytes + bytes };
    return bytes;
  }

  /**
   * Makes each row when it is asked for.
   * @param seal null: the batches are written as they are
   */
  *encode(seal: ((open: Buffer) => Buffer) | null): Generator<NewBatch, void> {
    let { endBytes, runningArrivalMs } = this.shard.position;
    for (const batch of this.batches) {
      endBytes += batch.bytes;
      runningArrivalMs = Math.max(runningArrivalMs, batch.highArrivalMs);
      const open = encodeBatch(batch.firstSequence, batch.records);
      const row = {
        shardId: this.shard.id,
        firstSequence: batch.firstSequence,
        recordCount: batch.records.length,
        highArrivalMs: batch.highArrivalMs,
        runningArrivalMs,
        endBytes,
        open,
        body: seal === null ? open : seal(open),
      };
      this.rows.push(row);
      yield row;
    }
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function fits(batch: PendingBatch, record: TimedRecord, bytes: number): boolean {
  return (
    batch.bytes + bytes <= batchBytesMax &&
    record.arrivalMs - batch.lowArrivalMs <= arrivalSpanMaxMs &&
    batch.highArrivalMs - record.arrivalMs <= arrivalSpanMaxMs
  );
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
    {
      streams,
      hasher,
      tail,
      sealing,
      listener,
    }: Pick<LogAppender, 'streams' | 'hasher' | 'tail' | 'sealing' | 'listener'>,
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
