/** What the keys of one destination mean together. */
import { compileQuery } from '../../forward/query/query.ts';

export interface DestinationProblem {
  readonly key: string;
  readonly message: string;
  readonly allowed?: string;
}

type Fields = Readonly<Record<string, unknown>>;

/** @param kind such as `http` @param to what stands under it, perhaps with other mistakes */
export function destinationProblems(kind: string, to: Fields): readonly DestinationProblem[] {
  if (kind === 'http') return addressProblems('url', to['url']);
  if (kind === 'splunk') return addressProblems('endpoint', to['endpoint']);
  if (kind !== 'opensearch') return [];
  const { username, password, service, documentId, idQuery } = to;
  const problems = [...addressProblems('endpoint', to['endpoint'])];
  if (typeof username === 'string' && password === null) {
    problems.push({ key: 'username', message: 'needs password beside it' });
  }
  if (typeof password === 'string' && username === null) {
    problems.push({ key: 'password', message: 'needs username beside it' });
  }
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
    const problem = queryProblem(idQuery);
    if (problem !== null) problems.push({ key: 'idQuery', message: `is no query: ${problem}` });
  }
  return problems;
}

function queryProblem(text: string): string | null {
  try {
    compileQuery(text, 'jmespath');
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Passwords have keys of their own, which are not shown. */
function addressProblems(key: string, address: unknown): readonly DestinationProblem[] {
  if (typeof address !== 'string' || !URL.canParse(address)) return [];
  if (new URL(address).username === '') return [];
  return [{ key, message: 'has a user in it', allowed: 'a URL without one' }];
}
