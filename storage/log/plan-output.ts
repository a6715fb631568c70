/**
 * What plans were made into, as pieces of bytes in rows of their own: what a function made of records
 * may come out otherwise the second time, and must not, once some of it was sent.
 *
 * Invariants
 * - Pieces count only together: the plan's row says how many there are, in the transaction of the
 *   last one. What a kill left half-written is replaced by the first piece of the next attempt.
 * - They go in the transaction that deletes the plan: a trigger sees to that.
 * - Those of an encrypted stream are sealed under its key, bound to their place.
 */
import { crc32 } from 'node:zlib';
import { StorageError } from '../errors.ts';
import type { Transaction } from '../group-commit.ts';
import type { SourceKey } from '../model.ts';
import type { Queries } from './batch-table.ts';
import type { Sealing } from './sealing.ts';
import type { Streams } from './streams.ts';

/** Longest piece. */
export const pieceBytesMax = 1024 ** 2;

export interface PiecePlace {
  readonly applicationId: number;
  readonly source: SourceKey;
  readonly index: number;
}

interface PieceRow {
  readonly key_id: number;
  readonly checksum: number;
  readonly body: Buffer;
}

export interface PlanOutputsOptions {
  readonly queries: Queries;
  readonly streams: Streams;
  readonly sealing: Sealing;
}

const ofSource = 'application_id = ? AND source_kind = ? AND source_id = ?';

export class PlanOutputs {
  readonly #options: PlanOutputsOptions;

  constructor(options: PlanOutputsOptions) {
    this.#options = options;
  }

  /** Before a transaction in which `save` is called. @throws StorageError `key-unavailable` */
  async ready(source: SourceKey): Promise<void> {
    const { sealing } = this.#options;
    const stream = this.#streamOf(source);
    if (sealing.seals(stream)) await sealing.ready(stream.id);
  }

  /** @throws StorageError `key-unavailable`, `overloaded`, `invalid-argument` */
  async save(transaction: Transaction, place: PiecePlace, bytes: Buffer): Promise<void> {
    if (bytes.length > pieceBytesMax) {
      throw new StorageError('invalid-argument', `a piece has at most ${pieceBytesMax} bytes`);
    }
    const { applicationId, source, index } = place;
    const { sealing } = this.#options;
    const stream = this.#streamOf(source);
    const { keyId, bytes: body } = sealing.seals(stream)
      ? sealing.sealBytes(stream.id, bytes, bindingOf(place))
      : { keyId: 0, bytes };
    // From this one on: what an earlier attempt left behind it is not of this one.
    await transaction.run(
      `DELETE FROM plan_output WHERE ${ofSource} AND piece >= ?`,
      ...[applicationId, source.kind, source.id, index],
    );
    await transaction.run(
      `INSERT INTO plan_output (application_id, source_kind, source_id, piece, key_id, checksum, body)
         VALUES (?, ?, ?, ?, ?, ?, ?)`,
      ...[applicationId, source.kind, source.id, index, keyId, crc32(body), body],
    );
  }

  /** @param pieces how many the plan's row says there are; null: not all */
  async read(
    applicationId: number,
    source: SourceKey,
    pieces: number | null,
  ): Promise<AsyncIterable<Buffer> | null> {
    if (pieces === null) return null;
    const there = await this.#options.queries.get<{ pieces: number }>(
      `SELECT count(*) AS pieces FROM plan_output WHERE ${ofSource} AND piece < ?`,
      ...[applicationId, source.kind, source.id, pieces],
    );
    // Less where the database was saved from damage.
    return there?.pieces === pieces ? this.#pieces(applicationId, source, pieces) : null;
  }

  async *#pieces(
    applicationId: number,
    source: SourceKey,
    pieces: number,
  ): AsyncGenerator<Buffer, void> {
    const { queries, sealing } = this.#options;
    for (let index = 0; index < pieces; index += 1) {
      const row = await queries.get<PieceRow>(
        `SELECT key_id, checksum, body FROM plan_output WHERE ${ofSource} AND piece = ?`,
        ...[applicationId, source.kind, source.id, index],
      );
      if (row === undefined || crc32(row.body) !== row.checksum) {
        throw new StorageError('corrupt', `piece ${index} of what a plan was made into is damaged`);
      }
      const { key_id: keyId, body } = row;
      yield keyId === 0
        ? body
        : await sealing.openBytes(keyId, body, bindingOf({ applicationId, source, index }));
    }
  }

  /** @throws StorageError `not-found`; `invalid-argument` for a source that is no shard */
  #streamOf({ kind, id }: SourceKey) {
    if (kind === 'shard') return this.#options.streams.shard(id).stream;
    throw new StorageError('invalid-argument', 'only the plans of shards keep what they became');
  }
}

function bindingOf({ applicationId, source, index }: PiecePlace): Buffer {
  return Buffer.from(`plan output ${applicationId} ${source.kind} ${source.id} ${index}`);
}
