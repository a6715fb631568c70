/** What the keys of one destination mean together. */
import { jmespathProblem } from '../query-rules.ts';

export interface DestinationProblem {
  /** Under the destination; with dots between its parts. */
  readonly key: string;
  readonly message: string;
  readonly allowed?: string;
}

type Fields = Readonly<Record<string, unknown>>;

/** @param kind such as `http` @param to what stands under it, perhaps with other mistakes */
export function destinationProblems(kind: string, to: Fields): readonly DestinationProblem[] {
  if (kind === 'http') return addressProblems('url', to['url']);
  if (kind === 'splunk') return addressProblems('endpoint', to['endpoint']);
  if (kind === 'nats') return natsProblems(to);
  if (kind === 'kafka') return kafkaProblems(to);
  if (kind === 'redshift') return redshiftProblems(to);
  if (kind !== 'opensearch') return [];
  const { username, service, documentId, idQuery } = to;
  const problems = [
    ...addressProblems('endpoint', to['endpoint']),
    ...pairProblems(to, 'username', 'password'),
  ];
  if (typeof username === 'string' && typeof service === 'string') {
    problems.push({ key: 'username', message: 'is a login, and service signs: one of the two' });
  }
  if (documentId === 'query' && idQuery === null) {
    problems.push({ key: 'documentId', message: 'needs idQuery beside it' });
  }
  if (typeof idQuery === 'string') {
    if (documentId !== 'query') {
      problems.push({ key: 'idQuery', message: 'needs "documentId: query" beside it' });
    }
    const problem = jmespathProblem(idQuery);
    if (problem !== null) problems.push({ key: 'idQuery', ...problem });
  }
  return problems;
}

function natsProblems(to: Fields): readonly DestinationProblem[] {
  const servers = Array.isArray(to['servers']) ? (to['servers'] as unknown[]) : [];
  const ways = ['username', 'token', 'nkeySeed', 'credentialsFile'];
  const [, second] = ways.filter((key) => typeof to[key] === 'string');
  return [
    ...servers.flatMap((server) => addressProblems('servers', server)),
    ...pairProblems(to, 'username', 'password'),
    ...pairProblems(to, 'certFile', 'keyFile'),
    ...(second === undefined
      ? []
      : [{ key: second, message: 'is a second way in', allowed: `one of ${ways.join(', ')}` }]),
  ];
}

function kafkaProblems(to: Fields): readonly DestinationProblem[] {
  const { sasl, username, tls } = to;
  const problems = [
    ...pairProblems(to, 'username', 'password'),
    ...pairProblems(to, 'certFile', 'keyFile'),
  ];
  const isNamed = typeof username === 'string';
  if (sasl === 'none' && isNamed) {
    problems.push({ key: 'username', message: 'needs sasl, which says how it is shown' });
  }
  if (typeof sasl === 'string' && sasl !== 'none' && username === null) {
    problems.push({ key: 'sasl', message: 'needs username and password beside it' });
  }
  for (const key of ['caFile', 'certFile']) {
    if (typeof to[key] !== 'string' || tls !== false) continue;
    problems.push({ key, message: 'is of TLS, and tls is false' });
  }
  return problems;
}

function redshiftProblems(to: Fields): readonly DestinationProblem[] {
  const staging = (to['staging'] ?? {}) as Fields;
  const problems = [...pairProblems(staging, 'accessKeyId', 'secretAccessKey', 'staging.')];
  if (to['iamRole'] === null && staging['accessKeyId'] === null) {
    problems.push({
      key: 'iamRole',
      message: 'is missing, and staging has no keys for the cluster to read the objects with',
      allowed: 'a role, or staging.accessKeyId and secretAccessKey',
    });
  }
  if (typeof to['caFile'] === 'string' && to['tls'] === false) {
    problems.push({ key: 'caFile', message: 'is of TLS, and tls is false' });
  }
  return problems;
}

/** @param within what the keys' names begin with */
function pairProblems(to: Fields, one: string, other: string, within = ''): DestinationProblem[] {
  return [
    [one, other],
    [other, one],
  ].flatMap(([key = '', missing = '']) =>
    typeof to[key] === 'string' && to[missing] === null
      ? [{ key: `${within}${key}`, message: `needs ${missing} beside it` }]
      : [],
  );
}

/** Passwords have keys of their own, which are not shown. */
function addressProblems(key: string, address: unknown): readonly DestinationProblem[] {
  if (typeof address !== 'string' || !URL.canParse(address)) return [];
  if (new URL(address).username === '') return [];
  return [{ key, message: 'has a user in it', allowed: 'a URL without one' }];
}
