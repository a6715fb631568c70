/** `deliveries.*.to.http` */
import { z } from 'zod';
import { choice, decimal, keyNotes, line, secret, url } from '../leaves.ts';
import { caFile } from './tls.ts';

export const httpDestination = z
  .strictObject({
    url: url(['http', 'https']).describe('Where it is posted to. Redirects are not followed.'),
    accessKey: secret()
      .nullable()
      .default(null)
      .describe('What lets us in, sent as X-Amz-Firehose-Access-Key; null: nothing.'),
    commonAttributes: z
      .record(line(256, 'a name of 1 to 256 characters'), z.string().max(1024))
      .refine((attributes) => Object.keys(attributes).length <= 50)
      .register(keyNotes, {
        allowed: 'a map of at most 50 texts of at most 1024 characters',
        example: { site: 'north' },
      })
      .default({})
      .describe('What is said with every request, as X-Amz-Firehose-Common-Attributes.'),
    compression: choice(['none', 'gzip'])
      .default('none')
      .describe('Of the bodies of requests; the endpoint has to know it.'),
    sourceArn: line(512, 'an ARN')
      .nullable()
      .default(null)
      .describe('The delivery stream that it is said to come from; null: one of its own name.'),
    timeoutSeconds: decimal(1, 600)
      .default(180)
      .describe('How long the endpoint may take to answer a request.'),
    caFile,
  })
  .describe(
    "An HTTP endpoint that speaks Firehose's protocol: batches of at most 10,000 records as JSON, answered one by one.",
  );
