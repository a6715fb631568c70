/**
 * Verifies the keys of what is encrypted: whether each data key is whole in both of its places, and
 * whether the master key at hand opens them. Whether a batch is damaged is found without any key
 * (`log/check.ts`).
 */
import { stat } from 'node:fs/promises';
import { StorageError } from './errors.ts';
import type { Finding } from './finding.ts';
import {
  loadKeys,
  wrappingKeys,
  type KeyQueries,
  type KeyTable,
  type StoredKey,
} from './key-table.ts';
import { opensKey, type MasterKey } from './keys.ts';
import { Database, SqliteError } from './sqlite.ts';

/** The master key that is configured; null: it is not there. @throws StorageError */
export type MasterKeyAtHand = () => Promise<MasterKey | null>;

const code = 'key-trouble';
const putBack =
  'nothing is lost, but what is encrypted can not be read, and the gateway does not start: put the ' +
  'right master key back (encryption.masterKeyFile, encryption.masterKey or encryption.kms.keyId)';

/**
 * Yields what is wrong, and returns the data keys there are.
 * @param masterKey null: nobody asks whether it is the right one
 */
export async function* checkKeys(
  queries: KeyQueries,
  masterKey: MasterKeyAtHand | null,
): AsyncGenerator<Finding, KeyTable> {
  const table = await loadKeys(queries);
  for (const id of table.lost) {
    const what = 'it is damaged in both of its places: what is encrypted with it can not be read';
    const advice =
      'a backup from before has it: restore that; "headgate check --repair" takes what it sealed out of the store';
    yield { severity: 'error', code, where: `data key ${id}`, what, advice };
  }
  for (const id of table.halved) {
    const what = 'it is damaged in one of its two places';
    const advice = 'nothing is lost: "headgate check --repair" mends it from the other';
    yield { severity: 'warning', code, where: `data key ${id}`, what, advice };
  }
  if (masterKey !== null && table.keys.length > 0) yield* checkMaster(table.keys, masterKey);
  return table;
}

async function* checkMaster(
  keys: readonly StoredKey[],
  masterKey: MasterKeyAtHand,
): AsyncGenerator<Finding, void> {
  let atHand: MasterKey | null = null;
  let trouble: string | null = null;
  try {
    atHand = await masterKey();
    if (atHand === null) trouble = 'the file of the master key is gone';
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    trouble = error.message;
  }
  for (const id of new Set(keys.map(({ masterKeyId }) => masterKeyId))) {
    const where = `master key ${id}`;
    const wrapped = keys.filter(({ masterKeyId }) => masterKeyId === id);
    const what = trouble ?? (await troubleWith(atHand, id, wrapped));
    if (what !== null) yield { severity: 'error', code, where, what, advice: putBack };
  }
}

/**
 * The ids of the master keys under which the data keys of a database are wrapped, which may be in
 * use; none where it can't be read.
 */
export async function masterKeysInUse(path: string): Promise<readonly string[]> {
  const size = await stat(path).then(
    (found) => found.size,
    () => 0,
  );
  // SQLite would make a database of a file without a byte.
  if (size === 0) return [];
  let database: Database | null = null;
  try {
    database = await Database.open(path, { readOnly: true });
    return await wrappingKeys(database);
  } catch (error) {
    if (error instanceof StorageError || error instanceof SqliteError) return [];
    throw error;
  } finally {
    await database?.close();
  }
}

/** Why a master key does not open what the one of this id has wrapped; null: it does. */
async function troubleWith(
  masterKey: MasterKey | null,
  id: string,
  wrapped: readonly StoredKey[],
): Promise<string | null> {
  if (masterKey === null || masterKey.id !== id) {
    return `it wraps ${wrapped.length} of the data keys, and the one in use is ${masterKey?.id ?? 'none'}`;
  }
  for (const key of wrapped) {
    try {
      if (!(await opensKey(masterKey, key))) return `it does not open the data key ${key.id}`;
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      return error.message;
    }
  }
  return null;
}
