/** `files`: files whose lines go to a stream. */
import { z } from 'zod';
import {
  choice,
  decimal,
  filePartitionKey,
  keyNotes,
  line,
  name,
  path,
  regularExpression,
  size,
} from './leaves.ts';

const MiB = 2 ** 20;

const fieldNames = z
  .array(line(256, 'a name of 1 to 256 characters'))
  .max(1000)
  .register(keyNotes, { allowed: 'a list of names', example: ['time', 'level', 'message'] })
  .default([]);

const fileSource = z.strictObject({
  path: path('a file, a folder, or a pattern with *, ?, [ ], { } and **').describe(
    'The file, the folder (all files in it) or the pattern, like /var/log/app/*.log. Renamed, truncated, copied and gzip-compressed files are told from new ones.',
  ),
  stream: name().describe('The stream that the lines are appended to.'),
  from: choice(['beginning', 'end'])
    .default('beginning')
    .describe(
      'Where to begin with files that are there at the very first start: beginning, or end, with what is added from then on. Later files are read from their beginning.',
    ),
  multiline: z
    .strictObject({
      startPattern: regularExpression()
        .nullable()
        .default(null)
        .describe('What the first line of a record matches; null: every line is a record.'),
      flushSeconds: decimal(0.1, 3600)
        .default(5)
        .describe('A record is complete when no line was added to it for this long.'),
    })
    .prefault({})
    .describe('Records of several lines, like stack traces.'),
  convert: choice(['none', 'single-line', 'csv', 'json', 'regex'])
    .default('none')
    .describe(
      'What is stored: none, the lines as they are; single-line, the lines of a record joined by spaces; csv and regex, a JSON object of the fields; json, the JSON on one line. What does not fit is stored as it is, and counted.',
    ),
  csv: z
    .strictObject({
      delimiter: z
        .string()
        .regex(/^[^"\r\n]$/u)
        .register(keyNotes, { allowed: 'one character, not a quote' })
        .default(',')
        .describe('What is between two fields.'),
      fields: fieldNames.describe('Their names; none: the first line of each file has them.'),
    })
    .prefault({})
    .describe('For "convert: csv".'),
  regex: z
    .strictObject({
      pattern: regularExpression()
        .nullable()
        .default(null)
        .describe('The regular expression; its groups are the fields.'),
      fields: fieldNames.describe('Names of the groups, in order; none: the pattern names them.'),
    })
    .prefault({})
    .describe('For "convert: regex".'),
  partitionKey: filePartitionKey()
    .default('{path}')
    .describe(
      'The key that keeps records in order and picks the shard: text with {path}, {file}, {record.host} (a field of what csv, json or regex made) or {random}. One that finds nothing falls back to the path.',
    ),
  maxLineBytes: size(64)
    .default(MiB)
    .describe('A longer record is cut there, and what is left out is counted. At most 8 MiB.'),
});

export const files = z.record(name(), fileSource).register(keyNotes, {
  allowed: 'a map of files by name',
  example: {
    'app-log': {
      path: '/var/log/app/*.log',
      stream: 'app-log',
      multiline: { startPattern: '^\\d{4}-\\d{2}-\\d{2}' },
      csv: { fields: ['time', 'level', 'message'] },
      regex: { pattern: '^(\\S+) (\\w+) (.*)$', fields: ['time', 'level', 'message'] },
    },
  },
});
