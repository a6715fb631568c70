/**
 * What the sinks have in common that keep connections of a protocol of their own (NATS, Kafka,
 * PostgreSQL): how waiting is called off, and what the system's and TLS's errors mean.
 */
import { readFile } from 'node:fs/promises';
import { rootCertificates } from 'node:tls';
import { SinkError, type SinkErrorCode } from '../sink.ts';

/**
 * Waits for the work, no longer than until the signal aborts.
 * @throws SinkError `aborted`; whatever the work throws
 */
export async function unlessCalledOff<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const calledOff = (): SinkError => new SinkError('aborted', 'called off');
  if (signal.aborted) throw calledOff();
  let onAbort = (): void => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => {
      reject(calledOff());
    };
  });
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work(), aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Which keys of the configuration say where a destination is, and whom to trust. */
export interface ConnectionKeys {
  /** Such as `to.nats.servers`. */
  readonly address: string;
  /** Such as `to.nats.caFile`. */
  readonly authority: string;
}

/** What a certificate may be refused for. */
export const byCertificate: Readonly<Record<string, SinkErrorCode>> = {
  CERT_HAS_EXPIRED: 'untrusted',
  CERT_NOT_YET_VALID: 'untrusted',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'untrusted',
  SELF_SIGNED_CERT_IN_CHAIN: 'untrusted',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'untrusted',
  UNABLE_TO_GET_ISSUER_CERT: 'untrusted',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'untrusted',
  ERR_TLS_CERT_ALTNAME_INVALID: 'untrusted',
};
const byCode: Readonly<Record<string, SinkErrorCode>> = { ...byCertificate, ETIMEDOUT: 'timeout' };
const advised: Readonly<Record<string, (keys: ConnectionKeys) => string>> = {
  CERT_HAS_EXPIRED: () =>
    "The server's certificate has expired, or this machine's clock is wrong: renew the one or set the other.",
  ERR_TLS_CERT_ALTNAME_INVALID: ({ address }) =>
    `The server's certificate is for another name than the one it is called by: correct ${address}, or the certificate.`,
  ECONNREFUSED: ({ address }) =>
    `Nothing listens there. Check ${address}, and whether the server runs.`,
  ENOTFOUND: ({ address }) =>
    `The name is not found. Without a link it comes back by itself; otherwise check ${address}, and DNS.`,
  EAI_AGAIN: ({ address }) =>
    `The name is not found. Without a link it comes back by itself; otherwise check ${address}, and DNS.`,
};
/** As the system and OpenSSL have them: `ECONNRESET`, `ERR_SSL_WRONG_VERSION_NUMBER`. */
const codePattern = /^(E[A-Z]+|EAI_[A-Z]+|ERR_(SSL|TLS)_[A-Z_]+)$/;
const causesMax = 8;

/** What an error means that has one of the system or of TLS among its causes; null: it has none. */
export function connectionError(error: unknown, keys: ConnectionKeys): SinkError | null {
  const found = systemError(error, causesMax);
  if (found === null) return null;
  const { code, message } = found;
  const kind = byCode[code] ?? 'unreachable';
  const distrust = `The server's certificate is not trusted here. Give the gateway the authority that signed it (${keys.authority}), or correct ${keys.address}.`;
  const advice = advised[code]?.(keys) ?? (kind === 'untrusted' ? distrust : null);
  const text = message.startsWith(code) ? message : `${code}: ${message}`;
  return new SinkError(kind, text, { cause: error, advice });
}

function systemError(
  error: unknown,
  depth: number,
): { readonly code: string; readonly message: string } | null {
  if (!(error instanceof Error) || depth === 0) return null;
  const code = 'code' in error ? String(error.code) : '';
  if (Object.hasOwn(byCode, code) || codePattern.test(code)) {
    return { code, message: error.message };
  }
  const causes: unknown[] = error instanceof AggregateError ? error.errors : [];
  for (const cause of [error.cause, ...causes]) {
    const found = systemError(cause, depth - 1);
    if (found !== null) return found;
  }
  return null;
}

/** Certificates and keys as files in PEM; null: none. */
export interface TlsFiles {
  /** Authorities that are trusted beside those that Node knows. */
  readonly caFile: string | null;
  readonly certFile: string | null;
  readonly keyFile: string | null;
}

export interface TlsContents {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/**
 * Reads them anew for each connection: somebody may have renewed them.
 * @throws SinkError `untrusted`
 */
export async function readTlsFiles(files: TlsFiles): Promise<TlsContents> {
  const [ca, cert, key] = await Promise.all(
    [files.caFile, files.certFile, files.keyFile].map(textOf),
  );
  return {
    ...(typeof ca === 'string' && { ca: [...rootCertificates, ca].join('\n') }),
    ...(typeof cert === 'string' && { cert }),
    ...(typeof key === 'string' && { key }),
  };
}

async function textOf(file: string | null): Promise<string | null> {
  return file === null ? null : readFileFor(file, 'untrusted');
}

/** @throws SinkError with that code, when the file can't be read */
export async function readFileFor(file: string, code: SinkErrorCode): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new SinkError(code, `${file} can't be read: ${codeOf(cause)}`, {
      cause,
      advice: `Correct its path, or let the gateway read it.`,
    });
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}
