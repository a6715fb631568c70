/**
 * What the answers of our own API (`/api/v1`) are made of. They are zod schemas, with the types
 * inferred from them, in the `…-schemas.ts` beside this; the OpenAPI document, the handlers and the
 * page are held to those, and nothing is decided there.
 *
 * Conventions:
 * - A time is an ISO 8601 string in UTC (`2026-01-31T09:30:00.250Z`), with three digits of a
 *   second, or six where the store knows microseconds. Its field ends in `Time`.
 * - A duration is a number and its field ends in its unit (`durationMs`).
 * - Hash keys are decimal strings, because they exceed a double; sequence numbers are integers.
 * - `null` means "there is none"; no field is ever left out.
 */
import { z } from '@hono/zod-openapi';

export const time = z.iso
  .datetime({ offset: false })
  .openapi({ example: '2026-01-31T09:30:00.250Z' });
export const count = z.number().int().min(0);
export const bytes = count.describe('Bytes');
