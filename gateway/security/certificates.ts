/**
 * The certificate that the gateway shows where none of one's own is configured.
 *
 * `<dataDir>/access/tls` holds an authority of this box (`ca.pem`, `ca.key`) and a certificate
 * that it signed (`gateway.pem`, `gateway.key`); keys have mode 0600. The authority is made once
 * and lasts: devices and browsers are given `ca.pem`, and go on trusting the box when its
 * certificate is made anew, which happens at a start when it ends within 90 days or lacks a name
 * or an address that the machine has now. `gateway.pem` is written last: without it, all is made
 * again.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { isIP } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';
import { join } from 'node:path';
import type { KeyPair } from '../http/tls.ts';
import { createAuthority, createServerCertificate, type Issued } from './x509.ts';

const dayMs = 24 * 3_600_000;
/** Browsers of Apple take no longer ones. */
const lifeMs = 800 * dayMs;
const renewBeforeMs = 90 * dayMs;
/** No clock that is right says less; one that is wrong must not make a certificate of 1970. */
const notBeforeLeastMs = Date.UTC(2026, 0, 1);
/** The authority does not depend on the clock, which may be wrong when it is made. */
const authorityLife = { notBeforeMs: Date.UTC(2025, 0, 1), notAfterMs: Date.UTC(2049, 11, 31) };
const namesMax = 64;

export interface Certificate extends KeyPair {
  /** SHA-256 of the certificate, as browsers show it: `AB:CD:…`. */
  readonly fingerprint: string;
  /** What devices are given to trust; null: that is known to who brought the certificate. */
  readonly caFile: string | null;
  /** Of that file, in the same form. */
  readonly caFingerprint: string | null;
  readonly notAfterMs: number;
}

/** The names and addresses by which this machine may be called; `localhost` is among them. */
export function ownNames(): readonly string[] {
  const host = hostname().toLowerCase();
  const names = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/.test(host) ? [host] : [];
  // What multicast DNS calls a machine without a domain.
  if (names.length > 0 && !host.includes('.')) names.push(`${host}.local`);
  const addresses = Object.values(networkInterfaces()).flatMap((list) =>
    (list ?? []).map(({ address }) => address).filter((address) => !/^fe80:/i.test(address)),
  );
  return [...new Set([...names, 'localhost', '127.0.0.1', '::1', ...addresses])].slice(0, namesMax);
}

/**
 * A certificate and key from files of one's own.
 * @throws Error for people: a file can't be read or holds no such thing, the two don't belong
 *   together
 */
export async function readCertificate(certFile: string, keyFile: string): Promise<Certificate> {
  const cert = await readFile(certFile, 'utf8').catch(unreadable('tls.certFile', certFile));
  const key = await readFile(keyFile, 'utf8').catch(unreadable('tls.keyFile', keyFile));
  const parsed = attempt(() => new X509Certificate(cert));
  if (parsed === null) throw new Error(`tls.certFile: ${certFile} holds no certificate (PEM)`);
  const privateKey = attempt(() => createPrivateKey(key));
  if (privateKey === null) {
    throw new Error(`tls.keyFile: ${keyFile} holds no private key (PEM, without a password)`);
  }
  if (!parsed.checkPrivateKey(privateKey)) {
    throw new Error(`tls.keyFile: ${keyFile} is not the key of ${certFile}`);
  }
  return { cert, key, ...describe(parsed), caFile: null, caFingerprint: null };
}

/**
 * The box's own certificate as it is; null: there is none.
 * @param folder usually `<dataDir>/access`
 */
export async function keptCertificate(folder: string): Promise<Certificate | null> {
  const paths = pathsIn(folder);
  const known = await readPair(paths.cert, paths.key);
  return known === null ? null : withAuthority(known, paths.ca);
}

function pathsIn(access: string): Readonly<Record<'ca' | 'caKey' | 'cert' | 'key', string>> {
  const folder = join(access, 'tls');
  return {
    ca: join(folder, 'ca.pem'),
    caKey: join(folder, 'ca.key'),
    cert: join(folder, 'gateway.pem'),
    key: join(folder, 'gateway.key'),
  };
}

