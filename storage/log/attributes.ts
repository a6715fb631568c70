/**
 * Small facts that belong to a stream and that the log does not look at (tags, consumers, policies):
 * JSON under a key, in memory and in a table, gone with the stream.
 */
import { StorageError } from '../errors.ts';
import type { Transaction } from '../group-commit.ts';
import type { Streams } from './streams.ts';

const keyPattern = /^[\w.:/-]{1,256}$/;
const valueBytesMax = 256 * 1024;
const attributesMax = 1000;

/** @param value undefined removes it @throws StorageError `not-found`, `invalid-argument` */
export async function setAttribute(
  transaction: Transaction,
  streams: Streams,
  { name, key, value }: { readonly name: string; readonly key: string; readonly value: unknown },
): Promise<void> {
  const json = checkedJson(key, value);
  const row = await transaction.get<{ id: number; others: number }>(
    `SELECT id, (SELECT count(*) FROM stream_attribute WHERE stream_id = stream.id AND key != ?)
       AS others FROM stream WHERE name = ? AND deleted_ms IS NULL`,
    ...[key, name],
  );
  if (row === undefined) throw new StorageError('not-found', `there is no stream ${name}`);
  if (json === null) {
    await transaction.run(
      'DELETE FROM stream_attribute WHERE stream_id = ? AND key = ?',
      ...[row.id, key],
    );
  } else {
    if (row.others >= attributesMax) {
      throw new StorageError(
        'invalid-argument',
        `a stream has at most ${attributesMax} attributes`,
      );
    }
    await transaction.run(
      'INSERT OR REPLACE INTO stream_attribute (stream_id, key, value) VALUES (?, ?, ?)',
      ...[row.id, key, json],
    );
  }
  transaction.onCommit(() => {
    // What the caller still holds of it may change.
    streams.get(name).setAttribute(key, json === null ? undefined : JSON.parse(json));
  });
}

function checkedJson(key: string, value: unknown): string | null {
  if (!keyPattern.test(key)) {
    throw new StorageError('invalid-argument', `not an attribute's key: ${JSON.stringify(key)}`);
  }
  if (value === undefined) return null;
  const json = jsonOf(value);
  if (json === null) {
    throw new StorageError('invalid-argument', `the attribute ${key} has no form in JSON`);
  }
  if (Buffer.byteLength(json) > valueBytesMax) {
    throw new StorageError(
      'invalid-argument',
      `an attribute has at most ${valueBytesMax} bytes of JSON`,
    );
  }
  return json;
}

function jsonOf(value: unknown): string | null {
  try {
    const json: unknown = JSON.stringify(value);
    return typeof json === 'string' ? json : null;
  } catch {
    return null;
  }
}
