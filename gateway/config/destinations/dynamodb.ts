/** `deliveries.*.to.dynamodb` */
import { z } from 'zod';
import { awsCredentials, endpoint, region } from '../aws-access.ts';
import { keyNotes, line } from '../leaves.ts';

export const dynamoDbDestination = z
  .strictObject({
    table: z
      .string()
      .regex(/^[\w.-]{3,255}$/)
      .register(keyNotes, { allowed: '3 to 255 letters, digits and _ . -' })
      .describe('The table; it has to be there. The attributes of its key come from the records.'),
    region,
    endpoint,
    ...awsCredentials,
    sets: z
      .array(line(255, 'the name of an attribute'))
      .max(100)
      .register(keyNotes, { allowed: 'a list of names', example: ['tags'] })
      .default([])
      .describe(
        'Attributes whose lists become sets, of texts or of numbers; an empty list is left out.',
      ),
  })
  .describe(
    'A table of DynamoDB: each record has to be a JSON object, and replaces the item of its key.',
  );
