/**
 * Seals what an encrypted stream held before its encryption began, and seals anew what an older data
 * key has sealed, in small steps between the group commits. Compaction (`compaction.ts`) gives it its
 * turns, so the two never work on a shard at once.
 *
 * Invariants
 * - What is to be looked at is marked in the transaction with which encryption begins, or once
 *   another data key is in use: all that each shard holds then. What comes later is sealed rightly.
 * - A step replaces the bodies of a few batches by the same ones sealed, and moves the mark, in one
 *   transaction: killed at any moment, it goes on where it was.
 * - While there are marks SQLite overwrites what it deletes (secure_delete), so that no page keeps
 *   what was in the open. The mark of a shard is only taken away when, since the last step, the free
 *   pages were taken out of the file and the write-ahead log was cut.
 * - A sealed batch is a little larger than it was: a shard's `saved_bytes` becomes less by that, also
 *   less than 0.
 * - What is corrupt, or does not open with the keys at hand, stays as it is.
 */
import { StorageError } from '../errors.ts';
import type { Transaction } from '../group-commit.ts';
import type { Counter, Logger, Metrics } from '../ports.ts';
import type { Writer } from '../writer.ts';
import type { LogAppender } from './appending.ts';
import { verifyBatch, type BatchHeader } from './batch.ts';
import { batchSlice, replaceBody } from './batch-table.ts';
import type { Queries, StoredBatch } from './batch-table.ts';
import type { Sealing } from './sealing.ts';
import type { Shard, Stream, Streams } from './streams.ts';

const stepRows = 256;
const stepBytes = 1024 * 1024;

export interface ResealingOptions {
  readonly writer: Writer;
  readonly appender: LogAppender;
  readonly streams: Streams;
  readonly queries: Queries;
  readonly sealing: Sealing;
  /** Whether SQLite overwrites what it deletes. */
  readonly wipeDeleted: (on: boolean) => Promise<void>;
  /** Takes the free pages of the file away. */
  readonly dropFreePages: () => Promise<void>;
  /** Cuts the write-ahead log to nothing; false when somebody reads from it. */
  readonly cutWal: () => Promise<boolean>;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

interface Replacement {
  readonly first: number;
  readonly count: number;
  readonly before: Buffer;
  readonly sealed: Buffer;
}

export class Resealing {
  readonly #options: ResealingOptions;
  readonly #resealed: Counter;
  /** Streams whose key is not at hand: said once. */
  readonly #waiting = new Set<Stream>();
  #wipes = false;

  constructor(options: ResealingOptions) {
    this.#options = options;
    this.#resealed = options.metrics.counter(
      'headgate_log_resealed_batches_total',
      'Batches that were encrypted after they had been written, or again under another key, by stream.',
    );
  }

