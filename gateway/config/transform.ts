/** `deliveries.*.transform`: what a function makes of records before they are sent. */
import { z } from 'zod';
import { functionTarget } from './functions.ts';
import { decimal, size, whole } from './leaves.ts';

export const transform = z
  .strictObject({
    function: functionTarget,
    batchBytes: size(200_000, 3 * 2 ** 20)
      .default(2 ** 20)
      .describe('How much data one call gets at most, before Base64; a call has at most 6 MB.'),
    retries: whole(0, 100)
      .default(3)
      .describe(
        'How often a call is made again that failed, or was not answered as agreed; then its records are kept as failed.',
      ),
    timeoutSeconds: decimal(0.1, 300).default(60).describe('How long one call may take.'),
  })
  .nullable()
  .default(null)
  .describe(
    "A function that gets the records and gives back what is sent in their place, by Lambda's contract for Firehose (each Ok, Dropped or ProcessingFailed). While it can't be reached, the delivery waits. null: none.",
  );
