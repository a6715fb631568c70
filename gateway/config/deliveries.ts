/** `deliveries`: what is sent on, and how. */
import { z } from 'zod';
import { deliveryExamples } from './delivery-examples.ts';
import { backupDestination, destination, failedDestination } from './destinations.ts';
import { flow } from './flow.ts';
import { backupFormat, failedFormat, format } from './format.ts';
import { backupLayout, layout, shapeKeys } from './layout.ts';
import { choice, decimal, flag, keyNotes, name, oneOf, size } from './leaves.ts';
import { transform } from './transform.ts';

const MiB = 2 ** 20;

const record = choice(['data', 'envelope'])
  .default('data')
  .describe(
    'What a record is on arrival: its data alone, or wrapped with its partition key, sequence number and time of arrival.',
  );

const maxSeconds = decimal(0, 900);
const bufferKeys = {
  maxBytes: size(1024)
    .default(5 * MiB)
    .describe('An object is sent when it has this many bytes,'),
  maxSeconds: maxSeconds
    .default(60)
    .describe('or when its oldest record is this old. 0: what is there is sent at once.'),
};

const required = flag()
  .default(true)
  .describe('Keeps what has not been sent yet, as long as the byte limit of its source allows.');

const backup = z
  .strictObject({
    to: backupDestination,
    record,
    format: backupFormat.prefault({}).describe('What the objects are made of.'),
    layout: backupLayout,
    buffer: z
      .strictObject(bufferKeys)
      .prefault({})
      .describe('How much is gathered into one object.'),
    required,
  })
  .nullable()
  .default(null)
  .describe(
    'Keeps all records of the stream as they came, besides: before anything is done to them, and whatever becomes of them. It is a delivery of its own, <name>.backup, which sends when this one may; neither waits for the other. null: they are not kept.',
  );

const failed = z
  .strictObject({
    to: failedDestination,
    format: failedFormat.prefault({}).describe('What the objects are made of.'),
    layout: backupLayout,
    buffer: z
      .strictObject(bufferKeys)
      .prefault({})
      .describe('How much is gathered into one object.'),
    required,
  })
  .nullable()
  .default(null)
  .describe(
    'Keeps what fails in a bucket or a folder, besides: from the stream failed.<name>, which stays as it is, a line of JSON for each record as Firehose writes it. It is a delivery of its own, <name>.failed, which sends when this one may; neither waits for the other. null: it is kept in that stream alone.',
  );

const delivery = z.strictObject({
  from: oneOf({
    stream: name().describe('A stream of this file.'),
    camera: name().describe('A camera of this file; to folder, s3 or kinesisVideo.'),
  }).describe('What is sent: stream or camera.'),
  to: destination,
  as: choice(['files', 'fragments'])
    .default('files')
    .describe(
      'What of a camera becomes an object: its files of about a minute, or each fragment as soon as it is recorded. Either plays on its own and has an index beside it.',
    ),
  events: name()
    .nullable()
    .default(null)
    .describe(
      'With as: fragments, the stream of this file that gets a record of each fragment once it has arrived: its number, times and keys. null: none.',
    ),
  transform,
  record,
  ...shapeKeys,
  layout,
  format: format
    .prefault({})
    .describe('What the objects of a stream are made of, in s3 and folder.'),
  buffer: z
    .strictObject({
      maxBytes: bufferKeys.maxBytes,
      maxSeconds: maxSeconds
        .nullable()
        .default(null)
        .describe(
          'or when its oldest record is this old. 0: what is there is sent at once. null: 60, and 0 to kinesis.',
        ),
    })
    .prefault({})
    .describe(
      'How much is gathered into one object, or for one round of batches. To kinesis records go as they come, unless they are shaped on their way.',
    ),
  retrySeconds: decimal(0, 7 * 86_400)
    .nullable()
    .default(null)
    .describe(
      'How long what fails is tried again before its records are put aside as failed (in the stream failed.<name>) and the delivery goes on. null: for ever, as the log keeps what comes meanwhile. Not for cameras.',
    ),
  backup,
  failed,
  required,
  catchUp: choice(['in-order', 'live-first'])
    .default('in-order')
    .describe(
      'After an outage: in-order sends everything in the order it came; live-first sends what is new at once and the backlog behind it, so the two arrive mixed.',
    ),
  maxBytesPerSecond: size(1024)
    .nullable()
    .default(null)
    .describe('What it sends in a second at most; null: no limit of its own.'),
  ...flow,
  startAt: choice(['earliest', 'latest'])
    .default('earliest')
    .describe('Where a new delivery begins: with all that is stored, or with what comes next.'),
});

export const deliveries = z.record(name(), delivery).register(keyNotes, {
  allowed: 'a map of deliveries by name',
  example: deliveryExamples,
});
