/**
 * Cameras as the store keeps them in memory: loaded at the start, described, checked.
 */
import { StorageError } from '../errors.ts';
import type { CameraDescription, CameraOptions } from '../model.ts';
import type { CameraState, Reader } from './context.ts';

export async function loadCameras(reader: Reader): Promise<Map<string, CameraState>> {
  const rows = await reader.all<{
    id: number;
    name: string;
    retention_ms: number | null;
    max_bytes: number | null;
    events: string | null;
    closed_bytes: number | null;
    first_start_us: number | null;
    last_end_us: number | null;
    last_closed_id: number | null;
    unclosed: number;
  }>(
    `SELECT c.*, s.closed_bytes, s.first_start_us, s.last_end_us, s.last_closed_id,
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
      });
      state.closedBytes = row.closed_bytes ?? 0;
      state.firstStartUs = row.first_start_us;
      state.lastEndUs = row.last_end_us;
      state.lastClosedFileId = row.last_closed_id ?? 0;
      state.unclosed = row.unclosed === 1;
      return [row.name, state];
    }),
  );
}

export function emptyState(id: number, options: CameraOptions): CameraState {
  return {
    id,
    options,
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
  };
}

export function checkCamera({ name, retentionMs, maxBytes }: CameraOptions): void {
  if (!/^[a-zA-Z0-9_.-]{1,128}$/.test(name)) {
    throw new StorageError(
      'invalid-argument',
      'a camera is named by 1 to 128 of a-z A-Z 0-9 _ . -',
    );
  }
  for (const [what, value] of Object.entries({ retentionMs, maxBytes })) {
    if (value !== null && (!Number.isSafeInteger(value) || value < 0)) {
      throw new StorageError('invalid-argument', `${what} of camera ${name}: ${value}`);
    }
  }
}
