/**
 * Streams and shards in memory, as of the last commit: what appends are routed by and readers are
 * held against. A restart reads them back in time proportional to the number of shards.
 *
 * Only `log-group.ts` moves a shard's position and closes and adds shards, only `log.ts` adds and
 * removes streams, only `closed-shards.ts` removes shards; each after the commit that made it so.
 */
import { StorageError } from '../errors.ts';
import type {
  Compression,
  Encryption,
  ShardDescription,
  StreamDescription,
  StreamOptions,
} from '../model.ts';
import { fromHashKey, isHashKey } from './hash-keys.ts';
import { Routing } from './routing.ts';
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
  /**
   * How much less than was appended the batches that are stored take up: `compaction.ts`. Below 0
   * where they were sealed afterwards: `resealing.ts`.
   */
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

/** Sequence numbers; nothing where both are the same. */
export interface ResealRange {
  readonly from: number;
  readonly to: number;
}

export class Shard {
  readonly id: number;
  readonly stream: Stream;
  readonly index: number;
  readonly firstHashKey: string;
  readonly lastHashKey: string;
  /** The same as numbers. */
  readonly range: { readonly first: bigint; readonly last: bigint };
  readonly parents: readonly number[];
  readonly createdMs: number;
  closedMs: number | null;
  #position: ShardPosition;
  /** Where compaction had come to when the shard was loaded. */
  readonly compactedSequence: number;
  /** The batches that are still to be looked at for how they are sealed: `resealing.ts`. */
  reseal: ResealRange;
  /** Readers that wait for more; each removes itself. */
  readonly waiters = new Set<() => void>();

  constructor(stream: Stream, row: ShardRow, position: ShardPosition) {
    this.stream = stream;
    this.id = row.id;
    this.index = row.shard_index;
    this.firstHashKey = row.first_hash_key;
    this.lastHashKey = row.last_hash_key;
    this.range = { first: fromHashKey(row.first_hash_key), last: fromHashKey(row.last_hash_key) };
    this.parents = parentsOf(row) ?? [];
    this.createdMs = row.created_ms;
    this.closedMs = row.closed_ms;
    this.compactedSequence = row.compacted_sequence;
    this.reseal = { from: row.reseal_from, to: row.reseal_to };
    this.#position = position;
  }

  get position(): ShardPosition {
    return this.#position;
  }

  set position(position: ShardPosition) {
    this.#position = position;
    this.stream.changed();
  }

  wakeReaders(): void {
    for (const wake of [...this.waiters]) wake();
  }

