/** `deliveries.*.format`: what the objects of a delivery are made of. */
import { z } from 'zod';
import { choice, keyNotes } from './leaves.ts';

export const format = z.strictObject({
  type: choice(['ndjson', 'raw'])
    .default('ndjson')
    .describe(
      'ndjson: a line of JSON for each record, and {"data": "<base64>"} for what is no JSON. raw: the data of the records, one behind the other.',
    ),
  compression: choice(['none', 'gzip', 'zip'])
    .nullable()
    .default(null)
    .describe('What the object is compressed with; null: gzip.'),
  delimiter: z
    .string()
    .min(1)
    .max(16)
    .register(keyNotes, { allowed: 'a text of 1 to 16 characters', example: '\n' })
    .nullable()
    .default(null)
    .describe('With raw, what stands behind each record; null: nothing.'),
});
