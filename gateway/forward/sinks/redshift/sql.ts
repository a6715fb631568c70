/** The statements that Redshift is given: names quoted, texts quoted or refused. */
import { SinkError, type TableLoad } from '../../sink.ts';

export interface TableName {
  readonly schema: string;
  readonly table: string;
}

/** As whom Redshift reads the objects; keys are secret. */
export type CopyAuthorization =
  /** An ARN, several with commas between them, or `default`. */
  { readonly iamRole: string } | { readonly accessKeyId: string; readonly secretAccessKey: string };

export interface CopySource {
  readonly into: TableName;
  /** null: all that the table has. */
  readonly columns: readonly string[] | null;
  /** `s3://…` */
  readonly manifestUrl: string;
  readonly authorization: CopyAuthorization;
  /** Of the bucket; null: the cluster's own. */
  readonly region: string | null;
  /** Parquet: it has to be in the cluster's own region. */
  readonly isColumnar: boolean;
  /** What stands at the end of the statement, such as `JSON 'auto' GZIP`. */
  readonly options: string;
}

/** A name as it is, whatever characters are in it. */
export function identifier(name: string): string {
  if (name.includes('\0')) throw new SinkError('rejected', 'a name with a zero byte in it');
  return `"${name.replaceAll('"', '""')}"`;
}

export function tableName({ schema, table }: TableName): string {
  return `${identifier(schema)}.${identifier(table)}`;
}

/**
 * A text between quotes. Redshift takes a backslash for the beginning of an escape and PostgreSQL
 * does not, so there is none in what we quote: none of our names and no key of AWS has one.
 */
export function literal(text: string): string {
  // eslint-disable-next-line no-control-regex -- they are what is looked for
  if (/[\\\u0000-\u001f]/.test(text)) {
    throw new SinkError('missing', 'a backslash or a control character in a text for SQL', {
      advice: 'Keys of objects, roles and credentials of to.redshift may have none.',
    });
  }
  return `'${text.replaceAll("'", "''")}'`;
}

/** @see https://docs.aws.amazon.com/redshift/latest/dg/r_COPY.html */
export function copyStatement(source: CopySource): string {
  const { into, columns, manifestUrl, authorization, region, isColumnar, options } = source;
  const list = columns === null ? '' : ` (${columns.map(identifier).join(', ')})`;
  return [
    `COPY ${tableName(into)}${list}`,
    `FROM ${literal(manifestUrl)}`,
    authorizationClause(authorization),
    ...(region === null || isColumnar ? [] : [`REGION ${literal(region)}`]),
    'MANIFEST',
    ...(options === '' ? [] : [options]),
  ].join(' ');
}

function authorizationClause(authorization: CopyAuthorization): string {
  if ('iamRole' in authorization) {
    const { iamRole } = authorization;
    return `IAM_ROLE ${iamRole === 'default' ? 'default' : literal(iamRole)}`;
  }
  const { accessKeyId, secretAccessKey } = authorization;
  // Of the two ways to name a key the one that COPY from Parquet knows too.
  const keys = `aws_access_key_id=${accessKeyId};aws_secret_access_key=${secretAccessKey}`;
  return `CREDENTIALS ${literal(keys)}`;
}

/** What was loaded, a row for each load. Redshift knows of the primary key and does not enforce it. */
export function ledgerStatement(ledger: TableName): string {
  return [
    `CREATE TABLE IF NOT EXISTS ${tableName(ledger)} (`,
    'load_id VARCHAR(36) NOT NULL PRIMARY KEY,',
    'shard_id VARCHAR(36) NOT NULL,',
    'from_sequence BIGINT NOT NULL,',
    'to_sequence BIGINT NOT NULL,',
    'table_name VARCHAR(256) NOT NULL,',
    'manifest VARCHAR(2048) NOT NULL,',
    'objects INTEGER NOT NULL,',
    'records BIGINT NOT NULL,',
    'loaded_at TIMESTAMP NOT NULL)',
  ].join(' ');
}

/** What a ledger lacks that an earlier release made; rows that are there need say nothing of it. */
const laterColumns = ['shard_id VARCHAR(36)', 'from_sequence BIGINT', 'to_sequence BIGINT'];

/** Brings the ledger of an earlier release up to date. */
export function ledgerColumnStatements(ledger: TableName): readonly string[] {
  return laterColumns.map((column) => `ALTER TABLE ${tableName(ledger)} ADD COLUMN ${column}`);
}

/** Finds no row, and fails where the ledger or a column of it is missing. */
export function ledgerCheckStatement(ledger: TableName): string {
  return `SELECT load_id, shard_id, from_sequence, to_sequence FROM ${tableName(ledger)} LIMIT 0`;
}

/** The row of a load. The time is the database's: `now` as a text, for its functions are not for tables. */
export function ledgerRowStatement(
  ledger: TableName,
  { id, place, objects }: TableLoad,
  { into, manifestUrl }: Pick<CopySource, 'into' | 'manifestUrl'>,
): string {
  const records = objects.reduce((sum, object) => sum + object.records, 0);
  const row = [
    ['load_id', literal(id)],
    ['shard_id', literal(place.shard)],
    ['from_sequence', String(place.from)],
    ['to_sequence', String(place.to)],
    ['table_name', literal(`${into.schema}.${into.table}`)],
    ['manifest', literal(manifestUrl)],
    ['objects', String(objects.length)],
    ['records', String(records)],
    ['loaded_at', "'now'"],
  ] as const;
  const [names, values] = [row.map(([name]) => name), row.map(([, value]) => value)];
  return `INSERT INTO ${tableName(ledger)} (${names.join(', ')}) VALUES (${values.join(', ')})`;
}

/** Removes the rows of loads that are done for good, once they are so old. */
export function trimStatement(
  ledger: TableName,
  { place: { shard, since, from } }: TableLoad,
  keptSeconds: number,
): string {
  return [
    `DELETE FROM ${tableName(ledger)} WHERE shard_id = ${literal(shard)}`,
    `AND from_sequence >= ${since} AND to_sequence <= ${from}`,
    `AND loaded_at <= CAST('now' AS TIMESTAMP) - INTERVAL '${Math.ceil(keptSeconds)} seconds'`,
  ].join(' ');
}

/** Whether options can stand at the end of COPY: nothing in them ends the statement, or hides its rest. */
export function isCopyOptions(options: string): boolean {
  return !/['\\;]|--|\/\*/.test(outsideQuotes(options));
}

/** Whether a text begins in it that does not end. */
export function hasOpenQuote(options: string): boolean {
  return outsideQuotes(options).includes("'");
}

function outsideQuotes(options: string): string {
  // As Redshift reads it, a backslash before a quote would keep the text open.
  return options.replace(/'(?:[^'\\]|\\[^'])*'/g, '');
}
