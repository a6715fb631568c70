/**
 * The questions about fragments that players ask all the time. Each goes through a camera's media
 * files, by an index, to the few dozen fragments of each.
 */
import { fragmentColumns, spanText } from './rows.ts';

/** `fragment` joined with its file, files first: they are found by the index. */
const fromFragments = `
  FROM media_file m
  CROSS JOIN fragment f ON f.number BETWEEN m.id * 4096 AND m.id * 4096 + 4095`;

const byTime = `
  WHERE m.camera_id = ?1 AND m.start_us < ?3
    AND m.start_us >= coalesce(
      (SELECT max(start_us) FROM media_file WHERE camera_id = ?1 AND start_us <= ?2), ?2)
    AND m.start_us + f.start_offset_us < ?3
    AND m.start_us + f.start_offset_us + f.duration_us > ?2
    AND (m.start_us + f.start_offset_us) / 1000 + f.server_offset_ms BETWEEN ?5 AND ?6
  ORDER BY m.start_us, f.number LIMIT ?4`;

/** Fragments of camera ?1 that overlap [?2, ?3), arrived from ?5 to ?6, at most ?4. */
export const fragmentsByTimeSql = `
  SELECT ${fragmentColumns} ${fromFragments} CROSS JOIN camera c ON c.id = m.camera_id ${byTime}`;

/** Of the same ones, a text of one line each; NULL: there are none. */
export const spansByTimeSql = `
  SELECT group_concat(span, char(10) ORDER BY start_us, number) AS spans
  FROM (SELECT ${spanText} AS span, m.start_us, f.number ${fromFragments} ${byTime})`;

/** The first ?3 fragments of camera ?1 that were recorded after ?2: no file but the newest is empty. */
export const fragmentsAfterSql = `
  SELECT ${fragmentColumns}
  FROM (SELECT * FROM media_file WHERE camera_id = ?1 AND id >= ?2 / 4096
        ORDER BY id LIMIT ?3 + 2) m
  CROSS JOIN fragment f ON f.number BETWEEN max(m.id * 4096, ?2 + 1) AND m.id * 4096 + 4095
  CROSS JOIN camera c ON c.id = m.camera_id
  ORDER BY f.number LIMIT ?3`;

/** The last ?2 fragments that camera ?1 recorded: no file is without one, but for the newest. */
export const latestFragmentsSql = `
  SELECT ${fragmentColumns}
  FROM (SELECT * FROM media_file WHERE camera_id = ?1 ORDER BY id DESC LIMIT ?2 + 1) m
  CROSS JOIN fragment f ON f.number BETWEEN m.id * 4096 AND m.id * 4096 + 4095
  CROSS JOIN camera c ON c.id = m.camera_id
  ORDER BY f.number DESC LIMIT ?2`;
