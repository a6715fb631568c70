/**
 * What keys of a delivery are called by whoever asks for one over the API: members of its destination,
 * or keys of the section `firehose` of the configuration, which says it for all of them.
 */
import type { DestinationKind } from '../destination-shapes.ts';
import { backupMember } from './backup.ts';
import { joined } from './refusal.ts';

type Words = Readonly<Record<string, string>>;

/**
 * By keys with dots between their parts, and by what sentences say of several. '': there is nothing to
 * be said of it here.
 */
const everywhere: Words = {
  'transform.function.lambda.function': 'ProcessingConfiguration.LambdaArn',
  'transform.function.lambda': 'firehose.lambda',
  'set accessKeyId and secretAccessKey': 'set accessKeyId and secretAccessKey of firehose.lambda',
  'transform.function': 'ProcessingConfiguration.LambdaArn',
  'transform.retries': 'ProcessingConfiguration.NumberOfRetries',
  'transform.batchBytes': 'ProcessingConfiguration.BufferSizeInMBs',
  transform: 'ProcessingConfiguration',
  deaggregate: 'ProcessingConfiguration',
  'buffer.maxBytes': 'BufferingHints.SizeInMBs',
  'buffer.maxSeconds': 'BufferingHints.IntervalInSeconds',
  retrySeconds: 'RetryOptions.DurationInSeconds',
};
const s3: Words = {
  ...everywhere,
  'to.s3.bucket': 'BucketARN',
  'to.s3.prefix': 'Prefix',
  'to.s3': 'firehose.s3',
  'format.compression': 'CompressionFormat',
  'format.delimiter': 'ProcessingConfiguration.Delimiter',
  'format.pageBytes':
    'DataFormatConversionConfiguration.OutputFormatConfiguration.Serializer.ParquetSerDe.PageSizeBytes',
  format: 'DataFormatConversionConfiguration',
  'layout.errorPrefix': 'ErrorOutputPrefix',
  'layout.timeZone': 'CustomTimeZone',
  'layout.extension': 'FileExtension',
  layout: 'ProcessingConfiguration.MetadataExtractionQuery',
};
const authority = 'NODE_EXTRA_CA_CERTS=/path/to/ca.pem';
const search: Words = {
  ...everywhere,
  'to.opensearch.endpoint': 'ClusterEndpoint',
  'to.opensearch.index': 'IndexName',
  'to.opensearch.rotation': 'IndexRotationPeriod',
  'to.opensearch.documentId': 'DocumentIdOptions.DefaultDocumentIdFormat',
  'to.opensearch.username and password, or the credentials that sign':
    'firehose.opensearch.accessKeyId and secretAccessKey',
  'to.opensearch.caFile': authority,
  'to.opensearch': 'firehose.opensearch',
};

