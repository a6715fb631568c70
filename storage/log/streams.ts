/**
 * Streams and shards in memory, as of the last commit: what appends are routed by and readers are
 * held against. A restart reads them back in time proportional to the number of shards.
 *
 * Only `appending.ts` moves a shard's position, only `log.ts` adds and removes streams; both after
 * the commit that made it so.
 */
import { StorageError } from '../errors.ts';
import type { Compression, ShardDescription, StreamDescription, StreamOptions } from '../model.ts';
import { fromHashKey } from './hash-keys.ts';
import type { SqlValue } from '../sqlite.ts';

/** Where a shard begins and ends. Sequences, bytes and arrivals count from the shard's creation. */
export interface ShardPosition {
  /** The first sequence number that can still be read. */
  readonly trimSequence: number;
  /** Bytes of batches ever appended before `trimSequence`. */
  readonly trimBytes: number;
  /** Highest arrival before `trimSequence`; 0 when there was none. */
  readonly trimArrivalMs: number;
  readonly nextSequence: number;
  /** Bytes of batches ever appended. */
  readonly endBytes: number;
  /** How much less than was appended the batches that are stored take up: `compaction.ts`. */
  readonly savedBytes: number;
  /** Highest arrival in the shard. */
  readonly runningArrivalMs: number;
  /** Highest arrival in the newest batch. */
  readonly newestArrivalMs: number;
}

/** Bytes of batches stored now. */
export function storedBytesOf({ endBytes, trimBytes, savedBytes }: ShardPosition): number {
  return endBytes - trimBytes - savedBytes;
}

export class Shard {
  readonly id: number;
  readonly stream: Stream;
  readonly index: number;
  readonly firstHashKey: string;
  readonly lastHashKey: string;
  readonly parents: readonly number[];
  readonly createdMs: number;
  readonly closedMs: number | null;
  position: ShardPosition;
  /** Where compaction had come to when the shard was loaded. */
  readonly compactedSequence: number;
  /** Readers that wait for more; each removes itself. */
  readonly waiters = new Set<() => void>();

  constructor(stream: Stream, row: ShardRow, position: ShardPosition) {
    this.stream = stream;
    this.id = row.id;
    this.index = row.shard_index;
    this.firstHashKey = row.first_hash_key;
    this.lastHashKey = row.last_hash_key;
    this.parents = JSON.parse(row.parents) as number[];
    this.createdMs = row.created_ms;
    this.closedMs = row.closed_ms;
    this.compactedSequence = row.compacted_sequence;
    this.position = position;
  }

  wakeReaders(): void {
    for (const wake of [...this.waiters]) wake();
  }

  describe(): ShardDescription {
    return {
      id: this.id,
      stream: this.stream.options.name,
      index: this.index,
      firstHashKey: fromHashKey(this.firstHashKey),
      lastHashKey: fromHashKey(this.lastHashKey),
      parents: this.parents,
      createdMs: this.createdMs,
      closedMs: this.closedMs,
      trimSequence: this.position.trimSequence,
      nextSequence: this.position.nextSequence,
    };
  }
}

export class Stream {
  readonly id: number;
  readonly createdMs: number;
  options: StreamOptions;
  /** In the order of their index. */
  readonly shards: Shard[] = [];
  /** Those that take records, in the order of their hash keys; null: to be sorted out again. */
  #openShards: readonly Shard[] | null = null;

  constructor(row: StreamRow) {
    this.id = row.id;
    this.createdMs = row.created_ms;
    this.options = toOptions(row);
  }

  add(shard: Shard): void {
    this.shards.push(shard);
    this.#openShards = null;
  }

  get #open(): readonly Shard[] {
    this.#openShards ??= this.shards
      .filter(({ closedMs }) => closedMs === null)
      .sort((a, b) => (a.lastHashKey < b.lastHashKey ? -1 : 1));
    return this.#openShards;
  }

  /** The shard for every key, if there is only one. */
  get onlyShard(): Shard | null {
    return this.#open.length === 1 ? (this.#open[0] ?? null) : null;
  }

  /** How many shards take records. */
  get openShards(): number {
    return this.#open.length;
  }

  /** The open shard that owns a hash key. */
  shardFor(hashKey: string): Shard {
    const open = this.#open;
    let low = 0;
    let high = open.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const shard = open[middle];
      if (shard !== undefined && shard.lastHashKey < hashKey) low = middle + 1;
      else high = middle;
    }
    const owner = open[low];
    if (owner === undefined)
      throw new StorageError('not-found', `${this.options.name} has no shard`);
    return owner;
  }

  /** What it held when it last refused an append for want of room; null: it has taken one since. */
  refusedAtBytes: number | null = null;

  /** Bytes of batches stored now. */
  get storedBytes(): number {
    let sum = 0;
    for (const { position } of this.shards) sum += storedBytesOf(position);
    return sum;
  }

  describe(): StreamDescription {
    const { storedBytes } = this;
    return {
      ...this.options,
      id: this.id,
      createdMs: this.createdMs,
      shards: this.shards.map((shard) => shard.describe()),
      storedBytes,
      refusing: storedBytes >= (this.refusedAtBytes ?? Infinity),
    };
  }
}

