/** What deliveries and functions have in common. */
import { z } from '@hono/zod-openapi';
import { bytes, count, time } from './leaves.ts';

export const BacklogSchema = z.object({
  bytes,
  records: count.describe('Or media files, from a camera'),
  ms: count.describe('Age of the oldest thing not yet sent'),
});

export const NewestFailedSchema = z.object({ time, reason: z.string() });

export const countedSince = time.describe(
  'When its counters began: with the gateway, or when it was begun again with another configuration',
);
