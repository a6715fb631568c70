/**
 * What to do about a destination that refuses: one sentence for each reason that people can do
 * something about. Reasons are the services' error names and the system's codes.
 *
 * Nothing here decides whether and when an attempt is repeated: all of them are, and sending
 * resumes by itself; that is decided by the code of the `SinkError`.
 */
export type Service =
  's3' | 'kinesis' | 'kinesis-video' | 'http' | 'opensearch' | 'splunk' | 'dynamodb';

/** What an answer says beside the error's name. */
export interface Circumstances {
  readonly service: Service;
  /** Where the bucket really is. */
  readonly region: string | null;
  /** The destination's clock minus ours, in milliseconds. */
  readonly clockOffsetMs: number | null;
}

const settings = {
  s3: 'to.s3',
  kinesis: 'to.kinesis',
  'kinesis-video': 'to.kinesisVideo',
  http: 'to.http',
  opensearch: 'to.opensearch',
  splunk: 'to.splunk',
  dynamodb: 'to.dynamodb',
} as const;
const rights = {
  s3: 's3:PutObject on the bucket',
  kinesis: 'kinesis:PutRecords on the stream (with aggregate: kpl also kinesis:ListShards)',
  'kinesis-video': 'kinesisvideo:GetDataEndpoint and kinesisvideo:PutMedia on the stream',
  http: 'post there',
  opensearch: 'write to the index and make it (es:ESHttpPost; index and create_index)',
  splunk: 'write to the index',
  dynamodb: 'dynamodb:DescribeTable and dynamodb:BatchWriteItem on the table',
} as const;
/** What lets us in, where that is not an access key of AWS. */
const passes: Readonly<Partial<Record<Service, string>>> = {
  http: 'to.http.accessKey',
  opensearch: 'to.opensearch.username and password, or the credentials that sign',
  splunk: 'to.splunk.token',
};

type Advice = (circumstances: Circumstances) => string;

const setting = (service: Service): string =>
  `${settings[service]}.${service === 'http' ? 'url' : 'endpoint'}`;

const expired: Advice = ({ service }) =>
  `The credentials have expired. They are looked up again before each attempt: renew them where they come from, or set ${settings[service]}.accessKeyId and secretAccessKey.`;
const unknown: Advice = ({ service }) =>
  `These credentials are not known there, or no longer. Check ${settings[service]}.accessKeyId and secretAccessKey, or the profile or role that the gateway runs with; they are looked up again before each attempt.`;
const refused: Advice = ({ service }) =>
  `Let these credentials do ${rights[service]}, and check that no policy of the destination denies it.`;
const keyRefused: Advice = () =>
  "The destination encrypts with a KMS key that can't be used: enable the key, and allow these credentials kms:GenerateDataKey and kms:Decrypt on it.";
const elsewhere: Advice = ({ service, region }) =>
  region === null
    ? `It is in another region: set ${settings[service]}.region to the bucket's.`
    : `It is in the region ${region}: set ${settings[service]}.region to ${region}.`;
const clock: Advice = ({ clockOffsetMs }) =>
  clockOffsetMs === null || Math.abs(clockOffsetMs) < 60_000
    ? 'The destination takes this machine\'s clock for wrong. Check it, and that NTP runs; "headgate clock" shows it.'
    : `This machine's clock is ${lengthOf(Math.abs(clockOffsetMs))} ${clockOffsetMs > 0 ? 'behind' : 'ahead of'} the destination's. Set it, and let NTP run; "headgate clock" shows it.`;
const room: Readonly<Partial<Record<Service, string>>> = {
  kinesis: ' More shards upstream, or aggregate: kpl for small records, make room.',
  dynamodb: ' More write capacity for the table, or capacity on demand, makes room.',
};
const slower: Advice = ({ service }) => `It goes on by itself, slower.${room[service] ?? ''}`;
const notLetIn: Advice = (circumstances) => {
  const pass = passes[circumstances.service];
  return pass === undefined ? refused(circumstances) : `We are not let in. Check ${pass}.`;
};
const noRoom: Advice = () => 'Make room at the destination, or raise its quota.';
const authority = (service: Service): string =>
  passes[service] === undefined
    ? 'NODE_EXTRA_CA_CERTS=/path/to/ca.pem'
    : `${settings[service]}.caFile`;
const distrusted: Advice = ({ service }) =>
  `The server's certificate is not trusted here. Give the gateway the authority that signed it (${authority(service)}), or correct ${setting(service)}.`;
const certificateOver: Advice = () =>
  "The server's certificate has expired, or this machine's clock is wrong: renew the one or set the other.";
const misnamed: Advice = ({ service }) =>
  `The server's certificate is for another name than the one it is called by: correct ${setting(service)}, or the certificate.`;
const nameless: Advice = ({ service }) =>
  `The name is not found. Without a link it comes back by itself; otherwise check ${setting(service)} and region, and DNS.`;
const notListening: Advice = ({ service }) =>
  `Nothing listens there. Check ${setting(service)}, and whether the server runs.`;

