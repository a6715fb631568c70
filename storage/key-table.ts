/**
 * The rows that data keys are stored in, wrapped: each twice, on different pages, and with a
 * checksum, because whoever loses a data key loses all that was sealed with it.
 *
 * What they are used for, and how they are wrapped, is the business of `keys.ts`.
 */
import { crc32 } from 'node:zlib';
import { StorageError } from './errors.ts';
import type { SqlValue } from './sqlite.ts';

/** Something that answers queries: a connection, a pool of them, a transaction. */
export interface KeyQueries {
  all<T>(sql: string, ...params: readonly SqlValue[]): Promise<T[]>;
  get<T>(sql: string, ...params: readonly SqlValue[]): Promise<T | undefined>;
}

/** Something that changes the tables too. */
export interface KeyChanges extends KeyQueries {
  run(sql: string, ...params: readonly SqlValue[]): Promise<{ changes: number; lastId: number }>;
}

/** A key as it is kept. */
export interface WrappedKey {
  readonly id: number;
  readonly scope: string;
  readonly masterKeyId: string;
  readonly wrapped: Buffer;
  readonly createdMs: number;
}

/** A key that can be told from one that damage made another of. */
export interface StoredKey extends WrappedKey {
  /** null: only the copy of the row is sound, which does not know. */
  readonly uses: number | null;
}

interface KeyRow {
  readonly id: number;
  readonly scope: string;
  readonly master_key_id: string;
  readonly wrapped: Buffer;
  readonly created_ms: number;
  readonly uses?: number;
  readonly checksum: number;
}

const tables = ['data_key', 'data_key_copy'] as const;

/** Keeps a new key; returns its id. */
export async function insertKey(
  changes: KeyChanges,
  key: Omit<WrappedKey, 'id'>,
  uses: number,
): Promise<number> {
  const { scope, masterKeyId, wrapped, createdMs } = key;
  const { lastId: id } = await changes.run(
    `INSERT INTO data_key (scope, master_key_id, wrapped, created_ms, uses, checksum)
       VALUES (?, ?, ?, ?, ?, 0)`,
    ...[scope, masterKeyId, wrapped, createdMs, uses],
  );
  const checksum = checksumOf({ ...key, id });
  await changes.run('UPDATE data_key SET checksum = ? WHERE id = ?', checksum, id);
  await insertCopy(changes, { ...key, id });
  return id;
}

async function insertCopy(changes: KeyChanges, key: WrappedKey): Promise<void> {
  await changes.run(
    `INSERT OR REPLACE INTO data_key_copy (id, scope, master_key_id, wrapped, created_ms, checksum)
       VALUES (?, ?, ?, ?, ?, ?)`,
    ...[key.id, key.scope, key.masterKeyId, key.wrapped, key.createdMs, checksumOf(key)],
  );
}

/** Counts uses that are to come; returns up to where they go, null when the row is gone. */
export async function countUses(
  changes: KeyChanges,
  id: number,
  uses: number,
): Promise<number | null> {
  const [row] = await changes.all<{ uses: number }>(
    'UPDATE data_key SET uses = uses + ? WHERE id = ? RETURNING uses',
    ...[uses, id],
  );
  return row?.uses ?? null;
}

/** Writes a key wrapped anew in the place of what is there. */
export async function rewriteKey(changes: KeyChanges, key: WrappedKey): Promise<void> {
  await changes.run(
    `UPDATE data_key SET scope = ?, master_key_id = ?, wrapped = ?, created_ms = ?, checksum = ?
      WHERE id = ?`,
    ...[key.scope, key.masterKeyId, key.wrapped, key.createdMs, checksumOf(key), key.id],
  );
  await insertCopy(changes, key);
}

/** The keys of a scope that is gone. */
export async function deleteKeysOf(changes: KeyChanges, scopesSql: string): Promise<void> {
  for (const table of tables) {
    await changes.run(`DELETE FROM ${table} WHERE scope IN (${scopesSql})`);
  }
}

/** A key, from whichever of its two rows is sound; null: from none. */
export async function findKey(queries: KeyQueries, id: number): Promise<StoredKey | null> {
  for (const table of tables) {
    const row = await queries
      .get<KeyRow>(`SELECT * FROM ${table} WHERE id = ?`, id)
      .catch(nothingWhereDamaged);
    const key = row === undefined ? null : soundKey(row);
    if (key !== null) return key;
  }
  return null;
}

