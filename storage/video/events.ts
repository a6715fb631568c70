/**
 * What happened before a camera, and when: marks of users and programs over its footage, each with a
 * kind and data of whoever made it. An event may hold its footage: while it does, neither age nor
 * bytes delete the media files that it touches (`retention.ts`).
 *
 * Limits: an event goes when the footage of its time is gone, or when its camera has had 100,000
 * later ones; those that hold stay until they are released. A camera has at most 1,000 of them.
 */
import { StorageError } from '../errors.ts';
import type { EventChange, EventQuery, NewVideoEvent, VideoEvent } from '../model.ts';
import type { Transaction } from '../writer.ts';
import { cameraState, type VideoContext } from './context.ts';

const eventsMax = 100_000;
const holdsMax = 1_000;
const kindPattern = /^[a-zA-Z0-9_.:-]{1,64}$/;
const dataBytesMax = 16 * 1024;

interface EventRow {
  readonly id: number;
  readonly camera: string;
  readonly kind: string;
  readonly start_us: number;
  readonly end_us: number;
  readonly data: string | null;
  readonly hold: number;
  readonly created_ms: number;
}

const eventColumns = `e.id, c.name AS camera, e.kind, e.start_us, e.end_us, e.data, e.hold, e.created_ms
  FROM video_event e JOIN camera c ON c.id = e.camera_id`;

/** @throws StorageError `not-found`, `invalid-argument`, also past the holds of a camera */
export async function addEvent(context: VideoContext, event: NewVideoEvent): Promise<VideoEvent> {
  const camera = cameraState(context, event.camera);
  const { kind, startUs, endUs, data = null, hold = false } = event;
  const text = checkEvent(event);
  const createdMs = context.clock.nowMs();
  const id = await context.writer.transact(
    async (tx) => {
      if (hold) await checkHolds(tx, camera.id);
      const { lastId } = await tx.run(
        `INSERT INTO video_event (camera_id, kind, start_us, end_us, data, hold, created_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?)`,
        ...[camera.id, kind, startUs, endUs, text, hold ? 1 : 0, createdMs],
      );
      await tx.run(
        `DELETE FROM video_event WHERE camera_id = ?1 AND hold = 0 AND id < (
           SELECT id FROM video_event WHERE camera_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)`,
        ...[camera.id, eventsMax - 1],
      );
      return lastId;
    },
    { bytes: text?.length ?? 0 },
  );
  return { id, camera: event.camera, kind, startUs, endUs, data, hold, createdMs };
}

/** Lets an event end later, hold its footage, or release it. @throws StorageError `not-found`, `invalid-argument` */
export async function changeEvent(
  context: VideoContext,
  id: number,
  change: EventChange,
): Promise<VideoEvent> {
  await context.writer.transact(async (tx) => {
    const row = await tx.get<{ camera_id: number; hold: number }>(
      'SELECT camera_id, hold FROM video_event WHERE id = ?',
      id,
    );
    if (row === undefined) throw noEvent(id);
    if (change.hold === true && row.hold === 0) await checkHolds(tx, row.camera_id);
    const hold = change.hold === undefined ? null : Number(change.hold);
    await tx.run(
      `UPDATE video_event SET end_us = max(end_us, coalesce(?, end_us)), hold = coalesce(?, hold)
       WHERE id = ?`,
      ...[change.endUs ?? null, hold, id],
    );
  });
  return event(context, id);
}

/** @throws StorageError `not-found` */
export async function deleteEvent(context: VideoContext, id: number): Promise<void> {
  const { changes } = await context.writer.transact((tx) =>
    tx.run('DELETE FROM video_event WHERE id = ?', id),
  );
  if (changes === 0) throw noEvent(id);
}

/** @throws StorageError `not-found` */
export async function event(context: VideoContext, id: number): Promise<VideoEvent> {
  const row = await context.reader.get<EventRow>(`SELECT ${eventColumns} WHERE e.id = ?`, id);
  if (row === undefined) throw noEvent(id);
  return eventFrom(row);
}

/** Those that overlap [fromUs, toUs], in order of start. @throws StorageError `not-found` */
export async function events(
  context: VideoContext,
  query: EventQuery,
): Promise<readonly VideoEvent[]> {
  const { id } = cameraState(context, query.camera);
  const rows = await context.reader.all<EventRow>(
    `SELECT ${eventColumns}
     WHERE e.camera_id = ?1 AND e.start_us <= ?3 AND e.end_us >= ?2
       AND (?4 IS NULL OR e.kind = ?4) AND (?5 IS NULL OR e.hold = ?5)
     ORDER BY e.start_us, e.id LIMIT ?6`,
    ...[id, query.fromUs, query.toUs, query.kind ?? null],
    ...[query.hold === undefined ? null : Number(query.hold), query.limit],
  );
  return rows.map(eventFrom);
}

async function checkHolds(tx: Transaction, cameraId: number): Promise<void> {
  const row = await tx.get<{ count: number }>(
    'SELECT count(*) AS count FROM video_event WHERE camera_id = ? AND hold = 1',
    cameraId,
  );
  if ((row?.count ?? 0) < holdsMax) return;
  throw new StorageError(
    'invalid-argument',
    `${holdsMax} events of the camera hold footage already`,
  );
}

/** @returns the data as text */
function checkEvent({ kind, startUs, endUs, data = null }: NewVideoEvent): string | null {
  const problem = !kindPattern.test(kind)
    ? 'the kind of an event is 1 to 64 of a-z A-Z 0-9 _ . : -'
    : !Number.isSafeInteger(startUs) || !Number.isSafeInteger(endUs) || endUs < startUs
      ? `an event from ${startUs} to ${endUs}`
      : null;
  if (problem !== null) throw new StorageError('invalid-argument', problem);
  const text = data === null ? null : JSON.stringify(data);
  if (text !== null && Buffer.byteLength(text) > dataBytesMax) {
    throw new StorageError(
      'invalid-argument',
      `the data of an event is past ${dataBytesMax} bytes`,
    );
  }
  return text;
}

function eventFrom(row: EventRow): VideoEvent {
  return {
    id: row.id,
    camera: row.camera,
    kind: row.kind,
    startUs: row.start_us,
    endUs: row.end_us,
    data: parsed(row.data),
    hold: row.hold === 1,
    createdMs: row.created_ms,
  };
}

/** Damaged data costs the data, not the event. */
function parsed(text: string | null): unknown {
  if (text === null) return null;
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function noEvent(id: number): StorageError {
  return new StorageError('not-found', `no event ${id}`);
}
