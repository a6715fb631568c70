/**
 * Makes a new database file of what can still be read in a damaged one, which is kept beside it as
 * `headgate.db.damaged-<time>`.
 *
 * Tables are read by rowid, a few rows at a time. Where a page is damaged, the next row that can be
 * read is searched by doubling steps and then by halving, so one bad page costs its own rows and
 * nothing else. Rows whose values no longer fit their columns are left out. Nothing is repaired in
 * place, and the old file is not written to. How a file is read whose first pages are damaged is
 * written in `salvage-source.ts`.
 *
 * The new file is made in a folder of its own, which a later repair empties should this one be killed. Once it
 * is whole it is `headgate.db.repaired`, and from then on the exchange of the two can be finished
 * whenever it is interrupted: until that is done there may be no `headgate.db`.
 */
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { diskErrors } from './disk-errors.ts';
import { StorageError } from './errors.ts';
import { syncFolders } from './folders.ts';
import { isDamage, openDamaged } from './salvage-source.ts';
import { recountItems } from './items/counts.ts';
import { migrate } from './schema/migrate.ts';
import { Database, type SqlValue } from './sqlite.ts';

/** In an order in which nothing refers to what comes later. */
const rowidTables = [
  ...['stream', 'shard', 'application', 'camera', 'init', 'run', 'media_file', 'fragment'],
  ...['video_event', 'media_garbage', 'clock_state', 'shard_birth'],
  ...['data_key', 'data_key_copy', 'batch', 'plan_output', 'item_table', 'item', 'item_entry'],
] as const;
const otherTables = [
  'lease',
  'plan',
  'loss',
  'received',
  'stream_attribute',
  'camera_attribute',
  'source_place',
  'media_place',
] as const;
const rowsAtOnce = 16;
const rowidMax = Number.MAX_SAFE_INTEGER;

type Row = Readonly<Record<string, SqlValue>>;

export interface Salvaged {
  /** Rows copied, by table. */
  readonly rows: Readonly<Record<string, number>>;
  /** Places in tables that could not be read. */
  readonly gaps: readonly string[];
  /** Where the old file is now; null when there was none. */
  readonly keptAs: string | null;
}

/**
 * Replaces the database file at `path`, which may be missing. The caller holds the store's lock and
 * has no connection. Of what can't be read at all, an empty database is made.
 * @throws StorageError `disk-full`, `write-failed`: then all is as it was
 */
export function salvageDatabase(path: string, nowMs: number): Promise<Salvaged> {
  return diskErrors('save what is left of the database', () => salvage(path, nowMs));
}

async function salvage(path: string, nowMs: number): Promise<Salvaged> {
  const workFolder = `${path}.salvage`;
  await rm(workFolder, { recursive: true, force: true });
  await mkdir(workFolder, { mode: 0o700 });
  const fresh = join(workFolder, 'fresh.db');
  const rows: Record<string, number> = {};
  const gaps: string[] = [];
  try {
    const source = await openDamaged(path, workFolder);
    const target = await Database.open(fresh);
    try {
      await migrate(target);
      if (source === null) gaps.push('all tables: nothing of them can be read');
      else await copyTables(source, target, rows, gaps);
      await target.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    } finally {
      await target.close();
      await source?.close();
    }
    await rename(fresh, repairedPath(path));
  } finally {
    await rm(workFolder, { recursive: true, force: true });
  }
  return { rows, gaps, keptAs: await exchange(path, nowMs) };
}

/**
 * Finishes what a kill interrupted when the new file was whole.
 * @returns whether there was anything to finish
 */
export async function finishSalvage(path: string, nowMs: number): Promise<boolean> {
  if (!(await isThere(repairedPath(path)))) return false;
  await exchange(path, nowMs);
  return true;
}

/** Where the new file is from when it is whole until it has its name. */
export function repairedPath(path: string): string {
  return `${path}.repaired`;
}