  describe(): ShardDescription {
    return {
      id: this.id,
      stream: this.stream.options.name,
      index: this.index,
      firstHashKey: this.range.first,
      lastHashKey: this.range.last,
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
  #options: StreamOptions;
  /** The data key that older batches are being sealed with, or all are; 0: none. */
  sealingKeyId: number;
  /** By key: `attributes.ts`. */
  attributes: Readonly<Record<string, unknown>> = {};
  #shards: readonly Shard[] = [];
  #routing: Routing | null = null;
  #refusedAtBytes: number | null = null;
  /** As long as it is true. */
  #description: StreamDescription | null = null;

  constructor(row: StreamRow) {
    this.id = row.id;
    this.createdMs = row.created_ms;
    this.#options = toOptions(row);
    this.sealingKeyId = row.sealing_key_id;
  }

  get options(): StreamOptions {
    return this.#options;
  }

  set options(options: StreamOptions) {
    this.#options = options;
    this.changed();
  }

  /** @param value undefined: there is no such attribute any more */
  setAttribute(key: string, value: unknown): void {
    const others = Object.entries(this.attributes).filter(([name]) => name !== key);
    this.attributes = Object.fromEntries(value === undefined ? others : [...others, [key, value]]);
    this.changed();
  }

  /** In the order of their index, closed ones too. The array never changes: another takes its place. */
  get shards(): readonly Shard[] {
    return this.#shards;
  }

  setShards(shards: readonly Shard[]): void {
    this.#shards = shards.toSorted((a, b) => a.index - b.index);
    this.#routing = null;
    this.changed();
  }

  /** Where records go. */
  get routing(): Routing {
    this.#routing ??= new Routing(this.#shards.filter(({ closedMs }) => closedMs === null));
    return this.#routing;
  }

  /** What it held when it last refused an append for want of room; null: it has taken one since. */
  get refusedAtBytes(): number | null {
    return this.#refusedAtBytes;
  }

  set refusedAtBytes(bytes: number | null) {
    if (bytes === this.#refusedAtBytes) return;
    this.#refusedAtBytes = bytes;
    this.changed();
  }

  /** Bytes of batches stored now. */
  get storedBytes(): number {
    let sum = 0;
    for (const { position } of this.shards) sum += storedBytesOf(position);
    return sum;
  }

  /** Something that is described is no longer as it was. */
  changed(): void {
    this.#description = null;
  }

  /** Asked for several times by each request, and a stream may have hundreds of shards: it is kept. */
  describe(): StreamDescription {
    this.#description ??= this.#describe();
    return this.#description;
  }

  #describe(): StreamDescription {
    const { storedBytes } = this;
    return {
      ...this.options,
      id: this.id,
      createdMs: this.createdMs,
      shards: this.shards.map((shard) => shard.describe()),
      storedBytes,
      attributes: this.attributes,
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

  /** Shards are closed and others opened; who waits at the end of a closed one is told. */
  reshape(stream: Stream, closed: ReadonlyMap<Shard, number>, added: readonly Shard[]): void {
    for (const [shard, closedMs] of closed) shard.closedMs = closedMs;
    stream.setShards([...stream.shards, ...added]);
    for (const shard of added) this.#shards.set(shard.id, shard);
    for (const shard of closed.keys()) shard.wakeReaders();
  }

  /** Shards are gone. */
  drop(stream: Stream, shards: ReadonlySet<Shard>): void {
    stream.setShards(stream.shards.filter((shard) => !shards.has(shard)));
    for (const shard of shards) {
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
  readonly encryption: Encryption;
  readonly sealing_key_id: number;
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
  readonly reseal_from: number;
  readonly reseal_to: number;
}

interface AttributeRow {
  readonly stream_id: number;
  readonly key: string;
  readonly value: string;
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
  'id, name, shard_count, mode, retention_ms, max_bytes, when_full, compression, encryption, ' +
  'sealing_key_id, created_ms';
export const shardColumns =
  'id, stream_id, shard_index, first_hash_key, last_hash_key, parents, created_ms, closed_ms, ' +
  'trim_sequence, trim_bytes, trim_arrival_ms, saved_bytes, compacted_sequence, reseal_from, ' +
  'reseal_to';

export function toOptions(row: StreamRow): StreamOptions {
  return {
    name: row.name,
    shardCount: row.shard_count,
    mode: row.mode,
    retentionMs: row.retention_ms,
    maxBytes: row.max_bytes,
    whenFull: row.when_full,
    compression: row.compression,
    encryption: row.encryption,
  };
}

type ShardIdentity = Pick<ShardRow, 'shard_index' | 'first_hash_key' | 'last_hash_key' | 'parents'>;

/** Whether a row can be that of a shard: on a damaged page it can be anything. */
export function isSaneShard(row: ShardIdentity): boolean {
  const { shard_index: index, first_hash_key: first, last_hash_key: last } = row;
  return (
    isHashKey(first) &&
    isHashKey(last) &&
    first <= last &&
    Number.isSafeInteger(index) &&
    index >= 0 &&
    (parentsOf(row)?.every((parent) => parent < index) ?? false)
  );
}

/** Indexes; null when they can't be read. */
export function parentsOf({ parents }: Pick<ShardRow, 'parents'>): readonly number[] | null {
  try {
    const list: unknown = JSON.parse(parents);
    return Array.isArray(list) && list.every(Number.isSafeInteger) ? (list as number[]) : null;
  } catch {
    return null;
  }
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
  const attributeRows = await database.all<AttributeRow>(
    'SELECT stream_id, key, value FROM stream_attribute WHERE json_valid(value) ORDER BY key',
  );
  const ends = new Map(endRows.map((row) => [row.shard_id, row]));
  const byId = new Map<number, { stream: Stream; shards: Shard[] }>();
  for (const row of streamRows) byId.set(row.id, { stream: new Stream(row), shards: [] });
  for (const row of shardRows) {
    const found = byId.get(row.stream_id);
    if (found !== undefined && !isSaneShard(row)) {
      const where = `shard ${row.shard_index} of stream ${found.stream.options.name}`;
      throw new StorageError(
        'corrupt',
        `the row of ${where} is damaged: "headgate check --repair" mends it`,
      );
    }
    found?.shards.push(new Shard(found.stream, row, positionOf(row, ends.get(row.id))));
  }
  for (const { stream_id: id, key, value } of attributeRows) {
    byId.get(id)?.stream.setAttribute(key, JSON.parse(value));
  }
  const streams = new Streams();
  for (const { stream, shards } of byId.values()) {
    stream.setShards(shards);
    streams.add(stream);
  }
  return streams;
}

function positionOf(row: ShardRow, end: EndRow | undefined): ShardPosition {
  const empty = emptyPosition(row);
  if (end === undefined) return empty;
  return {
    ...empty,
    nextSequence: end.next_sequence,
    endBytes: end.end_bytes,
    savedBytes: Math.min(row.saved_bytes, end.end_bytes - row.trim_bytes),
    runningArrivalMs: end.running_arrival_ms,
    newestArrivalMs: end.high_arrival_ms,
  };
}