/** The box's own certificate, made or renewed when that is due. @throws the system's errors */
export async function ownCertificate(options: {
  /** Usually `<dataDir>/access`. */
  readonly folder: string;
  readonly names: readonly string[];
  readonly nowMs: number;
}): Promise<Certificate> {
  const known = await keptCertificate(options.folder);
  if (known !== null && serves(new X509Certificate(known.cert), options)) return known;
  const paths = pathsIn(options.folder);
  await mkdir(join(options.folder, 'tls'), { recursive: true, mode: 0o700 });
  const authority = (await readPair(paths.ca, paths.caKey)) ?? (await newAuthority(paths));
  const issuer = commonNameOf(new X509Certificate(authority.cert));
  const fromMs = Math.max(options.nowMs, notBeforeLeastMs) - dayMs;
  const validity = { notBeforeMs: fromMs, notAfterMs: fromMs + lifeMs };
  const issued = createServerCertificate(authority, issuer, options.names, validity);
  const chain = issued.cert + authority.cert;
  await write(paths.key, issued.key, 0o600);
  await write(paths.cert, chain, 0o644);
  return withAuthority({ cert: chain, key: issued.key }, paths.ca);
}

/** The authority is at the end of the chain. */
function withAuthority(issued: Issued, caFile: string): Certificate {
  const last = issued.cert.slice(issued.cert.lastIndexOf('-----BEGIN CERTIFICATE-----'));
  const caFingerprint = new X509Certificate(last).fingerprint256;
  return { ...issued, ...describe(new X509Certificate(issued.cert)), caFile, caFingerprint };
}

async function newAuthority(paths: { ca: string; caKey: string }): Promise<Issued> {
  const name = `Headgate ${hostname()}`.slice(0, 64);
  const authority = createAuthority(name, authorityLife);
  await write(paths.caKey, authority.key, 0o600);
  await write(paths.ca, authority.cert, 0o644);
  return authority;
}

/** Null when one is missing, damaged, or not the other's: they are made again. */
async function readPair(certFile: string, keyFile: string): Promise<Issued | null> {
  const read = (path: string): Promise<string | null> =>
    readFile(path, 'utf8').catch((error: unknown) => {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
      throw error;
    });
  const [cert, key] = await Promise.all([read(certFile), read(keyFile)]);
  if (cert === null || key === null) return null;
  const parsed = attempt(() => new X509Certificate(cert));
  const privateKey = attempt(() => createPrivateKey(key));
  if (parsed === null || privateKey === null || !parsed.checkPrivateKey(privateKey)) return null;
  return { cert, key };
}

function serves(
  certificate: X509Certificate,
  { names, nowMs }: { readonly names: readonly string[]; readonly nowMs: number },
): boolean {
  if (Date.parse(certificate.validTo) - nowMs < renewBeforeMs) return false;
  return names.every((name) =>
    isIP(name) === 0
      ? certificate.checkHost(name) !== undefined
      : certificate.checkIP(name) !== undefined,
  );
}

function describe(certificate: X509Certificate): { fingerprint: string; notAfterMs: number } {
  return {
    fingerprint: certificate.fingerprint256,
    notAfterMs: Date.parse(certificate.validTo),
  };
}

function commonNameOf({ subject }: X509Certificate): string {
  return /^CN=(.*)$/m.exec(subject)?.[1] ?? 'Headgate';
}

async function write(path: string, text: string, mode: number): Promise<void> {
  const file = await open(`${path}.new`, 'w', mode);
  try {
    await file.chmod(mode);
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
}

function attempt<T>(work: () => T): T | null {
  try {
    return work();
  } catch {
    return null;
  }
}

function unreadable(key: string, path: string): (error: unknown) => never {
  return (error) => {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`${key}: ${path} can't be read: ${reason}`, { cause: error });
  };
}