/** Puts the old file aside and the new one in its place. */
async function exchange(path: string, nowMs: number): Promise<string | null> {
  const keptAs = `${path}.damaged-${nowMs}`;
  const wasThere = await isThere(path);
  await syncFolders(dirname(path), undefined);
  for (const suffix of ['', '-wal', '-shm']) {
    if (!(await isThere(`${path}${suffix}`))) continue;
    await rename(`${path}${suffix}`, `${keptAs}${suffix}`);
  }
  await rename(repairedPath(path), path);
  await syncFolders(dirname(path), undefined);
  return wasThere ? keptAs : null;
}

function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function copyTables(
  source: Database,
  target: Database,
  rows: Record<string, number>,
  gaps: string[],
): Promise<void> {
  const tables = await source.all<{ name: string }>(
    "SELECT name FROM sqlite_schema WHERE type = 'table'",
  );
  const there = new Set(tables.map(({ name }) => name));
  for (const table of [...rowidTables, ...otherTables]) {
    if (!there.has(table)) {
      gaps.push(`${table}: the whole table`);
      continue;
    }
    const isRowid = (rowidTables as readonly string[]).includes(table);
    const read = isRowid ? byRowid(source, table, gaps) : inOrder(source, table, gaps);
    rows[table] = await copyRows(read, target, table, gaps);
    if (table === 'batch') {
      rows[table] += await copyRows(byIndex(source, target), target, table, gaps);
    }
  }
  await keepNumbers(source, target);
  await recountItems(target);
}

/** Rows in the order of their rowid, past damaged pages. */
async function* byRowid(source: Database, table: string, gaps: string[]): AsyncGenerator<Row[]> {
  for (let from = 0; from <= rowidMax;) {
    const rows = await readFrom(source, table, from, rowsAtOnce);
    if (rows !== null) {
      if (rows.length === 0) return;
      yield rows;
      from = Number(rows.at(-1)?.['rowid_'] ?? rowidMax) + 1;
      continue;
    }
    const one = await readFrom(source, table, from, 1);
    if (one !== null) {
      if (one.length === 0) return;
      yield one;
      from = Number(one[0]?.['rowid_'] ?? rowidMax) + 1;
      continue;
    }
    const next = await nextReadable(source, table, from);
    gaps.push(`${table}: rows from ${from} ${next === null ? 'on' : `to ${next - 1}`}`);
    if (next === null) return;
    from = next;
  }
}

/** null: a page on the way is damaged. Otherwise rows in ascending order, none before `from`. */
async function readFrom(
  source: Database,
  table: string,
  from: number,
  limit: number,
): Promise<Row[] | null> {
  try {
    const rows = await source.all<Row>(
      `SELECT rowid AS rowid_, * FROM ${table} WHERE rowid >= ? ORDER BY rowid LIMIT ${limit}`,
      from,
    );
    // A page in the place of another leads back to rows that were read already.
    const isInOrder = rows.every(({ rowid_: rowid }, index) => {
      const before = index === 0 ? from - 1 : rows[index - 1]?.['rowid_'];
      return Number(rowid) > Number(before);
    });
    return isInOrder ? rows : null;
  } catch (error) {
    if (isDamage(error)) return null;
    throw error;
  }
}

/** The lowest rowid after `from` from which a row can be read; null when there is none. */
async function nextReadable(source: Database, table: string, from: number): Promise<number | null> {
  let step = 1;
  let bad = from;
  for (;;) {
    const good = Math.min(rowidMax, from + step);
    if ((await readFrom(source, table, good, 1)) !== null) {
      let readable = good;
      while (readable - bad > 1) {
        const middle = bad + Math.floor((readable - bad) / 2);
        if ((await readFrom(source, table, middle, 1)) === null) bad = middle;
        else readable = middle;
      }
      return readable;
    }
    if (good === rowidMax) return null;
    bad = good;
    step *= 2;
  }
}