const byReason: Readonly<Record<string, Advice>> = {
  ExpiredToken: expired,
  ExpiredTokenException: expired,
  TokenRefreshRequired: expired,
  InvalidAccessKeyId: unknown,
  InvalidClientTokenId: unknown,
  UnrecognizedClientException: unknown,
  SignatureDoesNotMatch: unknown,
  InvalidSignatureException: unknown,
  MissingAuthenticationTokenException: unknown,
  CredentialsProviderError: ({ service }) =>
    `No credentials were found. Set ${settings[service]}.accessKeyId and secretAccessKey, or give the gateway a profile, a role or AWS_ACCESS_KEY_ID.`,
  AccessDenied: refused,
  AccessDeniedException: refused,
  AllAccessDisabled: refused,
  KMSAccessDeniedException: keyRefused,
  KMSDisabledException: keyRefused,
  KMSInvalidStateException: keyRefused,
  KMSNotFoundException: keyRefused,
  KMSOptInRequired: keyRefused,
  'KMS.DisabledException': keyRefused,
  'KMS.NotFoundException': keyRefused,
  'KMS.KMSInvalidStateException': keyRefused,
  NoSuchBucket: () => 'Create the bucket, or correct to.s3.bucket.',
  ResourceNotFoundException: ({ service }) =>
    service === 'dynamodb'
      ? 'Create the table, or correct to.dynamodb.table and to.dynamodb.region.'
      : `Create the ${service === 'kinesis' ? 'data' : 'video'} stream, or correct ${settings[service]}.stream and ${settings[service]}.region.`,
  NotAuthorizedException: refused,
  MAX_FRAGMENT_DURATION_REACHED: () =>
    'Set the camera to a keyframe at least every ten seconds; one every two is best.',
  STREAM_NOT_ACTIVE: () => 'See whether the video stream is there and active.',
  KMS_KEY_ACCESS_DENIED: keyRefused,
  KMS_KEY_DISABLED: keyRefused,
  KMS_KEY_INVALID_STATE: keyRefused,
  KMS_KEY_NOT_FOUND: keyRefused,
  PermanentRedirect: elsewhere,
  AuthorizationHeaderMalformed: elsewhere,
  IllegalLocationConstraintException: elsewhere,
  RequestTimeTooSkewed: clock,
  RequestExpired: clock,
  RequestInTheFuture: clock,
  SlowDown: slower,
  ThrottlingException: slower,
  LimitExceededException: slower,
  ClientLimitExceededException: slower,
  ConnectionLimitExceededException: slower,
  ProvisionedThroughputExceededException: slower,
  QuotaExceeded: noRoom,
  XMinioStorageFull: noRoom,
  XMinioAdminBucketQuotaExceeded: noRoom,
  InsufficientStorage: noRoom,
  CERT_HAS_EXPIRED: certificateOver,
  CERT_NOT_YET_VALID: certificateOver,
  DEPTH_ZERO_SELF_SIGNED_CERT: distrusted,
  SELF_SIGNED_CERT_IN_CHAIN: distrusted,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: distrusted,
  UNABLE_TO_GET_ISSUER_CERT: distrusted,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: distrusted,
  ERR_TLS_CERT_ALTNAME_INVALID: misnamed,
  'status 401': notLetIn,
  'status 403': notLetIn,
  'status 404': ({ service }) => `Nothing is there. Check ${setting(service)}.`,
  'status 413': ({ service }) =>
    `It is more than the destination takes at once; whoever runs it may raise that, or a proxy's limit before ${setting(service)}.`,
  'status 429': slower,
  index_not_found_exception: () =>
    'Create the index, let the cluster create indexes by itself, or correct to.opensearch.index.',
  index_closed_exception: () => 'Open the index.',
  security_exception: refused,
  cluster_block_exception: () =>
    'The cluster takes no writes, as when its disks are nearly full: make room there, or lift the block.',
  validation_exception: () =>
    'The cluster may have no more shards: raise cluster.max_shards_per_node, delete old indexes, or set rotation to a longer time.',
  'HEC 1': () => 'Enable the token, or set to.splunk.token to another.',
  'HEC 2': notLetIn,
  'HEC 3': notLetIn,
  'HEC 4': notLetIn,
  'HEC 7': () => 'Let the token write to the index, or correct to.splunk.index.',
  'HEC 14': () =>
    'Enable indexer acknowledgement for the token, or set to.splunk.acknowledgements: false, which takes an accepted record for an indexed one.',
  'HEC 9': slower,
  EPROTO: ({ service }) =>
    `TLS could not be agreed on. Check whether ${setting(service)} should begin with http:// or https://, and its port.`,
  ENOTFOUND: nameless,
  EAI_AGAIN: nameless,
  ECONNREFUSED: notListening,
};

/** null: nothing to do but to wait, or nothing is known about it. */
export function adviceFor(reason: string, circumstances: Circumstances): string | null {
  return Object.hasOwn(byReason, reason) ? (byReason[reason]?.(circumstances) ?? null) : null;
}

function lengthOf(ms: number): string {
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} minutes`;
  if (ms < 48 * 3_600_000) return `${Math.round(ms / 3_600_000)} hours`;
  return `${Math.round(ms / 86_400_000)} days`;
}
