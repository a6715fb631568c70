/** What the errors of Redshift mean, and those of a connection to it. */
import { DatabaseError } from 'pg';
import { SinkError, type SinkErrorCode } from '../../sink.ts';
import { connectionError } from '../connection.ts';

const keys = { address: 'to.redshift.host and port', authority: 'to.redshift.caFile' } as const;

/** What only a look at the data can mend; the reason is in the tables of load errors. */
export class LoadError extends SinkError {}

type Meaning = readonly [SinkErrorCode, string | null];

const login: Meaning = ['credentials', 'Check to.redshift.username and password.'];
const noTable: Meaning = [
  'missing',
  'Create it, or correct to.redshift: database, schema, table and columns.',
];
const badStatement: Meaning = ['missing', 'Correct to.redshift.copyOptions.'];
const noRight: Meaning = [
  'denied',
  'Let the user insert into the table, insert into the ledger and delete from it, make tables in its schema, and use the role (GRANT ASSUMEROLE).',
];
const noBucket: Meaning = [
  'denied',
  'Let to.redshift.iamRole, or the keys of staging, do s3:GetObject and s3:ListBucket on the bucket, and the cluster assume the role.',
];

/** By SQLSTATE; its class where the whole is not named. */
const byState: Readonly<Record<string, Meaning>> = {
  '08': ['unreachable', null],
  '22': ['rejected', null],
  '23': ['rejected', null],
  '25006': ['denied', 'The database takes no writes: see why it is read-only.'],
  '28': login,
  '3D': noTable,
  '3F': noTable,
  '40': ['unavailable', null],
  '42501': noRight,
  '42601': badStatement,
  '42': noTable,
  '53100': ['full', 'Make room in the cluster.'],
  '53300': ['throttled', 'The cluster has as many connections as it takes.'],
  '53': ['unavailable', null],
  '57014': ['timeout', null],
  '57': ['unavailable', null],
};

/** Redshift reports much as an internal error: by what its message says. */
const byMessage: readonly (readonly [RegExp, Meaning])[] = [
  [/stl_load_errors|sys_load_error_detail|Load into table .* failed/i, ['rejected', null]],
  [/serializable isolation violation|\b1023\b|deadlock/i, ['unavailable', null]],
  [
    /PermanentRedirect|not in this region|AuthorizationHeaderMalformed/i,
    ['missing', 'The bucket is in another region: set to.redshift.staging.region.'],
  ],
  [/NoSuchBucket/i, ['missing', 'Create the bucket, or correct to.redshift.staging.bucket.']],
  [/Access ?Denied|InvalidAccessKeyId|not authorized to assume|AssumeRole/i, noBucket],
  [/SlowDown|throttl/i, ['throttled', null]],
  [/disk full/i, ['full', 'Make room in the cluster.']],
  [/statement timeout|cancel/i, ['timeout', null]],
];

/** @param masked words that are not shown, whoever says them */
export function redshiftError(error: unknown, masked: readonly string[]): SinkError {
  if (error instanceof SinkError) return error;
  if (!(error instanceof Error)) return new SinkError('unavailable', String(error));
  const text = mask(error.message, masked);
  if (error instanceof DatabaseError) {
    const [code, advice] = meaningOf(error.code ?? '', error.message);
    // The statement, with its keys, is part of neither message nor detail; `cause` would have both.
    const message = `${error.code ?? 'no SQLSTATE'}: ${text}`;
    return code === 'rejected'
      ? new LoadError(code, message, { advice })
      : new SinkError(code, message, { advice });
  }
  const network = connectionError(error, keys);
  if (network !== null) return network;
  if (/does not support SSL/i.test(error.message)) {
    const advice = 'Let the server speak TLS, or set to.redshift.tls: false.';
    return new SinkError('untrusted', text, { advice });
  }
  if (/time-?out|timed out/i.test(error.message)) return new SinkError('timeout', text);
  // pg's own words for a connection that ended, and for answers that it can't read.
  return new SinkError('unreachable', text);
}

function meaningOf(state: string, message: string): Meaning {
  const exact = byState[state];
  if (exact !== undefined) return exact;
  const said = byMessage.find(([pattern]) => pattern.test(message));
  if (said !== undefined) return said[1];
  return byState[state.slice(0, 2)] ?? ['unavailable', null];
}

function mask(text: string, masked: readonly string[]): string {
  return masked
    .filter((word) => word !== '')
    .reduce((rest, word) => rest.replaceAll(word, '***'), text);
}