  /** Whether a shard has batches to look at. */
  isDue({ stream, reseal, position }: Shard): boolean {
    if (!this.#options.sealing.seals(stream)) return false;
    return reseal.to > Math.max(reseal.from, position.trimSequence);
  }

  /**
   * Before a transaction in which `begin` is called.
   * @throws StorageError `key-unavailable`, `wrong-key`, `disk-full`, `write-failed`
   */
  async prepare(streamId: number): Promise<void> {
    await this.#options.sealing.ready(streamId);
    await this.#wipe(true);
  }

  /**
   * From this group on, all of a stream is sealed with the data key in use.
   * @throws StorageError `key-unavailable` when there is none
   */
  async begin(transaction: Transaction, stream: Stream): Promise<void> {
    const { appender, sealing } = this.#options;
    const { group } = appender;
    const keyId = sealing.keyIdOf(stream.id);
    if (keyId === 0) {
      throw new StorageError('key-unavailable', `${stream.options.name} has no data key`);
    }
    group.sealFromNow(stream);
    const marks = stream.shards.map((shard) => {
      const { trimSequence, nextSequence } = group.position(shard);
      const isEmpty = trimSequence === nextSequence;
      return { shard, from: isEmpty ? 0 : trimSequence, to: isEmpty ? 0 : nextSequence };
    });
    await transaction.run(
      `UPDATE shard SET reseal_from = value ->> 1, reseal_to = value ->> 2 FROM json_each(?)
        WHERE shard.id = value ->> 0`,
      JSON.stringify(marks.map(({ shard, from, to }) => [shard.id, from, to])),
    );
    await transaction.run('UPDATE stream SET sealing_key_id = ? WHERE id = ?', keyId, stream.id);
    transaction.onCommit(() => {
      stream.sealingKeyId = keyId;
      for (const { shard, from, to } of marks) shard.reseal = { from, to };
    });
  }

  /**
   * Sees to it that the streams that are to be sealed have their keys, and that what an older key
   * has sealed, or none, is marked.
   */
  async refresh(): Promise<void> {
    const { streams, sealing, writer } = this.#options;
    if (!sealing.possible) return;
    await this.#wipe(this.#isUnfinished());
    for (const stream of streams.all().filter((candidate) => sealing.seals(candidate))) {
      if (!(await this.#hasKey(stream))) continue;
      if (stream.sealingKeyId === sealing.keyIdOf(stream.id)) continue;
      await this.#wipe(true);
      await writer.transact(async (transaction) => {
        // It may be gone by now.
        if (streams.find(stream.options.name) === stream) await this.begin(transaction, stream);
      });
    }
  }

  async #hasKey(stream: Stream): Promise<boolean> {
    const { sealing, logger } = this.#options;
    try {
      await sealing.ready(stream.id);
      this.#waiting.delete(stream);
      return true;
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      const { name } = stream.options;
      if (!this.#waiting.has(stream)) {
        logger.error({ stream: name, error }, 'The data key of a stream can not be had yet.');
      }
      this.#waiting.add(stream);
      return false;
    }
  }

  /** Looks at the next batches of a shard. @throws StorageError `corrupt` for damaged pages */
  async step(shard: Shard): Promise<void> {
    const { queries, writer, appender, streams, sealing } = this.#options;
    const keyId = sealing.keyIdOf(shard.stream.id);
    if (keyId === 0) return;
    const { to } = shard.reseal;
    const from = Math.max(shard.reseal.from, shard.position.trimSequence);
    const limits = { rows: stepRows, bytes: stepBytes };
    const slice = await batchSlice(queries, shard.id, from, limits);
    const replacements: Replacement[] = [];
    let next = slice.length === 0 ? to : from;
    for (const stored of slice) {
      if (stored.first_sequence >= to) {
        next = to;
        break;
      }
      const replacement = await this.#replacementOf(shard, stored, keyId);
      if (replacement !== null) replacements.push(replacement);
      next = Math.max(next, stored.first_sequence + stored.record_count);
    }
    const reached = Math.min(next, to);
    const bytes = replacements.reduce((sum, { sealed }) => sum + sealed.length, 0);
    await writer.transact(
      async (transaction) => {
        if (!streams.hasShard(shard.id) || shard.reseal.to !== to) return;
        let grown = 0;
        for (const { first, count, before, sealed } of replacements) {
          // Retention may have been quicker.
          const isThere = await replaceBody(transaction, shard.id, { first, count }, sealed);
          if (isThere) grown += sealed.length - before.length;
        }
        const savedBytes = appender.group.position(shard).savedBytes - grown;
        await transaction.run(
          'UPDATE shard SET reseal_from = ?, saved_bytes = ? WHERE id = ?',
          ...[reached, savedBytes, shard.id],
        );
        if (grown !== 0) appender.group.setSaved(shard, savedBytes);
        transaction.onCommit(() => {
          shard.reseal = { from: reached, to };
          this.#resealed.add(replacements.length, { stream: shard.stream.options.name });
        });
      },
      { bytes: bytes + stepRows },
    );
  }

  /** null: it is sealed as it should be, or has to stay as it is. */
  async #replacementOf(
    shard: Shard,
    { first_sequence: first, record_count: count, body }: StoredBatch,
    keyId: number,
  ): Promise<Replacement | null> {
    const { sealing } = this.#options;
    if (!Buffer.isBuffer(body)) throw new StorageError('corrupt', 'a page of a batch is damaged');
    const header = headerOf(body);
    if (header === null || header.keyId === keyId) return null;
    try {
      const open = await sealing.open(shard, body);
      return { first, count, before: body, sealed: sealing.seal(shard, open) };
    } catch (error) {
      if (error instanceof StorageError && error.code === 'corrupt') return null;
      throw error;
    }
  }

  /** Takes away the marks of the shards that are done, once the write-ahead log is cut. */
  async finish(): Promise<void> {
    const { streams, writer, dropFreePages, cutWal } = this.#options;
    const done = streams
      .all()
      .flatMap((stream) => stream.shards)
      .filter((shard) => shard.reseal.to > 0 && !this.isDue(shard));
    if (done.length === 0) return;
    // What was deleted before there were marks was not overwritten.
    await dropFreePages();
    if (!(await cutWal())) return;
    await writer.transact(async (transaction) => {
      const still = done.filter((shard) => shard.reseal.to > 0 && !this.isDue(shard));
      await transaction.run(
        `UPDATE shard SET reseal_from = 0, reseal_to = 0
          WHERE id IN (SELECT value FROM json_each(?))`,
        JSON.stringify(still.map(({ id }) => id)),
      );
      transaction.onCommit(() => {
        for (const shard of still) shard.reseal = { from: 0, to: 0 };
      });
    });
    if (!this.#isUnfinished()) await this.#wipe(false);
  }

  #isUnfinished(): boolean {
    return this.#options.streams
      .all()
      .some(({ shards }) => shards.some(({ reseal }) => reseal.to > 0));
  }

  async #wipe(on: boolean): Promise<void> {
    if (this.#wipes === on) return;
    await this.#options.wipeDeleted(on);
    this.#wipes = on;
  }
}

/** null: it is corrupt, was put in the place of a lost one, or is a later release's. */
function headerOf(body: Buffer): BatchHeader | null {
  try {
    return body.length === 0 ? null : verifyBatch(body);
  } catch (error) {
    if (error instanceof StorageError) return null;
    throw error;
  }
}