const words: Readonly<Record<DestinationKind, Words>> = {
  S3: s3,
  ExtendedS3: s3,
  HttpEndpoint: {
    ...everywhere,
    'to.http.url': 'EndpointConfiguration.Url',
    'to.http.accessKey': 'EndpointConfiguration.AccessKey',
    'to.http.commonAttributes': 'RequestConfiguration.CommonAttributes',
    'to.http.compression': 'RequestConfiguration.ContentEncoding',
    'to.http.caFile': authority,
    'to.http': 'EndpointConfiguration',
  },
  Splunk: {
    ...everywhere,
    'to.splunk.endpoint': 'HECEndpoint',
    'to.splunk.token': 'HECToken',
    'to.splunk.mode: raw': 'HECEndpointType: Raw',
    'to.splunk.mode': 'HECEndpointType',
    'to.splunk.ackTimeoutSeconds': 'HECAcknowledgmentTimeoutInSeconds',
    'to.splunk.index': 'the index of the token',
    'to.splunk.caFile': authority,
    ', or set to.splunk.acknowledgements: false, which takes an accepted record for an indexed one':
      '',
  },
  Amazonopensearchservice: search,
  Elasticsearch: search,
  Redshift: {
    ...everywhere,
    'to.redshift.host and port': 'ClusterJDBCURL',
    'to.redshift.host': 'ClusterJDBCURL',
    'to.redshift.port': 'ClusterJDBCURL',
    'to.redshift.database': 'ClusterJDBCURL',
    'to.redshift: database, schema, table and columns': 'ClusterJDBCURL and CopyCommand',
    'to.redshift.username and password': 'Username and Password',
    'to.redshift.username': 'Username',
    'to.redshift.password': 'Password',
    'to.redshift.schema': 'CopyCommand.DataTableName',
    'to.redshift.table': 'CopyCommand.DataTableName',
    'to.redshift.columns': 'CopyCommand.DataTableColumns',
    'to.redshift.copyOptions': 'CopyCommand.CopyOptions',
    'the format of the delivery, and to.redshift.copyOptions':
      'S3Configuration.CompressionFormat and CopyCommand.CopyOptions',
    'to.redshift.iamRole or staging says them': 'RoleARN says them',
    ', or the keys of staging,': '',
    'to.redshift.iamRole': 'RoleARN',
    'to.redshift.staging.accessKeyId says it': 'the role of RoleARN is taken',
    'to.redshift.staging.secretAccessKey says it': 'the role of RoleARN is taken',
    'the keys of to.redshift.staging have none': 'the role of RoleARN is taken',
    'to.redshift.staging.region says it': 'the gateway says it',
    'to.redshift.staging.bucket': 'S3Configuration.BucketARN',
    'to.redshift.staging.prefix': 'S3Configuration.Prefix',
    'to.redshift.staging': 'firehose.s3',
    'to.redshift.caFile': authority,
    ', or set to.redshift.tls: false': '',
    'of to.redshift may': 'may',
    "and the delivery's format.type is raw": 'and objects have the records as they are',
    "the delivery's format.compression is none":
      'S3Configuration.CompressionFormat is UNCOMPRESSED',
    "the delivery's format.compression is gzip": 'S3Configuration.CompressionFormat is GZIP',
    'format.compression': 'S3Configuration.CompressionFormat',
    'format.delimiter': 'ProcessingConfiguration.Delimiter',
    format: 'CopyCommand.CopyOptions',
    'buffer.maxBytes': 'S3Configuration.BufferingHints.SizeInMBs',
    'buffer.maxSeconds': 'S3Configuration.BufferingHints.IntervalInSeconds',
  },
};

/** @returns the member, from the destination on; '': nothing is known but that it is of the destination */
export function memberOf(kind: DestinationKind, key: readonly string[]): string {
  const [first, ...others] = key;
  if (first === 'backup' && kind !== 'S3') {
    const inner = memberOf('ExtendedS3', others);
    return inner.startsWith('firehose.') ? inner : joined(backupMember(kind), inner);
  }
  if (first === 'failed') {
    const inner = memberOf('ExtendedS3', others);
    return inner.startsWith('firehose.') ? inner : joined('S3Configuration', inner);
  }
  for (let length = key.length; length > 0; length -= 1) {
    const word = words[kind][key.slice(0, length).join('.')];
    if (word === undefined) continue;
    // What the configuration says has the same keys there.
    return word.startsWith('firehose.') ? [word, ...key.slice(length)].join('.') : word;
  }
  return '';
}

/** A sentence with the members in it, in place of the keys that they are. */
export function inMembers(kind: DestinationKind, sentence: string): string {
  const known = words[kind];
  const keys = Object.keys(known)
    // The others are words of every day too.
    .filter((key) => /[.A-Z ]/.test(key))
    .sort((one, other) => other.length - one.length)
    .map((key) => `${/^\w/.test(key) ? '(?<![\\w.])' : ''}${key.replaceAll('.', '\\.')}`);
  const pattern = new RegExp(`(?:${keys.join('|')})(?!\\w)`, 'g');
  return sentence.replace(pattern, (key) => known[key] ?? key);
}

/** What deliveries call their destinations. */
const kinds: Readonly<Record<string, DestinationKind>> = {
  s3: 'ExtendedS3',
  http: 'HttpEndpoint',
  splunk: 'Splunk',
  opensearch: 'Amazonopensearchservice',
  redshift: 'Redshift',
};

/** Advice about a destination, for whoever made the delivery over the API. @param to such as `s3` */
export function adviceInMembers(to: string, advice: string): string {
  const kind = kinds[to];
  if (kind === undefined) return advice;
  const said = inMembers(kind, advice);
  const members = Object.values(words[kind]).filter((word) => /^[A-Z]\w*[a-z]/.test(word));
  const isMember = said !== advice && members.some((word) => said.includes(word));
  if (!isMember) return said;
  return `${said}${said.endsWith('.') ? ' ' : '; '}UpdateDestination changes what it was made with.`;
}
