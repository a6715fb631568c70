/**
 * Small facts that belong to a camera and that the store does not look at: JSON under a key, in
 * memory and in a table, gone with the camera.
 */
import { StorageError } from '../errors.ts';
import { cameraState, type VideoContext } from './context.ts';

const keyPattern = /^[\w.:/-]{1,256}$/;
const valueBytesMax = 64 * 1024;
const attributesMax = 100;

/** @throws StorageError `not-found`, `invalid-argument` */
export async function setAttribute(
  context: VideoContext,
  {
    camera,
    key,
    value,
  }: { readonly camera: string; readonly key: string; readonly value: unknown },
): Promise<void> {
  const json = checkedJson(key, value);
  await context.writer.transact(async (tx) => {
    const state = cameraState(context, camera);
    const others = (): [string, unknown][] =>
      Object.entries(state.attributes).filter(([name]) => name !== key);
    if (json === null) {
      await tx.run('DELETE FROM camera_attribute WHERE camera_id = ? AND key = ?', state.id, key);
    } else {
      if (others().length >= attributesMax) {
        throw new StorageError(
          'invalid-argument',
          `a camera has at most ${attributesMax} attributes`,
        );
      }
      await tx.run(
        'INSERT OR REPLACE INTO camera_attribute (camera_id, key, value) VALUES (?, ?, ?)',
        ...[state.id, key, json],
      );
    }
    tx.onCommit(() => {
      // What the caller still holds of it may change.
      const kept: readonly [string, unknown][] = json === null ? [] : [[key, JSON.parse(json)]];
      state.attributes = Object.fromEntries([...others(), ...kept]);
    });
  });
}

function checkedJson(key: string, value: unknown): string | null {
  if (!keyPattern.test(key)) {
    throw new StorageError('invalid-argument', `not an attribute's key: ${JSON.stringify(key)}`);
  }
  if (value === undefined) return null;
  const json: unknown = JSON.stringify(value);
  if (typeof json !== 'string' || Buffer.byteLength(json) > valueBytesMax) {
    throw new StorageError(
      'invalid-argument',
      `the attribute ${key} is not JSON of at most ${valueBytesMax} bytes`,
    );
  }
  return json;
}