/**
 * Batches that the order of the table does not lead to, but its index knows: a page of another table
 * in the place of one of its own sends whoever follows the order past the rest.
 */
async function* byIndex(source: Database, target: Database): AsyncGenerator<Row[]> {
  for (let after: Place = [-1, -1]; ;) {
    const places = await source
      .all<{ id: number; shard_id: number; first_sequence: number }>(
        `SELECT id, shard_id, first_sequence FROM batch INDEXED BY batch_position
          WHERE (shard_id, first_sequence) > (?, ?) ORDER BY shard_id, first_sequence LIMIT 256`,
        ...after,
      )
      .catch(nothingWhereDamaged);
    for (const { id } of places) {
      if (!Number.isSafeInteger(id)) continue;
      const isThere = await target.get('SELECT 1 FROM batch WHERE id = ?', id);
      if (isThere !== undefined) continue;
      yield await source
        .all<Row>('SELECT rowid AS rowid_, * FROM batch WHERE rowid = ?', id)
        .catch(nothingWhereDamaged);
    }
    const last = places.at(-1);
    if (last === undefined) return;
    const next = [last.shard_id, last.first_sequence] as const;
    if (!next.every(Number.isSafeInteger) || !isAfter(next, after)) return;
    after = next;
  }
}

type Place = readonly [shardId: number, firstSequence: number];

function isAfter([shardId, sequence]: Place, [otherId, other]: Place): boolean {
  return shardId === otherId ? sequence > other : shardId > otherId;
}

function nothingWhereDamaged(error: unknown): never[] {
  if (isDamage(error)) return [];
  throw error;
}

/** For tables without rowids, which are small: all, or what comes before the damage. */
async function* inOrder(source: Database, table: string, gaps: string[]): AsyncGenerator<Row[]> {
  for (let offset = 0; ; offset += 1) {
    try {
      const rows = await source.all<Row>(`SELECT * FROM ${table} LIMIT 1 OFFSET ?`, offset);
      if (rows.length === 0) return;
      yield rows;
    } catch (error) {
      if (!isDamage(error)) throw error;
      gaps.push(`${table}: rows from the ${offset + 1}th on`);
      return;
    }
  }
}

async function copyRows(
  read: AsyncGenerator<Row[]>,
  target: Database,
  table: string,
  gaps: string[],
): Promise<number> {
  let copied = 0;
  // By their place: in a damaged schema a column may have another name.
  const columns = (
    await target.all<{ name: string }>('SELECT name FROM pragma_table_info(?)', table)
  ).map(({ name }) => name);
  // An earlier release had fewer of them.
  const insert = (count: number): string => {
    const places = columns.slice(0, count).map(() => '?');
    return `INSERT INTO ${table} (${columns.slice(0, count).join(', ')}) VALUES (${places.join(', ')})`;
  };
  for await (const rows of read) {
    await target.exec('BEGIN');
    for (const row of rows) {
      const { rowid_: rowid, ...fields } = row;
      const values = Object.values(fields);
      try {
        await target.run(insert(values.length), ...values);
        copied += 1;
      } catch (error) {
        // A flipped bit made another type, a second row of one key, a number that is none.
        if (error instanceof StorageError) throw error;
        gaps.push(`${table}: a row that is not one (${String(rowid ?? '')})`);
      }
    }
    await target.exec('COMMIT');
  }
  return copied;
}

/** No id is given out twice, not even one of a row that was lost. */
async function keepNumbers(source: Database, target: Database): Promise<void> {
  let sequences: { name: string; seq: number }[];
  try {
    sequences = await source.all('SELECT name, seq FROM sqlite_sequence');
  } catch (error) {
    if (isDamage(error)) return;
    throw error;
  }
  for (const { name, seq } of sequences) {
    if (!Number.isSafeInteger(seq)) continue;
    const { changes } = await target.run(
      'UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?',
      ...[seq, name],
    );
    if (changes > 0) continue;
    await target.run('INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)', name, seq);
  }
}