/** Every stream that is not being deleted, and its shards. */
export class Streams {
  readonly #byName = new Map<string, Stream>();
  readonly #shards = new Map<number, Shard>();

  add(stream: Stream): void {
    this.#byName.set(stream.options.name, stream);
    for (const shard of stream.shards) this.#shards.set(shard.id, shard);
  }

  remove(stream: Stream): void {
    this.#byName.delete(stream.options.name);
    for (const shard of stream.shards) {
      this.#shards.delete(shard.id);
      shard.wakeReaders();
    }
  }

  all(): Stream[] {
    return [...this.#byName.values()];
  }

  find(name: string): Stream | undefined {
    return this.#byName.get(name);
  }

  /** @throws StorageError `not-found` */
  get(name: string): Stream {
    const stream = this.#byName.get(name);
    if (stream === undefined) throw new StorageError('not-found', `there is no stream ${name}`);
    return stream;
  }

  /** @throws StorageError `not-found` */
  shard(id: number): Shard {
    const shard = this.#shards.get(id);
    if (shard === undefined) throw new StorageError('not-found', `there is no shard ${id}`);
    return shard;
  }

  hasShard(id: number): boolean {
    return this.#shards.has(id);
  }
}

export interface StreamRow {
  readonly id: number;
  readonly name: string;
  readonly shard_count: number;
  readonly mode: StreamOptions['mode'];
  readonly retention_ms: number;
  readonly max_bytes: number | null;
  readonly when_full: StreamOptions['whenFull'];
  readonly compression: Compression;
  readonly created_ms: number;
}

export interface ShardRow {
  readonly id: number;
  readonly stream_id: number;
  readonly shard_index: number;
  readonly first_hash_key: string;
  readonly last_hash_key: string;
  readonly parents: string;
  readonly created_ms: number;
  readonly closed_ms: number | null;
  readonly trim_sequence: number;
  readonly trim_bytes: number;
  readonly trim_arrival_ms: number;
  readonly saved_bytes: number;
  readonly compacted_sequence: number;
}

/** The newest batch of a shard. */
interface EndRow {
  readonly shard_id: number;
  readonly next_sequence: number;
  readonly high_arrival_ms: number;
  readonly running_arrival_ms: number;
  readonly end_bytes: number;
}

export const streamColumns =
  'id, name, shard_count, mode, retention_ms, max_bytes, when_full, compression, created_ms';
export const shardColumns =
  'id, stream_id, shard_index, first_hash_key, last_hash_key, parents, created_ms, closed_ms, ' +
  'trim_sequence, trim_bytes, trim_arrival_ms, saved_bytes, compacted_sequence';

function toOptions(row: StreamRow): StreamOptions {
  return {
    name: row.name,
    shardCount: row.shard_count,
    mode: row.mode,
    retentionMs: row.retention_ms,
    maxBytes: row.max_bytes,
    whenFull: row.when_full,
    compression: row.compression,
  };
}

/** The position of a shard that holds nothing. */
export function emptyPosition(row: ShardRow): ShardPosition {
  return {
    trimSequence: row.trim_sequence,
    trimBytes: row.trim_bytes,
    trimArrivalMs: row.trim_arrival_ms,
    nextSequence: row.trim_sequence,
    endBytes: row.trim_bytes,
    savedBytes: 0,
    runningArrivalMs: row.trim_arrival_ms,
    newestArrivalMs: row.trim_arrival_ms,
  };
}

/** Something that answers queries: a connection or a transaction. */
interface Queries {
  all<T>(sql: string, ...params: readonly SqlValue[]): Promise<T[]>;
}

/** Reads the streams that are not being deleted. */
export async function loadStreams(database: Queries): Promise<Streams> {
  const streamRows = await database.all<StreamRow>(
    `SELECT ${streamColumns} FROM stream WHERE deleted_ms IS NULL`,
  );
  const shardRows = await database.all<ShardRow>(
    `SELECT ${shardColumns} FROM shard ORDER BY stream_id, shard_index`,
  );
  const endRows = await database.all<EndRow>(
    `SELECT batch.shard_id, first_sequence + record_count AS next_sequence, high_arrival_ms,
            running_arrival_ms, end_bytes
       FROM shard JOIN batch ON batch.id = (
         SELECT id FROM batch WHERE shard_id = shard.id ORDER BY first_sequence DESC LIMIT 1)`,
  );
  const ends = new Map(endRows.map((row) => [row.shard_id, row]));
  const byId = new Map(streamRows.map((row) => [row.id, new Stream(row)]));
  for (const row of shardRows) {
    const stream = byId.get(row.stream_id);
    if (stream === undefined) continue;
    const empty = emptyPosition(row);
    const end = ends.get(row.id);
    const position =
      end === undefined
        ? empty
        : {
            ...empty,
            nextSequence: end.next_sequence,
            endBytes: end.end_bytes,
            savedBytes: Math.min(row.saved_bytes, end.end_bytes - row.trim_bytes),
            runningArrivalMs: end.running_arrival_ms,
            newestArrivalMs: end.high_arrival_ms,
          };
    stream.add(new Shard(stream, row, position));
  }
  const streams = new Streams();
  for (const stream of byId.values()) streams.add(stream);
  return streams;
}
