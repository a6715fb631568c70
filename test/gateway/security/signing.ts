/** Requests signed by the AWS SDK's own signer, as our checker gets them. */
import { createHash, createHmac } from 'node:crypto';
import { SignatureV4 } from '@smithy/signature-v4';
import type { AwsRequest } from '../../../gateway/security/aws-authenticator.ts';

export const credentials = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
};

/** The hash that the signer asks for. */
export class Sha256 {
  readonly #secret: Uint8Array | null;
  #chunks: Uint8Array[] = [];

  constructor(secret?: unknown) {
    this.#secret = secret === undefined ? null : Buffer.from(secret as Uint8Array);
  }

  update(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
  }

  digest(): Promise<Uint8Array> {
    const bytes = Buffer.concat(this.#chunks);
    const hash = this.#secret === null ? createHash('sha256') : createHmac('sha256', this.#secret);
    return Promise.resolve(hash.update(bytes).digest());
  }

  reset(): void {
    this.#chunks = [];
  }
}

export interface SigningOptions {
  readonly method?: string;
  readonly path?: string;
  readonly query?: Record<string, string | string[]>;
  readonly headers?: Record<string, string>;
  readonly body?: string;
  readonly host?: string;
  /** Signs `:authority` as over HTTP/2. */
  readonly http2?: boolean;
  readonly timeMs: number;
  readonly region?: string;
  readonly service?: string;
  readonly secretAccessKey?: string;
  readonly accessKeyId?: string;
  readonly sessionToken?: string;
  /** Adds x-amz-content-sha256. */
  readonly applyChecksum?: boolean;
  /** Presigns for so many seconds. */
  readonly expiresIn?: number;
}

export const target = 'Kinesis_20131202.PutRecord';
export const defaultBody = '{"StreamName":"readings","PartitionKey":"a","Data":"YQ=="}';

export async function signed(options: SigningOptions): Promise<AwsRequest> {
  const { body = defaultBody, host = '127.0.0.1:8080' } = options;
  const signer = new SignatureV4({
    credentials: {
      ...credentials,
      ...(options.accessKeyId !== undefined && { accessKeyId: options.accessKeyId }),
      ...(options.secretAccessKey !== undefined && { secretAccessKey: options.secretAccessKey }),
      ...(options.sessionToken !== undefined && { sessionToken: options.sessionToken }),
    },
    region: options.region ?? 'us-east-1',
    service: options.service ?? 'kinesis',
    sha256: Sha256,
    applyChecksum: options.applyChecksum ?? true,
  });
  const [hostname = '', port] = host.split(':');
  const request = {
    method: options.method ?? 'POST',
    protocol: 'http:',
    hostname,
    ...(port !== undefined && { port: Number(port) }),
    path: options.path ?? '/',
    query: options.query ?? {},
    headers: {
      'content-type': 'application/x-amz-json-1.1',
      'x-amz-target': target,
      [options.http2 === true ? ':authority' : 'host']: host,
      ...options.headers,
    },
    body,
  };
  const signingDate = new Date(options.timeMs);
  const made =
    options.expiresIn === undefined
      ? await signer.sign(request, { signingDate })
      : await signer.presign(request, {
          signingDate,
          expiresIn: options.expiresIn,
          unhoistableHeaders: new Set(['x-amz-target']),
        });
  const pairs = Object.entries(made.query ?? {}).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value ?? '']).map(
      (one) => `${encodeURIComponent(name)}=${encodeURIComponent(one)}`,
    ),
  );
  const search = pairs.length === 0 ? '' : `?${pairs.join('&')}`;
  return {
    method: made.method,
    url: new URL(`http://${host}${made.path}${search}`),
    headers: new Headers(Object.entries(made.headers).filter(([name]) => !name.startsWith(':'))),
    body: Buffer.from(body),
  };
}

/** A request with some of it changed after it was signed. */
export function changed(
  request: AwsRequest,
  change: Partial<Omit<AwsRequest, 'headers'>> & {
    readonly headers?: Readonly<Record<string, string | null>>;
  },
): AwsRequest {
  const headers = new Headers(request.headers);
  for (const [name, value] of Object.entries(change.headers ?? {})) {
    if (value === null) headers.delete(name);
    else headers.set(name, value);
  }
  return { ...request, ...change, headers };
}
