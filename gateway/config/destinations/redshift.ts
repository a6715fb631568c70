/** `deliveries.*.to.redshift` */
import { z } from 'zod';
import type { DeclaredColumn } from '../../forward/format/rows/columns.ts';
import {
  copyProblem,
  wordProblem,
  type CopyProblem,
} from '../../forward/sinks/redshift/copy-options.ts';
import { hasOpenQuote, isCopyOptions } from '../../forward/sinks/redshift/sql.ts';
import { awsCredentials, bucket, endpoint, region } from '../aws-access.ts';
import { decimal, flag, host, keyNotes, line, secret, whole } from '../leaves.ts';
import { caFile } from './tls.ts';

const tableName = line(127, 'a name of 1 to 127 characters');

export const redshiftDestination = z
  .strictObject({
    host: host().describe('The endpoint of the cluster or workgroup, without port and database.'),
    port: whole(1, 65_535).default(5439).describe('Its port.'),
    database: line(127, 'a name of 1 to 127 characters').describe('The database.'),
    username: line(127, 'a user of the database').describe(
      'Who may insert into both tables, and make the ledger where it is missing.',
    ),
    password: secret().describe('Goes with username.'),
    tls: flag().default(true).describe('false: the password crosses the network in the clear.'),
    caFile,
    schema: tableName.default('public').describe('Where the table is, and the ledger.'),
    table: tableName.describe('The table; it has to be there.'),
    columns: z
      .array(line(127, 'a name of 1 to 127 characters'))
      .max(1600)
      .register(keyNotes, { allowed: 'a list of names', example: ['device', 'time', 'value'] })
      .default([])
      .describe(
        'What of the table is filled, in their order; none named: all that it has. With csv and parquet, the columns of format by their place.',
      ),
    copyOptions: z
      .string()
      .max(2048)
      .refine(isCopyOptions, {
        error: ({ input }) =>
          hasOpenQuote(String(input)) ? "has a ' that is not closed" : undefined,
      })
      .register(keyNotes, { allowed: 'options of COPY, without ; and comments' })
      .default('')
      .describe(
        "What COPY is told on top of what the delivery's format says of the objects (JSON 'auto', CSV or FORMAT AS PARQUET, the compression, TIMEFORMAT 'auto'), or in its place, such as JSON 'auto ignorecase'. What contradicts the format is refused. With format.type: raw, it says how the records are to be read.",
      ),
    iamRole: z
      .string()
      .regex(/^(default|arn:[\w:/+=,.@-]{1,2000})$/)
      .register(keyNotes, { allowed: 'an ARN, or default' })
      .nullable()
      .default(null)
      .describe(
        'The role that the cluster reads the objects with; null: the keys of staging, which the statement then has in it.',
      ),
    ledger: tableName
      .default('headgate_loads')
      .describe('The table of what was loaded. While a row is in it, its load is not done again.'),
    ledgerDays: decimal(0, 3650)
      .default(7)
      .describe(
        'How long its rows stay once nothing here can ask for them any more: for as long as data folders may be set back to a backup.',
      ),
    staging: z
      .strictObject({
        bucket,
        prefix: z
          .string()
          .max(512)
          .register(keyNotes, { allowed: 'at most 512 characters' })
          .default('')
          .describe('Begins every key; end it with / for a folder. Nothing is removed from there.'),
        region,
        endpoint,
        ...awsCredentials,
      })
      .describe('Where the objects are put first: a bucket that the cluster can read.'),
    loadTimeoutSeconds: decimal(10, 86_400)
      .default(1800)
      .describe('How long a load may take, waiting for others included.'),
  })
  .describe('A table of Amazon Redshift: objects are put to S3, and loaded from there, each once.');

/** What of a delivery to Redshift has to be right before its parts are held against each other. */
const loading = z.object({
  to: z.object({
    redshift: z.object({
      columns: z.array(z.string()),
      copyOptions: z.string().refine(isCopyOptions),
    }),
  }),
  format: z.object({
    type: z.enum(['ndjson', 'raw', 'csv', 'parquet']),
    compression: z.enum(['none', 'gzip', 'zip', 'snappy', 'hadoop-snappy', 'zstd']).nullable(),
    delimiter: z.string().nullable(),
    header: z.boolean(),
    columns: z.array(z.custom<DeclaredColumn>()),
  }),
});

/** Whether COPY reads what the delivery makes; null: it does, or other mistakes come first. */
export function loadingProblem(delivery: unknown): CopyProblem | null {
  const { data } = loading.safeParse(delivery);
  if (data === undefined) return null;
  const { columns, copyOptions: options } = data.to.redshift;
  return copyProblem(data.format, { columns: columns.length === 0 ? null : columns, options });
}

/** What the cluster would tell at the first load; null: nothing that is known here. */
export function copyMistake(delivery: unknown): CopyProblem | null {
  const { data } = loading.safeParse(delivery);
  if (data === undefined || loadingProblem(delivery) !== null) return null;
  const { copyOptions: options } = data.to.redshift;
  if (data.format.type !== 'raw' || options.trim() !== '') return wordProblem(options);
  return {
    key: 'to.redshift.copyOptions',
    message: 'says nothing, and with format.type: raw nothing else says what the records are',
    allowed: "JSON 'auto' for JSON, CSV, or DELIMITER '|' for lines with another character",
  };
}
