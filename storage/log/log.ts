/**
 * The local sharded log: streams and their shards, appends, reads, waiting readers.
 *
 * This file creates, changes and deletes streams and puts the parts together; appending is in
 * `appending.ts`, reading in `reading.ts`, applications in `applications.ts`, splitting and merging
 * in `resharding.ts`, deleting old data in `../retention.ts`.
 */
import { StorageError } from '../errors.ts';
import type {
  Applications,
  Log,
  ReadOptions,
  ReadResult,
  RecordInput,
  RecordPlace,
  ShardDescription,
  StreamChanges,
  StreamDescription,
  StreamOptions,
} from '../model.ts';
import type { Clock, Logger } from '../ports.ts';
import type { Transaction } from '../group-commit.ts';
import type { Writer } from '../writer.ts';
import type { SqlValue } from '../sqlite.ts';
import type { ApplicationTable } from './applications.ts';
import { setAttribute } from './attributes.ts';
import { evenRanges, toHashKey } from './hash-keys.ts';
import type { LogReader } from './reading.ts';
import type { Resealing } from './resealing.ts';
import { openShardsMax, type Resharding } from './resharding.ts';
import type { Sealing } from './sealing.ts';
import { Shard, Stream, emptyPosition, shardColumns, streamColumns, toOptions } from './streams.ts';
import type { ShardRow, StreamRow, Streams } from './streams.ts';
import type { ReadCache } from './read-cache.ts';
import type { TailCache } from './tail-cache.ts';

const namePattern = /^[a-zA-Z0-9_.-]{1,128}$/;
const retentionMinMs = 60 * 60 * 1000;

export interface ShardedLogOptions {
  readonly streams: Streams;
  readonly writer: Writer;
  readonly reader: LogReader;
  readonly tail: TailCache;
  readonly readCache: ReadCache;
  readonly applications: ApplicationTable;
  readonly resharding: Resharding;
  readonly sealing: Sealing;
  readonly resealing: Resealing;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called when there is something for retention to delete. */
  readonly onDeletable: () => void;
}

export class ShardedLog implements Log {
  readonly applications: Applications;
  readonly #options: ShardedLogOptions;
  readonly #streams: Streams;
  readonly #writer: Writer;
  #closed = false;

  constructor(options: ShardedLogOptions) {
    this.#options = options;
    this.#streams = options.streams;
    this.#writer = options.writer;
    this.applications = options.applications;
  }

