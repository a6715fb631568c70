/**
 * Signs requests of our own to AWS services, for the few calls that are not worth a client of the
 * SDK. How a signature is made is in sigv4.ts.
 */
import { algorithm, scopeText, signatureOf, signingKey, timestampOf } from './sigv4.ts';

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

/** Of the configuration; null, both of them: found as every AWS program does. */
export interface ConfiguredCredentials {
  readonly accessKeyId: string | null;
  readonly secretAccessKey: string | null;
}

export interface RequestOfOurs {
  /** Default POST. */
  readonly method?: string;
  readonly url: URL;
  /** By lower-case name, without `host`. */
  readonly headers: Readonly<Record<string, string>>;
  /** SHA-256 of the body, in hexadecimal digits. */
  readonly payloadHash: string;
  readonly region: string;
  /** As signatures name it, such as `kms`. */
  readonly service: string;
}

/** @throws Error of the SDK when there are none anywhere */
export async function findCredentials(configured: ConfiguredCredentials): Promise<Credentials> {
  const { accessKeyId, secretAccessKey } = configured;
  if (accessKeyId !== null && secretAccessKey !== null) return { accessKeyId, secretAccessKey };
  // Large, and not needed by every command that knows of AWS.
  const { defaultProvider } = await import('@aws-sdk/credential-provider-node');
  // Files are read anew each time: somebody may have put new credentials there.
  return defaultProvider({ ignoreCache: true })();
}

/** The headers of a request with its signature among them. */
export function signedHeaders(
  { method = 'POST', url, headers, payloadHash, region, service }: RequestOfOurs,
  { accessKeyId, secretAccessKey, sessionToken }: Credentials,
  nowMs: number,
): Record<string, string> {
  const timestamp = timestampOf(nowMs);
  const scope = { date: timestamp.slice(0, 8), region, service };
  const sent: Record<string, string> = {
    ...headers,
    'x-amz-date': timestamp,
    ...(sessionToken === undefined ? {} : { 'x-amz-security-token': sessionToken }),
  };
  const names = [...Object.keys(sent), 'host'].sort();
  const signature = signatureOf(
    {
      method,
      url,
      header: (name) => (name === 'host' ? url.host : sent[name]),
      signedHeaders: names,
      payloadHash,
    },
    timestamp,
    scope,
    signingKey(secretAccessKey, scope),
  );
  return {
    ...sent,
    authorization: `${algorithm} Credential=${accessKeyId}/${scopeText(scope)}, SignedHeaders=${names.join(';')}, Signature=${signature}`,
  };
}
