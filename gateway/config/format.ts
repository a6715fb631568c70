/** `deliveries.*.format`: what the objects of a delivery are made of. */
import { z } from 'zod';
import { parquetDefaults } from '../forward/format/formats.ts';
import { parseColumnType } from '../forward/format/rows/column-type.ts';
import { choice, flag, keyNotes, line, size } from './leaves.ts';

const KiB = 2 ** 10;
const MiB = 2 ** 20;

/** A type of a column, in Hive's words. */
function columnType() {
  return z
    .string()
    .max(4096)
    .superRefine((text, context) => {
      try {
        parseColumnType(text);
      } catch (error) {
        context.addIssue({ code: 'custom', message: `is no type: ${(error as Error).message}` });
      }
    })
    .register(keyNotes, {
      allowed:
        'boolean, tinyint, smallint, int, bigint, float, double, decimal(10,2), string, date, timestamp, json, array<…>, map<string,…> or struct<name:…>',
      example: 'double',
    });
}

const column = z.strictObject({
  name: line(255, 'a text of 1 to 255 characters').describe('What the column is called.'),
  type: columnType()
    .nullable()
    .default(null)
    .describe(
      'What it holds; a record that does not fit fails. timestamp takes ISO 8601, "yyyy-MM-dd HH:mm:ss" in UTC, and seconds or milliseconds since 1970. null: learnt from the records of each object; with csv, whatever there is.',
    ),
  from: line(1024, 'a text of 1 to 1024 characters')
    .register(keyNotes, { allowed: 'a key of the records', example: 'temp' })
    .nullable()
    .default(null)
    .describe('The key in the records; null: the name.'),
});

const streamKeys = {
  compression: choice(['none', 'gzip', 'zip', 'snappy', 'hadoop-snappy', 'zstd'])
    .nullable()
    .default(null)
    .describe(
      'What the object is compressed with; null: gzip, and parquet snappy. snappy is what snappy-java writes, hadoop-snappy what Hadoop does.',
    ),
  delimiter: z
    .string()
    .min(1)
    .max(16)
    .register(keyNotes, { allowed: 'a text of 1 to 16 characters', example: '\n' })
    .nullable()
    .default(null)
    .describe(
      'With raw, what stands behind each record; null: nothing. With csv, the character between columns; null: a comma.',
    ),
};

export const backupFormat = z.strictObject({
  type: choice(['raw', 'ndjson'])
    .default('raw')
    .describe(
      'raw: the data of the records, one behind the other. ndjson: a line of JSON for each record, and {"data": "<base64>"} for what is no JSON.',
    ),
  ...streamKeys,
});

/** Their lines are Firehose's. */
export const failedFormat = z.strictObject({ compression: streamKeys.compression });

export const format = z.strictObject({
  type: choice(['ndjson', 'raw', 'csv', 'parquet'])
    .default('ndjson')
    .describe(
      'ndjson: a line of JSON for each record, and {"data": "<base64>"} for what is no JSON. raw: the data of the records, one behind the other. csv, parquet: a row for each record; one that is no object of JSON fails.',
    ),
  ...streamKeys,
  header: flag().default(true).describe('With csv, whether the first line has the names.'),
  columns: z
    .array(column)
    .max(1000)
    .register(keyNotes, {
      allowed: 'a list of {name, type, from}',
      example: [{ name: 'temperature', type: 'double', from: 'temp' }],
    })
    .default([])
    .describe(
      'With csv and parquet, the columns; none: one for every key of the records of an object.',
    ),
  ignoreCase: flag()
    .default(true)
    .describe('Whether keys that differ in their case alone are the same column.'),
  dotsToUnderscores: flag()
    .default(false)
    .describe('Whether the key a.b is the column a_b, for readers that know no dots.'),
  rowGroupBytes: size(MiB)
    .refine((bytes) => bytes <= 32 * MiB)
    .register(keyNotes, { allowed: 'a size from 1 MiB to 32 MiB', size: true })
    .default(parquetDefaults.rowGroupBytes)
    .describe('With parquet, how many bytes of records make a row group.'),
  pageBytes: size(64 * KiB)
    .refine((bytes) => bytes <= 16 * MiB)
    .register(keyNotes, { allowed: 'a size from 64 KiB to 16 MiB', size: true })
    .default(parquetDefaults.pageBytes)
    .describe('With parquet, the size of a page before compression.'),
});
