/**
 * How far ways in have come with what they read: a place per file or the like, moved in the
 * transaction of the records that were made of what was read. A crash between the two can't be, so
 * nothing is lost or taken twice.
 *
 * A place is the source's own JSON, under a key of its own; nothing here knows what it means.
 */
import type { Losses } from './losses.ts';
import type { RecordInput } from './model.ts';
import type { ReadPool } from './read-pool.ts';
import type { Writer } from './writer.ts';

/** What is stored together with a change of places. */
export interface PlacedRecords {
  readonly stream: string;
  readonly records: readonly RecordInput[];
  /** What of it is lost, as it was too long: lines, and the bytes left out. */
  readonly cut: { readonly count: number; readonly bytes: number };
}

export interface PlacesOptions {
  readonly writer: Pick<Writer, 'transact'>;
  readonly queries: Pick<ReadPool, 'all'>;
  readonly losses: Pick<Losses, 'addIn'>;
}

export class Places {
  readonly #options: PlacesOptions;

  constructor(options: PlacesOptions) {
    this.#options = options;
  }

  /** The places of a source by key; one that can't be read is undefined. */
  async of(source: string): Promise<ReadonlyMap<string, unknown>> {
    const rows = await this.#options.queries.all<{ key: string; place: string }>(
      'SELECT key, place FROM source_place WHERE source = ?',
      source,
    );
    return new Map(rows.map(({ key, place }) => [key, parse(place)]));
  }

  /**
   * Appends records and sets places, in one transaction; a place that is undefined is removed.
   * @throws StorageError as `Log.append`
   */
  async move(
    source: string,
    changes: ReadonlyMap<string, unknown>,
    placed: PlacedRecords | null,
  ): Promise<void> {
    const set = [...changes].filter(([, place]) => place !== undefined);
    const gone = [...changes.keys()].filter((key) => changes.get(key) === undefined);
    const records = placed?.records ?? [];
    const bytes = records.reduce((sum, { data }) => sum + data.length + 300, 1024);
    await this.#options.writer.transact(
      async (transaction) => {
        if (gone.length > 0) {
          await transaction.run(
            `DELETE FROM source_place
              WHERE source = ? AND key IN (SELECT value FROM json_each(?))`,
            source,
            JSON.stringify(gone),
          );
        }
        if (set.length > 0) {
          await transaction.run(
            `INSERT INTO source_place (source, key, place)
               SELECT ?, value ->> 0, value ->> 1 FROM json_each(?)
               WHERE true ON CONFLICT DO UPDATE SET place = excluded.place`,
            source,
            JSON.stringify(set.map(([key, place]) => [key, JSON.stringify(place)])),
          );
        }
        if (placed === null) return;
        if (records.length > 0) await transaction.append(placed.stream, records);
        await this.#options.losses.addIn(transaction, 'lines-cut', placed.stream, placed.cut);
      },
      { bytes },
    );
  }
}

function parse(place: string): unknown {
  try {
    return JSON.parse(place);
  } catch {
    return undefined;
  }
}
