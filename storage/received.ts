/**
 * Appends of messages that their source may send again, each stored once, over restarts too.
 *
 * A source (a name) numbers its messages, repeats one until it is told that it was taken, and then
 * lets go of the number, which it may use for another message later. What it has not let go of is a
 * row, written in the transaction of the records.
 *
 * Invariants
 * - A message whose number is there with the same digest is a repetition: nothing is appended. With
 *   another digest the source has lost count and the message is a new one.
 * - A number that was let go of is gone from the disk when `forget` resolves; only then may the
 *   source be told.
 * - At most `rowsMax` rows; past it new messages are refused with `overloaded`, which sources take
 *   for back-pressure. Rows older than `keptMs` are dropped when the store opens, where the clock
 *   can be believed: nobody repeats a message for that long.
 */
import type { ClockGuard } from './clock-guard.ts';
import { StorageError } from './errors.ts';
import type { OnceLog, OnceMessage } from './model.ts';
import type { Clock } from './ports.ts';
import type { ReadPool } from './read-pool.ts';
import type { Writer } from './writer.ts';

const rowsMaxDefault = 200_000;
const keptMs = 7 * 24 * 3_600_000;

export interface ReceivedOptions {
  readonly writer: Writer;
  readonly queries: ReadPool;
  readonly clock: Clock;
  /** While the clock may be wrong, nothing is old. */
  readonly clockGuard: Pick<ClockGuard, 'suspended'>;
  /** Rows kept in all; 200,000 when left out. */
  readonly rowsMax?: number;
}

export class Received implements OnceLog {
  readonly #writer: Writer;
  readonly #clock: Clock;
  readonly #rowsMax: number;
  /** Rows by source; a source without rows costs no transaction. */
  readonly #rows: Map<string, number>;
  #rowCount = 0;

  private constructor(options: ReceivedOptions, rows: Map<string, number>) {
    this.#writer = options.writer;
    this.#clock = options.clock;
    this.#rowsMax = options.rowsMax ?? rowsMaxDefault;
    this.#rows = rows;
    for (const count of rows.values()) this.#rowCount += count;
  }

  static async open(options: ReceivedOptions): Promise<Received> {
    const { writer, queries, clock, clockGuard } = options;
    const bySource = (): Promise<{ source: string; count: number; oldest: number }[]> =>
      queries.all(
        `SELECT source, count(*) AS count, min(received_ms) AS oldest FROM received GROUP BY source`,
      );
    const horizonMs = clock.nowMs() - keptMs;
    let sources = await bySource();
    if (!clockGuard.suspended && sources.some(({ oldest }) => oldest < horizonMs)) {
      await writer.transact((transaction) =>
        transaction.run('DELETE FROM received WHERE received_ms < ?', horizonMs),
      );
      sources = await bySource();
    }
    return new Received(options, new Map(sources.map(({ source, count }) => [source, count])));
  }

  remembers(source: string): boolean {
    return this.#rows.has(source);
  }

  async appendOnce(stream: string, messages: readonly OnceMessage[]): Promise<void> {
    const numbered = messages.flatMap(({ once }) => (once === null ? [] : [once]));
    const bytes = messages.reduce(
      (sum, { records }) => records.reduce((all, { data }) => all + data.length + 300, sum),
      0,
    );
    await this.#writer.transact(
      async (transaction) => {
        const known = await transaction.all<{ source: string; number: number; digest: string }>(
          `SELECT source, number, digest FROM received
            WHERE stream_name = ?1 AND (source, number) IN
              (SELECT value ->> 0, value ->> 1 FROM json_each(?2))`,
          stream,
          JSON.stringify(numbered.map(({ source, number }) => [source, number])),
        );
        const digests = new Map(known.map((row) => [keyOf(row), row.digest]));
        const fresh = messages.filter(
          ({ once }) => once === null || digests.get(keyOf(once)) !== once.digest,
        );
        if (fresh.length === 0) return;
        const unknown = numbered.filter((once) => !digests.has(keyOf(once)));
        if (this.#rowCount + unknown.length > this.#rowsMax) throw this.#tooMany();
        await transaction.run(
          `INSERT INTO received (source, number, stream_name, digest, received_ms)
             SELECT value ->> 0, value ->> 1, ?1, value ->> 2, ?2 FROM json_each(?3)
             WHERE true ON CONFLICT DO UPDATE
             SET digest = excluded.digest, received_ms = excluded.received_ms`,
          stream,
          this.#clock.nowMs(),
          JSON.stringify(
            fresh.flatMap(({ once }) =>
              once === null ? [] : [[once.source, once.number, once.digest]],
            ),
          ),
        );
        await transaction.append(
          stream,
          fresh.flatMap(({ records }) => records),
        );
        transaction.onCommit(() => {
          for (const { source } of unknown) this.#count(source, 1);
        });
      },
      { bytes },
    );
  }

  #tooMany(): StorageError {
    return new StorageError(
      'overloaded',
      `${this.#rowCount} messages were taken and not let go of; the limit is ${this.#rowsMax}`,
    );
  }

  async forget(source: string, number: number): Promise<void> {
    if (!this.#rows.has(source)) return;
    await this.#delete(source, 'AND number = ?', number);
  }

  async forgetSource(source: string): Promise<void> {
    if (!this.#rows.has(source)) return;
    await this.#delete(source, '');
  }

  async #delete(source: string, condition: string, ...params: readonly number[]): Promise<void> {
    await this.#writer.transact(async (transaction) => {
      const { changes } = await transaction.run(
        `DELETE FROM received WHERE source = ? ${condition}`,
        source,
        ...params,
      );
      transaction.onCommit(() => {
        this.#count(source, -changes);
      });
    });
  }

  #count(source: string, change: number): void {
    this.#rowCount += change;
    const count = (this.#rows.get(source) ?? 0) + change;
    if (count > 0) this.#rows.set(source, count);
    else this.#rows.delete(source);
  }
}

function keyOf({ source, number }: { readonly source: string; readonly number: number }): string {
  return `${number} ${source}`;
}
