/**
 * Splits and merges shards, in the one writer.
 *
 * Invariants
 * - Parents are closed and children opened in one transaction, in the order of the writer's queue:
 *   an append that was called before goes to the parents, one called after to the children, also
 *   within the same group commit. If that fails, memory and disk are as they were.
 * - A child's sequence numbers begin at 0. Its running maximum of arrivals goes on where those of
 *   its parents end, so that a clock that stepped back hides nothing after a reshard either.
 * - Indexes are never used twice: the stream's row counts them.
 * - What a required application has not read stays pinned over the reshard (`inherit`).
 *
 * Which shards come of it is worked out in `reshape.ts`; when closed ones go, in
 * `closed-shards.ts`; by itself it happens because of load: `scaling.ts`.
 */
import { StorageError } from '../errors.ts';
import type { Transaction } from '../group-commit.ts';
import type { Clock } from '../ports.ts';
import type { Writer } from '../writer.ts';
import type { LogAppender } from './appending.ts';
import type { ApplicationTable } from './applications.ts';
import { toHashKey } from './hash-keys.ts';
import { Reshape, type Piece } from './reshape.ts';
import { Shard, emptyPosition, shardColumns } from './streams.ts';
import type { ShardRow, Stream, Streams } from './streams.ts';

export const openShardsMax = 10_000;
/** With those that are closed and not yet expired. */
const listedShardsMax = 30_000;

export interface ReshardingOptions {
  readonly writer: Writer;
  readonly appender: LogAppender;
  readonly streams: Streams;
  readonly applications: ApplicationTable;
  readonly clock: Clock;
}

export class Resharding {
  readonly #options: ReshardingOptions;

  constructor(options: ReshardingOptions) {
    this.#options = options;
  }

  /** `Log.splitShard` */
  split(stream: string, shardIndex: number, newStartingHashKey: bigint): Promise<void> {
    return this.#reshape(stream, (shape) => {
      shape.split(shardIndex, newStartingHashKey);
    });
  }

  /** `Log.mergeShards` */
  merge(stream: string, shardIndex: number, adjacentIndex: number): Promise<void> {
    return this.#reshape(stream, (shape) => {
      shape.merge(shardIndex, adjacentIndex);
    });
  }

  /** `Log.resizeStream` */
  async resize(stream: string, openShards: number): Promise<void> {
    if (!Number.isSafeInteger(openShards) || openShards < 1 || openShards > openShardsMax) {
      throw new StorageError(
        'invalid-argument',
        `a stream has 1 to ${openShardsMax} open shards, not ${openShards}`,
      );
    }
    await this.#reshape(stream, (shape) => {
      shape.spread(openShards);
    });
  }

  #reshape(name: string, change: (shape: Reshape) => void): Promise<void> {
    const { writer, streams, appender, clock } = this.#options;
    return writer.transact(async (transaction) => {
      const stream = streams.get(name);
      const row = await transaction.get<{ next: number }>(
        'SELECT next_shard_index AS next FROM stream WHERE id = ? AND deleted_ms IS NULL',
        stream.id,
      );
      if (row === undefined) throw new StorageError('not-found', `there is no stream ${name}`);
      const open = appender.group.routing(stream).shards;
      const shape = new Reshape(
        open.map(({ index, range, createdMs }) => ({ index, ...range, createdMs })),
        row.next,
        clock.nowMs(),
      );
      change(shape);
      if (shape.added.length === 0) return;
      checkCounts(stream, shape);
      await this.#write(
        transaction,
        stream,
        shape,
        new Map(open.map((shard) => [shard.index, shard])),
      );
    });
  }

  async #write(
    transaction: Transaction,
    stream: Stream,
    shape: Reshape,
    before: ReadonlyMap<number, Shard>,
  ): Promise<void> {
    const { appender, applications } = this.#options;
    const parents = (piece: Piece): Shard[] =>
      [...piece.origins].flatMap((index) => before.get(index) ?? []);
    const closed = new Map<Shard, number>();
    for (const { index, closedMs } of shape.closed) {
      const shard = before.get(index);
      if (shard !== undefined && closedMs !== null) closed.set(shard, closedMs);
    }
    await closeShards(transaction, closed);
    const rows = await insertShards(
      transaction,
      stream,
      shape.added.map((piece) => ({
        piece,
        arrivalMs: Math.max(
          ...parents(piece).map((shard) => appender.group.position(shard).runningArrivalMs),
        ),
      })),
    );
    const added = rows.map((row) => new Shard(stream, row, emptyPosition(row)));
    const ids = new Map(added.map((shard) => [shard.index, shard.id]));
    const heirs = shape.added.flatMap((piece) =>
      parents(piece).map(({ id }) => [ids.get(piece.index) ?? 0, id] as const),
    );
    await applications.inherit(transaction, heirs);
    appender.group.reshape(stream, closed, added);
  }
}

function checkCounts(stream: Stream, { openShards, added }: Reshape): void {
  const listed = stream.shards.length + added.length;
  if (openShards <= openShardsMax && listed <= listedShardsMax) return;
  throw new StorageError(
    'overloaded',
    `stream ${stream.options.name} would have ${openShards} open shards and ${listed} in all: ` +
      `at most ${openShardsMax} and ${listedShardsMax} are kept`,
  );
}

async function closeShards(
  transaction: Transaction,
  closed: ReadonlyMap<Shard, number>,
): Promise<void> {
  await transaction.run(
    `UPDATE shard SET closed_ms = value ->> 1 FROM json_each(?) WHERE shard.id = value ->> 0`,
    JSON.stringify([...closed].map(([{ id }, closedMs]) => [id, closedMs])),
  );
}

/** @param added.arrivalMs the highest arrival in the shards that it comes from */
async function insertShards(
  transaction: Transaction,
  stream: Stream,
  added: readonly { readonly piece: Piece; readonly arrivalMs: number }[],
): Promise<ShardRow[]> {
  await transaction.run(
    'UPDATE stream SET next_shard_index = next_shard_index + ? WHERE id = ?',
    ...[added.length, stream.id],
  );
  const values = added.map(({ piece, arrivalMs }) => [
    ...[piece.index, toHashKey(piece.first), toHashKey(piece.last), JSON.stringify(piece.parents)],
    ...[piece.createdMs, piece.closedMs, arrivalMs],
  ]);
  const rows = await transaction.all<ShardRow>(
    `INSERT INTO shard (stream_id, shard_index, first_hash_key, last_hash_key, parents, created_ms,
       closed_ms, trim_sequence, trim_bytes, trim_arrival_ms)
       SELECT ?, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, 0, 0,
              value ->> 6
         FROM json_each(?) ORDER BY key RETURNING ${shardColumns}`,
    ...[stream.id, JSON.stringify(values)],
  );
  await transaction.run(
    `INSERT INTO shard_birth (shard_id, stream_id, shard_index, first_hash_key, last_hash_key,
       parents, created_ms)
       SELECT id, stream_id, shard_index, first_hash_key, last_hash_key, parents, created_ms
         FROM shard WHERE id IN (SELECT value FROM json_each(?))`,
    JSON.stringify(rows.map(({ id }) => id)),
  );
  return rows.sort((a, b) => a.shard_index - b.shard_index);
}
