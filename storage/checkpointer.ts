/**
 * Copies the write-ahead log back into the database file, on a connection and a thread of its own.
 *
 * SQLite's automatic checkpoint runs inside a commit and makes it slow; this one runs beside the
 * commits. Under a flood a checkpoint never catches up with the writer, so past `maxWalBytes` the
 * writer waits (`admit`) for one that covers everything; its next transaction then starts the log
 * from its beginning. A failed checkpoint loses nothing and is tried again.
 */
import type { Gauge, Logger, Metrics } from './ports.ts';
import type { Database } from './sqlite.ts';
import type { WalKeeper } from './writer.ts';

const pageBytes = 4096;
/** How long a checkpoint waits for readers to be done. */
const readersMaxMs = 200;
/** A checkpoint starts when about this much was written since the last. */
const checkpointEveryBytes = 4 * 1024 * 1024;
/** What a commit writes beside its data: measured, 13.9 KB for a lone small one. */
const commitOverheadBytes = 16 * 1024;
/** What reaches the log per byte of data, in batches of common size: measured, 1.0 to 1.4. */
const writtenPerByte = 1.4;

export class Checkpointer implements WalKeeper {
  readonly #database: Database;
  readonly #logger: Logger;
  readonly #maxWalBytes: number;
  readonly #walGauge: Gauge;
  #running: Promise<boolean> | null = null;
  /** Bytes of the log in use, as the last checkpoint saw it, plus what was written since. */
  #walBytes = 0;
  #sinceCheckpointBytes = 0;
  #failing = false;

  constructor(
    database: Database,
    options: { logger: Logger; metrics: Metrics; maxWalBytes: number },
  ) {
    this.#database = database;
    database.setBusyTimeout(readersMaxMs);
    this.#logger = options.logger;
    this.#maxWalBytes = options.maxWalBytes;
    this.#walGauge = options.metrics.gauge(
      'headgate_store_wal_bytes',
      'Bytes of the write-ahead log in use, as the last checkpoint saw it.',
    );
  }

  async admit(): Promise<void> {
    if (this.#walBytes < this.#maxWalBytes) return;
    await this.#running;
    // The one that was running left out what was written meanwhile. This one also waits until nobody
    // reads from the log any more: while somebody does, the next transaction would lengthen it.
    await this.#start('RESTART');
  }

  committed(bytes: number): void {
    const written = bytes * writtenPerByte + commitOverheadBytes;
    this.#walBytes += written;
    this.#sinceCheckpointBytes += written;
    if (this.#sinceCheckpointBytes >= checkpointEveryBytes && this.#running === null) {
      void this.#start();
    }
  }

  /**
   * Copies everything and cuts the file of the write-ahead log to nothing.
   * @returns false when that failed, or somebody reads it
   */
  async truncate(): Promise<boolean> {
    await this.#running;
    return this.#start('TRUNCATE');
  }

  /** Waits for the checkpoint under way. */
  async close(): Promise<void> {
    await this.#running;
  }

  #start(mode: 'PASSIVE' | 'RESTART' | 'TRUNCATE' = 'PASSIVE'): Promise<boolean> {
    this.#sinceCheckpointBytes = 0;
    const writtenBefore = this.#walBytes;
    this.#running = this.#checkpoint(mode, writtenBefore).finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  /** @returns whether all of the log was copied, and nobody was in the way */
  async #checkpoint(mode: string, writtenBefore: number): Promise<boolean> {
    try {
      const row = await this.#database.get<{ busy: number; log: number; checkpointed: number }>(
        `PRAGMA wal_checkpoint(${mode})`,
      );
      const frames = row?.log ?? 0;
      const complete = row?.busy === 0 && frames === row.checkpointed;
      const writtenMeanwhile = this.#walBytes - writtenBefore;
      // All of it copied: the next transaction begins the log anew, if no reader is in the way.
      this.#walBytes = complete ? writtenMeanwhile : frames * pageBytes;
      if (mode === 'RESTART' && !complete) {
        // A long read, such as a backup's. The log grows on, and only now and then waits for it.
        this.#walBytes = Math.min(this.#walBytes, this.#maxWalBytes * 0.75);
      }
      this.#walGauge.set(frames * pageBytes);
      this.#failing = false;
      return complete;
    } catch (error) {
      // Tried again soon; until then the writer must not wait for it at every group.
      this.#walBytes = this.#sinceCheckpointBytes;
      if (!this.#failing) {
        this.#logger.warn({ error }, 'A checkpoint of the write-ahead log failed; it is retried.');
      }
      this.#failing = true;
      return false;
    }
  }
}
