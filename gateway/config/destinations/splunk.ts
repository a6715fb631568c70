/** `deliveries.*.to.splunk` */
import { z } from 'zod';
import { choice, decimal, flag, keyNotes, line, secret, size, url } from '../leaves.ts';
import { caFile } from './tls.ts';

const metadata = line(256, 'a name of 1 to 256 characters').nullable().default(null);

export const splunkDestination = z
  .strictObject({
    endpoint: url(['http', 'https']).describe(
      'The HTTP Event Collector, such as https://splunk.example.net:8088.',
    ),
    token: secret().describe('The token of the collector.'),
    mode: choice(['event', 'raw'])
      .default('event')
      .describe(
        'event: each record is an event, with its id in the field headgate_record_id. raw: the records as they are, a line each; what comes twice can then not be told.',
      ),
    channel: z
      .guid()
      .register(keyNotes, { allowed: 'a UUID' })
      .nullable()
      .default(null)
      .describe('What acknowledgements are kept under; null: one that is made at every start.'),
    index: metadata.describe('Where events go; null: as the token has it.'),
    source: metadata.describe('What events are said to come from; null: as the token has it.'),
    sourcetype: metadata.describe('How events are read; null: as the token has it.'),
    host: metadata.describe('Who is said to have sent events; null: as the token has it.'),
    acknowledgements: flag()
      .default(true)
      .describe(
        'Waits until the indexers say that they have the events, which the token has to be set to. false: that the collector has read them is enough, and what it loses then is lost.',
      ),
    ackTimeoutSeconds: decimal(1, 600)
      .default(180)
      .describe('How long to wait for that; then the events are sent again.'),
    maxBytes: size(1e6)
      .refine((bytes) => bytes <= 100e6)
      .register(keyNotes, { allowed: 'a size from 1 MB to 100 MB', size: true })
      .default(5e6)
      .describe('Of one request, 1 MB to 100 MB.'),
    caFile,
  })
  .describe('Splunk, through its HTTP Event Collector.');
