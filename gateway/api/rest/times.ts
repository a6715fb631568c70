/** Times as the API writes and reads them. */
import { z } from '@hono/zod-openapi';

/** @example isoFromMs(1769851800250) // '2026-01-31T09:30:00.250Z' */
export function isoFromMs(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

/** Six digits where the microseconds matter. */
export function isoFromUs(timeUs: number): string {
  const ms = Math.floor(timeUs / 1_000);
  const restUs = timeUs - ms * 1_000;
  const text = isoFromMs(ms);
  return restUs === 0 ? text : `${text.slice(0, -1)}${String(restUs).padStart(3, '0')}Z`;
}

export function isoFromMsOrNull(timeMs: number | null): string | null {
  return timeMs === null ? null : isoFromMs(timeMs);
}

export function isoFromUsOrNull(timeUs: number | null): string | null {
  return timeUs === null ? null : isoFromUs(timeUs);
}

/** Year 9999, in milliseconds since the epoch: what an ISO 8601 string can say. */
const timeMsMax = 253_402_300_799_999;

/**
 * A time in a query: ISO 8601 with an offset, or whole milliseconds since the epoch.
 * Gives milliseconds. A `+` that arrived as a space is taken for what was meant.
 */
export const timeQuery = z
  .string()
  .transform((text, context) => {
    const timeMs = /^\d{1,15}$/.test(text) ? Number(text) : parseIso(text.replace(' ', '+'));
    if (timeMs >= 0 && timeMs <= timeMsMax) return timeMs;
    context.addIssue({
      code: 'custom',
      message:
        'must be a time such as 2026-01-31T09:30:00Z, or milliseconds since the epoch such as 1769851800000',
    });
    return z.NEVER;
  })
  .openapi({
    type: 'string',
    example: '2026-01-31T09:30:00Z',
    description: 'ISO 8601 with Z or an offset, or milliseconds since the epoch',
  });

function parseIso(text: string): number {
  return z.iso.datetime({ offset: true }).safeParse(text).success ? Date.parse(text) : Number.NaN;
}