  async createStream(options: StreamOptions): Promise<StreamDescription> {
    checkStreamOptions(options);
    const id = await this.#reserveId(options);
    await this.#writer.transact(async (transaction) => {
      const added = await this.#insert(transaction, options, id);
      if (!added) {
        throw new StorageError('already-exists', `there is a stream ${options.name}`);
      }
    });
    return this.stream(options.name);
  }

  /**
   * A stream that is there keeps its shards, whatever `shardCount` says: their number changes by
   * resharding only.
   */
  async ensureStream(options: StreamOptions): Promise<StreamDescription> {
    checkStreamOptions(options);
    const { compression = 'none', encryption = 'none' } = options;
    const changes = { ...options, compression, encryption };
    if (this.#streams.find(options.name) === undefined) {
      const id = await this.#reserveId(options);
      const isNew = await this.#writer.transact((transaction) =>
        this.#insert(transaction, options, id),
      );
      if (isNew) return this.#changed(options.name);
    }
    return this.updateStream(options.name, changes);
  }

  /**
   * The id of a stream to be made, which has its data key before it is there: nothing of it is ever
   * written in the open. null: it needs none.
   */
  async #reserveId({ name, encryption = 'none' }: StreamOptions): Promise<number | null> {
    if (encryption === 'none' || this.#streams.find(name) !== undefined) return null;
    const id = await this.#writer.transact(async (transaction) => {
      const [row] = await transaction.all<{ seq: number }>(
        "UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'stream' RETURNING seq",
      );
      if (row !== undefined) return row.seq;
      await transaction.run("INSERT INTO sqlite_sequence (name, seq) VALUES ('stream', 1)");
      return 1;
    });
    await this.#options.sealing.ready(id);
    return id;
  }

  async updateStream(name: string, changes: StreamChanges): Promise<StreamDescription> {
    const stream = this.#streams.get(name);
    checkStreamOptions({ ...stream.options, ...changes });
    const begins = changes.encryption === 'aes-256-gcm' && !this.#options.sealing.seals(stream);
    if (begins) await this.#options.resealing.prepare(stream.id);
    await this.#writer.transact(async (transaction) => {
      await this.#change(transaction, name, changes);
      if (begins) await this.#options.resealing.begin(transaction, this.#streams.get(name));
    });
    return this.#changed(name);
  }

  /** What was made smaller takes effect soon. */
  #changed(name: string): StreamDescription {
    const stream = this.#streams.get(name);
    if (stream.storedBytes > (stream.options.maxBytes ?? Infinity)) this.#options.onDeletable();
    return stream.describe();
  }

  async setAttribute(stream: string, key: string, value: unknown): Promise<void> {
    await this.#writer.transact((transaction) =>
      setAttribute(transaction, this.#streams, { name: stream, key, value }),
    );
  }

  async splitShard(
    stream: string,
    shardIndex: number,
    newStartingHashKey: bigint,
  ): Promise<StreamDescription> {
    await this.#options.resharding.split(stream, shardIndex, newStartingHashKey);
    return this.stream(stream);
  }

  async mergeShards(
    stream: string,
    shardIndex: number,
    adjacentIndex: number,
  ): Promise<StreamDescription> {
    await this.#options.resharding.merge(stream, shardIndex, adjacentIndex);
    return this.stream(stream);
  }

  async resizeStream(stream: string, openShards: number): Promise<StreamDescription> {
    await this.#options.resharding.resize(stream, openShards);
    return this.stream(stream);
  }

  /** @param id null: the next one */
  async #insert(
    transaction: Transaction,
    options: StreamOptions,
    id: number | null,
  ): Promise<boolean> {
    const createdMs = this.#options.clock.nowMs();
    const [row] = await transaction.all<StreamRow>(
      `INSERT INTO stream (id, name, shard_count, mode, retention_ms, max_bytes, when_full,
         compression, encryption, sealing_key_id, created_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (name) WHERE deleted_ms IS NULL DO NOTHING RETURNING ${streamColumns}`,
      id,
      options.name,
      options.shardCount,
      options.mode,
      options.retentionMs,
      options.maxBytes,
      options.whenFull,
      options.compression ?? 'none',
      options.encryption ?? 'none',
      id === null ? 0 : this.#options.sealing.keyIdOf(id),
      createdMs,
    );
    if (row === undefined) return false;
    const ranges = evenRanges(options.shardCount).map(({ first, last }) => [
      toHashKey(first),
      toHashKey(last),
    ]);
    const shardRows = await transaction.all<ShardRow>(
      `INSERT INTO shard (stream_id, shard_index, first_hash_key, last_hash_key, parents,
         created_ms, trim_sequence, trim_bytes, trim_arrival_ms)
         SELECT ?, key, value ->> 0, value ->> 1, '[]', ?, 0, 0, 0 FROM json_each(?) ORDER BY key
         RETURNING ${shardColumns}`,
      row.id,
      createdMs,
      JSON.stringify(ranges),
    );
    await transaction.run(
      'UPDATE stream SET next_shard_index = shard_count, first_shard_id = ? WHERE id = ?',
      ...[Math.min(...shardRows.map(({ id }) => id)), row.id],
    );
    transaction.onCommit(() => {
      const stream = new Stream(row);
      stream.setShards(
        shardRows.map((shardRow) => new Shard(stream, shardRow, emptyPosition(shardRow))),
      );
      this.#streams.add(stream);
    });
    return true;
  }

  /** Changes the columns that are given, and no others. */
  async #change(transaction: Transaction, name: string, changes: StreamChanges): Promise<void> {
    const columns: readonly (readonly [string, SqlValue | undefined])[] = [
      ['mode', changes.mode],
      ['retention_ms', changes.retentionMs],
      ['max_bytes', changes.maxBytes],
      ['when_full', changes.whenFull],
      ['compression', changes.compression],
      ['encryption', changes.encryption],
      // What is written in the open from now on is to be sealed should it begin again.
      ['sealing_key_id', changes.encryption === 'none' ? 0 : undefined],
    ];
    const given = columns.flatMap(([column, value]) =>
      value === undefined ? [] : [{ column, value }],
    );
    const [row] = await transaction.all<StreamRow>(
      `UPDATE stream SET ${['name = name', ...given.map(({ column }) => `${column} = ?`)].join(', ')}
        WHERE name = ? AND deleted_ms IS NULL RETURNING ${streamColumns}`,
      ...[...given.map(({ value }) => value), name],
    );
    if (row === undefined) throw new StorageError('not-found', `there is no stream ${name}`);
    transaction.onCommit(() => {
      const stream = this.#streams.get(name);
      stream.options = toOptions(row);
      stream.sealingKeyId = row.sealing_key_id;
    });
  }

  /**
   * The stream is gone at once, with what applications know of its shards; its batches are deleted
   * in small steps afterwards.
   */
  async deleteStream(name: string): Promise<void> {
    await this.#writer.transact(async (transaction) => {
      const [row] = await transaction.all<{ id: number }>(
        `UPDATE stream SET deleted_ms = ? WHERE name = ? AND deleted_ms IS NULL RETURNING id`,
        this.#options.clock.nowMs(),
        name,
      );
      if (row === undefined) throw new StorageError('not-found', `there is no stream ${name}`);
      const shards = await transaction.all<{ id: number }>(
        'SELECT id FROM shard WHERE stream_id = ?',
        row.id,
      );
      const ids = shards.map(({ id }) => id);
      await this.#options.applications.forgetSources(transaction, 'shard', ids);
      for (const table of ['stream_attribute', 'shard_birth']) {
        await transaction.run(`DELETE FROM ${table} WHERE stream_id = ?`, row.id);
      }
      transaction.onCommit(() => {
        const stream = this.#streams.get(name);
        for (const shard of stream.shards) {
          this.#options.tail.forget(shard);
          this.#options.readCache.forget(shard);
        }
        this.#streams.remove(stream);
      });
    });
    this.#options.onDeletable();
  }

  streams(): readonly StreamDescription[] {
    return this.#streams.all().map((stream) => stream.describe());
  }

  stream(name: string): StreamDescription {
    return this.#streams.get(name).describe();
  }

  shard(shardId: number): ShardDescription {
    return this.#streams.shard(shardId).describe();
  }

  /** The records' buffers are the log's until the promise settles: they are not copied before. */
  append(stream: string, records: readonly RecordInput[]): Promise<readonly RecordPlace[]> {
    return this.#writer.append(stream, records);
  }

  read(options: ReadOptions): Promise<ReadResult> {
    return this.#reading(options.shardId, (shard) => this.#options.reader.read(shard, options));
  }

  sequenceAt(shardId: number, timestampMs: number): Promise<number> {
    return this.#reading(shardId, (shard) => this.#options.reader.sequenceAt(shard, timestampMs));
  }

  backlog(
    shardId: number,
    fromSequence: number,
  ): Promise<{ records: number; bytes: number; oldestArrivalMs: number | null }> {
    return this.#reading(shardId, (shard) => this.#options.reader.backlog(shard, fromSequence));
  }

  async #reading<T>(shardId: number, read: (shard: Shard) => Promise<T>): Promise<T> {
    if (this.#closed) throw new StorageError('closed', 'the store is closed');
    return read(this.#streams.shard(shardId));
  }

  /** Also resolves when the stream is deleted or the store is closed: the next read says so. */
  async waitForRecords(shardId: number, fromSequence: number, signal: AbortSignal): Promise<void> {
    if (this.#closed || signal.aborted) return;
    const shard = this.#streams.shard(shardId);
    const ready = (): boolean =>
      shard.position.nextSequence > fromSequence ||
      shard.closedMs !== null ||
      this.#closed ||
      !this.#streams.hasShard(shardId);
    if (ready()) return;
    await new Promise<void>((resolve) => {
      const finish = (): void => {
        shard.waiters.delete(wake);
        signal.removeEventListener('abort', finish);
        resolve();
      };
      const wake = (): void => {
        if (ready()) finish();
      };
      shard.waiters.add(wake);
      signal.addEventListener('abort', finish);
    });
  }

  /** Lets go of everyone who waits. The writer and the readers are closed by the store. */
  close(): void {
    this.#closed = true;
    for (const stream of this.#streams.all()) {
      for (const shard of stream.shards) shard.wakeReaders();
    }
  }
}

function checkStreamOptions(options: StreamOptions): void {
  const { name, shardCount, retentionMs, maxBytes } = options;
  const problem = !namePattern.test(name)
    ? `a stream's name has 1 to 128 of a-z A-Z 0-9 _ . -, unlike ${JSON.stringify(name)}`
    : !Number.isSafeInteger(shardCount) || shardCount < 1 || shardCount > openShardsMax
      ? `a stream has 1 to ${openShardsMax} shards, not ${shardCount}`
      : !Number.isSafeInteger(retentionMs) || retentionMs < retentionMinMs
        ? `records are kept for at least one hour, not ${retentionMs} ms`
        : maxBytes !== null && (!Number.isSafeInteger(maxBytes) || maxBytes < 1)
          ? `a byte budget is a whole number of at least 1, not ${maxBytes}`
          : null;
  if (problem !== null) throw new StorageError('invalid-argument', problem);
}
