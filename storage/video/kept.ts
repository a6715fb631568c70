/**
 * Which media files stay for the sake of events: those that touch the time of one, with what its
 * camera keeps before and after (`preRollMs`, `postRollMs`).
 *
 * - What an event holds stays, whatever the camera keeps; only a disk that is full takes it.
 * - A camera that keeps events alone has them decided a while after they were recorded: until then an
 *   event may still come, and live viewers need them.
 */
import type { CameraState } from './context.ts';

/** Whoever watches a camera live may be that far behind. */
const liveMs = 60_000;

function touchedBy(condition: string): string {
  return `EXISTS (SELECT 1 FROM video_event e JOIN camera k ON k.id = e.camera_id
    WHERE e.camera_id = m.camera_id AND e.start_us < m.end_us + k.pre_roll_ms * 1000
      AND e.end_us >= m.start_us - k.post_roll_ms * 1000 AND ${condition})`;
}

/** For the closed media file `m`: an event holds it. */
export const heldSql = touchedBy('e.hold = 1');

/** For the closed media file `m`: it has to do with an event. */
const eventfulSql = touchedBy('1');

/**
 * For the closed media file `m` of a camera: it is kept longer than live viewers need it; null: all
 * are.
 */
export function keptSqlOf({ options }: CameraState): string | null {
  const { record = 'continuous' } = options;
  if (record === 'continuous') return null;
  return record === 'events' ? eventfulSql : heldSql;
}

/** Media files of a camera that ended before are either kept or not, for good. */
export function decidedUs({ options }: CameraState, nowMs: number): number {
  return (nowMs - Math.max(liveMs, options.preRollMs ?? 0)) * 1000;
}
