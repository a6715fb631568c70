/** Which index a record belongs to: a name, and perhaps the time of its arrival, in UTC. */

export type Rotation = 'none' | 'hour' | 'day' | 'week' | 'month';

const dayMs = 86_400_000;

/**
 * The name with Firehose's suffix, such as `logs-2016-02-25-13` for an hour. A week begins on
 * Sunday, and the first one of a year is the one with its first Saturday: `logs-2016-w09`.
 *
 * Source: Firehose Developer Guide, "Configure index rotation for OpenSearch Service". Its example
 * counts that week as the 8th, as ISO 8601 does; what it says of weeks makes it the 9th.
 */
export function indexName(name: string, rotation: Rotation, arrivalMs: number): string {
  const text = new Date(arrivalMs).toISOString();
  switch (rotation) {
    case 'none':
      return name;
    case 'hour':
      return `${name}-${text.slice(0, 13).replace('T', '-')}`;
    case 'day':
      return `${name}-${text.slice(0, 10)}`;
    case 'week':
      return `${name}-${weekOf(arrivalMs)}`;
    case 'month':
      return `${name}-${text.slice(0, 7)}`;
  }
}

/** A week belongs to the year of its Saturday. */
function weekOf(timeMs: number): string {
  const saturdayMs = timeMs + (6 - new Date(timeMs).getUTCDay()) * dayMs;
  const year = new Date(saturdayMs).getUTCFullYear();
  const daysOfYear = Math.floor((saturdayMs - Date.UTC(year, 0, 1)) / dayMs);
  const week = Math.floor(daysOfYear / 7) + 1;
  return `${year}-w${String(week).padStart(2, '0')}`;
}
