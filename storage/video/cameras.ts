/**
 * Cameras as the store keeps them in memory: loaded at the start, described, checked.
 */
import { StorageError } from '../errors.ts';
import type { CameraDescription, CameraOptions, Encryption, RecordMode } from '../model.ts';
import type { CameraState, Reader } from './context.ts';

export async function loadCameras(reader: Reader): Promise<Map<string, CameraState>> {
  const rows = await reader.all<{
    id: number;
    name: string;
    retention_ms: number | null;
    max_bytes: number | null;
    events: string | null;
    encryption: Encryption;
    created_ms: number;
    attributes: string;
    record: RecordMode;
    pre_roll_ms: number;
    post_roll_ms: number;
    closed_bytes: number | null;
    first_start_us: number | null;
    last_end_us: number | null;
    last_closed_id: number | null;
    unclosed: number;
  }>(
    `SELECT c.*, (SELECT json_group_object(key, json(value)) FROM camera_attribute
             WHERE camera_id = c.id AND json_valid(value)) AS attributes,
            s.closed_bytes, s.first_start_us, s.last_end_us, s.last_closed_id,
            EXISTS (SELECT 1 FROM run r WHERE r.end_us IS NULL AND r.camera_id = c.id)
              OR EXISTS (SELECT 1 FROM media_file m
                         WHERE m.end_us IS NULL AND m.camera_id = c.id) AS unclosed
     FROM camera c LEFT JOIN (
       SELECT camera_id, sum(bytes) AS closed_bytes, min(start_us) AS first_start_us,
              max(end_us) AS last_end_us, max(id) AS last_closed_id
       FROM media_file WHERE end_us IS NOT NULL GROUP BY camera_id) s ON s.camera_id = c.id`,
  );
  return new Map(
    rows.map((row) => {
      const state = emptyState(row.id, {
        name: row.name,
        retentionMs: row.retention_ms,
        maxBytes: row.max_bytes,
        events: row.events,
        encryption: row.encryption,
        record: row.record,
        preRollMs: row.pre_roll_ms,
        postRollMs: row.post_roll_ms,
      });
      state.createdMs = row.created_ms;
      state.attributes = JSON.parse(row.attributes) as Record<string, unknown>;
      state.closedBytes = row.closed_bytes ?? 0;
      state.firstStartUs = row.first_start_us;
      state.lastEndUs = row.last_end_us;
      state.lastClosedFileId = row.last_closed_id ?? 0;
      state.unclosed = row.unclosed === 1;
      checkRead(state.options);
      return [row.name, state];
    }),
  );
}

/** A page of the database that was damaged, or is another one's, can give anything. */
function checkRead(options: CameraOptions): void {
  try {
    checkCamera(options);
  } catch (cause) {
    throw new StorageError('corrupt', 'the database is damaged: a camera is not one', { cause });
  }
}

export function emptyState(id: number, options: CameraOptions): CameraState {
  return {
    id,
    options,
    createdMs: 0,
    attributes: {},
    closedBytes: 0,
    openBytes: 0,
    firstStartUs: null,
    lastEndUs: null,
    runEndUs: null,
    lastClosedFileId: 0,
    unclosed: false,
    endRun: null,
    initId: null,
    listeners: new Set(),
    fileListeners: new Set(),
  };
}

export function describe(state: CameraState): CameraDescription {
  return {
    ...state.options,
    id: state.id,
    storedBytes: state.closedBytes + state.openBytes,
    firstStartUs: state.firstStartUs,
    lastEndUs: state.lastEndUs,
    createdMs: state.createdMs,
    attributes: state.attributes,
  };
}

export function checkCamera(options: CameraOptions): void {
  const { name, retentionMs, maxBytes, preRollMs = 0, postRollMs = 0 } = options;
  // The ~ is for names that are made from those of others.
  if (!/^[a-zA-Z0-9_.~-]{1,132}$/.test(name)) {
    throw new StorageError(
      'invalid-argument',
      'a camera is named by 1 to 132 of a-z A-Z 0-9 _ . ~ -',
    );
  }
  for (const [what, value] of Object.entries({ retentionMs, maxBytes, preRollMs, postRollMs })) {
    if (value !== null && (!Number.isSafeInteger(value) || value < 0)) {
      throw new StorageError('invalid-argument', `${what} of camera ${name}: ${value}`);
    }
  }
}