/** The newest key of a scope; null: there is none that is sound. */
export async function newestKey(queries: KeyQueries, scope: string): Promise<StoredKey | null> {
  let newest: StoredKey | null = null;
  for (const table of tables) {
    const row = await queries
      .get<KeyRow>(`SELECT * FROM ${table} WHERE scope = ? ORDER BY id DESC LIMIT 1`, scope)
      .catch(nothingWhereDamaged);
    const key = row === undefined ? null : soundKey(row);
    if (key !== null && key.id > (newest?.id ?? 0)) newest = key;
  }
  return newest;
}

export interface KeyTable {
  /** By id; what is sound of the two rows of each. */
  readonly keys: readonly StoredKey[];
  /** Ids of keys of which one row is damaged or missing. */
  readonly halved: readonly number[];
  /** Ids of keys of which no row is sound. */
  readonly lost: readonly number[];
}

/** All keys there are. @throws StorageError `corrupt` for a table that can't be read */
export async function loadKeys(queries: KeyQueries): Promise<KeyTable> {
  const [own, copies] = await Promise.all(
    tables.map(async (table) => {
      const rows = await queries.all<KeyRow>(`SELECT * FROM ${table} ORDER BY id`);
      return new Map(rows.map((row) => [row.id, soundKey(row)]));
    }),
  );
  const ids = new Set([...(own?.keys() ?? []), ...(copies?.keys() ?? [])]);
  const keys: StoredKey[] = [];
  const halved: number[] = [];
  const lost: number[] = [];
  for (const id of [...ids].sort((a, b) => a - b)) {
    const [first, second] = [own?.get(id) ?? null, copies?.get(id) ?? null];
    const key = first ?? second;
    if (key === null) lost.push(id);
    else keys.push(key);
    if (key !== null && (first === null || second === null)) halved.push(id);
  }
  return { keys, halved, lost };
}

/** Writes the missing or damaged row of a key from the sound one; a key of unknown uses is used up. */
export async function mendKey(changes: KeyChanges, key: StoredKey, usedUp: number): Promise<void> {
  await changes.run('DELETE FROM data_key WHERE id = ?', key.id);
  await changes.run(
    `INSERT INTO data_key (id, scope, master_key_id, wrapped, created_ms, uses, checksum)
       VALUES (?, ?, ?, ?, ?, ?, ?)`,
    ...[key.id, key.scope, key.masterKeyId, key.wrapped, key.createdMs],
    ...[key.uses ?? usedUp, checksumOf(key)],
  );
  await insertCopy(changes, key);
}

/** What is left of a key that is lost. */
export async function damagedRows(queries: KeyQueries, id: number): Promise<readonly unknown[]> {
  const rows: unknown[] = [];
  for (const table of tables) {
    rows.push(await queries.get(`SELECT * FROM ${table} WHERE id = ?`, id));
  }
  return rows;
}

export async function deleteKey(changes: KeyChanges, id: number): Promise<void> {
  for (const table of tables) await changes.run(`DELETE FROM ${table} WHERE id = ?`, id);
}

/** The ids of the master keys that wrap what is kept. */
export async function wrappingKeys(queries: KeyQueries): Promise<readonly string[]> {
  const { keys } = await loadKeys(queries);
  return [...new Set(keys.map(({ masterKeyId }) => masterKeyId))];
}

function soundKey(row: KeyRow): StoredKey | null {
  const { id, scope, master_key_id: masterKeyId, wrapped, created_ms: createdMs } = row;
  // On a damaged page a column can be of any kind.
  if (!Buffer.isBuffer(wrapped)) return null;
  const key = { id, scope, masterKeyId, wrapped, createdMs };
  const uses = row.uses ?? null;
  if (row.checksum !== checksumOf(key) || (uses !== null && !(uses >= 0))) return null;
  return { ...key, uses };
}

function checksumOf({ id, scope, masterKeyId, wrapped, createdMs }: WrappedKey): number {
  return crc32(wrapped, crc32(JSON.stringify([id, scope, masterKeyId, createdMs])));
}

function nothingWhereDamaged(error: unknown): undefined {
  if (error instanceof StorageError && error.code === 'corrupt') return undefined;
  throw error;
}
