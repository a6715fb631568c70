/**
 * A master key that AWS KMS keeps (or a server that speaks its protocol): it wraps and unwraps data
 * keys there, by two calls of its JSON API (docs.aws.amazon.com/kms/latest/APIReference). So what
 * is encrypted under it can be read after a restart only with the link up.
 */
import { StorageError } from '../../storage/errors.ts';
import type { MasterKey } from '../../storage/keys.ts';
import type { Clock } from '../../storage/ports.ts';
import { findCredentials, signedHeaders, type Credentials } from './sign-request.ts';
import { sha256Hex } from './sigv4.ts';

export interface KmsOptions {
  /** An ARN, an id or an alias. */
  readonly keyId: string;
  /** null: that of the ARN. */
  readonly region: string | null;
  /** null: AWS. */
  readonly endpoint: string | null;
  /** null, both of them: found as every AWS program does. */
  readonly accessKeyId: string | null;
  readonly secretAccessKey: string | null;
  readonly clock: Clock;
  readonly fetch: typeof fetch;
}

const answerTimeoutMs = 10_000;
const answerBytesMax = 64 * 1024;

/** @throws StorageError `invalid-argument` when nothing says the region */
export function kmsMasterKey(options: KmsOptions): MasterKey {
  const { keyId, endpoint } = options;
  const region = options.region ?? regionOf(keyId);
  if (region === null) {
    throw new StorageError('invalid-argument', 'encryption.kms.region is needed beside a keyId');
  }
  const url = new URL(endpoint ?? `https://kms.${region}.amazonaws.com/`);
  const call = (operation: string, input: object): Promise<Readonly<Record<string, unknown>>> =>
    callKms(options, { operation, url, region, body: JSON.stringify({ ...input, KeyId: keyId }) });
  return {
    id: `kms:${keyId}`,
    wrap: async (dataKey, context) =>
      bytesOf(
        await call('Encrypt', {
          Plaintext: dataKey.toString('base64'),
          EncryptionContext: context,
        }),
        'CiphertextBlob',
      ),
    unwrap: async (wrapped, context) =>
      bytesOf(
        await call('Decrypt', {
          CiphertextBlob: wrapped.toString('base64'),
          EncryptionContext: context,
        }),
        'Plaintext',
      ),
  };
}

/** The region of a key's ARN; null: it is none. */
function regionOf(keyId: string): string | null {
  return /^arn:[^:]*:kms:([a-z0-9-]+):/.exec(keyId)?.[1] ?? null;
}

interface Call {
  readonly operation: string;
  readonly url: URL;
  readonly region: string;
  readonly body: string;
}

async function callKms(
  options: KmsOptions,
  call: Call,
): Promise<Readonly<Record<string, unknown>>> {
  const headers = await headersOf(options, call);
  let status: number;
  let text: string;
  try {
    const response = await options.fetch(call.url, {
      method: 'POST',
      headers,
      body: call.body,
      redirect: 'error',
      signal: AbortSignal.timeout(answerTimeoutMs),
    });
    status = response.status;
    text = (await response.text()).slice(0, answerBytesMax);
  } catch (cause) {
    throw new StorageError(
      'key-unavailable',
      `the key service at ${call.url.host} does not answer`,
      {
        cause,
      },
    );
  }
  const answer = parse(text);
  if (status === 200 && answer !== null) return answer;
  const type = /[A-Za-z]+$/.exec(typeOf(answer))?.[0] ?? `status ${status}`;
  const wrong = ['InvalidCiphertextException', 'IncorrectKeyException'].includes(type);
  throw new StorageError(
    wrong ? 'wrong-key' : 'key-unavailable',
    wrong
      ? `the master key kms:${options.keyId} does not open what is wrapped`
      : `the key service at ${call.url.host} refuses to ${call.operation.toLowerCase()} with ${options.keyId} (${type})`,
  );
}

async function headersOf(options: KmsOptions, call: Call): Promise<Record<string, string>> {
  const credentials = await credentialsOf(options);
  const { url, region, operation } = call;
  const headers = {
    'content-type': 'application/x-amz-json-1.1',
    'x-amz-target': `TrentService.${operation}`,
  };
  const payloadHash = sha256Hex(Buffer.from(call.body));
  const request = { url, headers, payloadHash, region, service: 'kms' };
  return signedHeaders(request, credentials, options.clock.nowMs());
}

async function credentialsOf(options: KmsOptions): Promise<Credentials> {
  try {
    return await findCredentials(options);
  } catch (cause) {
    const message = 'there are no credentials for the key service: set those of encryption.kms';
    throw new StorageError('key-unavailable', message, { cause });
  }
}

function parse(text: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

function typeOf(answer: Readonly<Record<string, unknown>> | null): string {
  const type = answer?.['__type'];
  return typeof type === 'string' ? type : '';
}

function bytesOf(answer: Readonly<Record<string, unknown>>, name: string): Buffer {
  const text = answer[name];
  if (typeof text === 'string' && text !== '') return Buffer.from(text, 'base64');
  throw new StorageError('key-unavailable', `the answer of the key service has no ${name}`);
}
