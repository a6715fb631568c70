/** The statements that Redshift is given: names quoted, texts quoted or refused. */
import { SinkError } from '../../sink.ts';

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
  const { into, columns, manifestUrl, authorization, region, options } = source;
  const list = columns === null ? '' : ` (${columns.map(identifier).join(', ')})`;
  return [
    `COPY ${tableName(into)}${list}`,
    `FROM ${literal(manifestUrl)}`,
    authorizationClause(authorization),
    // Columnar files have to be in the cluster's own region.
    ...(region === null || isColumnar(options) ? [] : [`REGION ${literal(region)}`]),
    'MANIFEST',
    options,
  ].join(' ');
}

function authorizationClause(authorization: CopyAuthorization): string {
  if ('iamRole' in authorization) {
    const { iamRole } = authorization;
    return `IAM_ROLE ${iamRole === 'default' ? 'default' : literal(iamRole)}`;
  }
  const { accessKeyId, secretAccessKey } = authorization;
  return `ACCESS_KEY_ID ${literal(accessKeyId)} SECRET_ACCESS_KEY ${literal(secretAccessKey)}`;
}

/** What was loaded, a row for each load. Redshift knows of the primary key and does not enforce it. */
export function ledgerStatement(ledger: TableName): string {
  return [
    `CREATE TABLE IF NOT EXISTS ${tableName(ledger)} (`,
    'load_id VARCHAR(36) NOT NULL PRIMARY KEY,',
    'table_name VARCHAR(256) NOT NULL,',
    'manifest VARCHAR(2048) NOT NULL,',
    'objects INTEGER NOT NULL,',
    'records BIGINT NOT NULL,',
    'loaded_at TIMESTAMP NOT NULL)',
  ].join(' ');
}

/** Whether COPY is told to read Parquet or ORC. */
export function isColumnar(options: string): boolean {
  return /\b(PARQUET|ORC)\b/i.test(options);
}

/** Whether options can stand at the end of COPY: nothing in them ends the statement, or hides its rest. */
export function isCopyOptions(options: string): boolean {
  // As Redshift reads it, a backslash before a quote would keep the text open.
  const outsideQuotes = options.replace(/'(?:[^'\\]|\\[^'])*'/g, '');
  return !/['\\;]|--|\/\*/.test(outsideQuotes);
}
