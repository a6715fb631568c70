/** `deliveries.*.layout`, and what else of a delivery shapes records without a function. */
import { z } from 'zod';
import { choice, flag, keyNotes, line } from './leaves.ts';

const queryText = 'a query of at most 4096 characters, between quotes';

function query() {
  return z.string().min(1).max(4096).register(keyNotes, { allowed: queryText });
}

const objectKeys = {
  timeZone: line(64, 'a time zone, like Europe/Berlin')
    .default('UTC')
    .describe('Of the times in keys.'),
  extension: line(128, 'a dot, and up to 127 of a-z, 0-9 and ! - _ . * ( )')
    .register(keyNotes, {
      allowed: "a dot, and up to 127 of a-z, 0-9 and ! - _ . * ' ( )",
      example: '.json.gz',
    })
    .nullable()
    .default(null)
    .describe("Ends every key, in place of the format's own."),
  hive: flag()
    .default(false)
    .describe(
      'Folders as Hive has them: year=2026/month=01/day=31/hour=23/, and name=value/ for each of partitionBy.',
    ),
};

export const backupLayout = z
  .strictObject(objectKeys)
  .prefault({})
  .describe('Where objects of records go.');

export const layout = z
  .strictObject({
    errorPrefix: z
      .string()
      .max(1024)
      .register(keyNotes, {
        allowed: 'at most 1024 characters',
        example: 'failed/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/',
      })
      .nullable()
      .default(null)
      .describe(
        'Begins the key of every object of failed records; null: they are kept in the stream failed.<delivery> instead.',
      ),
    ...objectKeys,
    partitionBy: z
      .record(line(128, 'a name of 1 to 128 characters').regex(/^(?!__proto__$)[^{}/=]+$/), query())
      .register(keyNotes, { allowed: 'a map of queries by name' })
      .default({})
      .describe(
        'Tells records apart by what is in them, up to 500 ways at a time: queries by names. The prefix has !{partitionKeyFromQuery:name} for each, or hive is true.',
      ),
    queryLanguage: choice(['jmespath', 'jq'])
      .default('jmespath')
      .describe(
        'Of partitionBy, and of nothing else; of jq, what is bounded and always gives the same: no definitions, assignments or regular expressions.',
      ),
  })
  .prefault({})
  .describe('Where objects of records go.');

/** Keys of a delivery, beside `layout`. */
export const shapeKeys = {
  deaggregate: z
    .strictObject({
      type: choice(['none', 'kpl', 'json', 'delimited'])
        .default('none')
        .describe(
          'kpl: aggregates of the Kinesis Producer Library; json: JSON objects one after the other; delimited: texts with a delimiter between them.',
        ),
      delimiter: z
        .string()
        .min(1)
        .max(64)
        .register(keyNotes, { allowed: '1 to 64 characters' })
        .default('\n')
        .describe('Between the records in a record, with "type: delimited".'),
    })
    .prefault({})
    .describe('Takes records apart that hold several; of json and delimited, 500 at most.'),
  filter: query()
    .nullable()
    .default(null)
    .describe(
      "A query of JMESPath, such as value > `3` && site == 'north': records are sent for which it gives anything but false, null or what is empty.",
    ),
  select: query()
    .nullable()
    .default(null)
    .describe('A query of JMESPath: what it gives is sent in place of the record.'),
};
