/**
 * Makes X.509 certificates (RFC 5280), version 3, ECDSA P-256 with SHA-256: an authority of one's
 * own, and certificates of a server that it signs. DER is written here, as little of it as that
 * takes; reading and checking certificates is Node's (`X509Certificate`).
 *
 * When which certificate is made, and where it is kept, is certificates.ts's business.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  type KeyObject,
} from 'node:crypto';
import { isIP } from 'node:net';

export interface Issued {
  /** PEM. */
  readonly cert: string;
  /** PEM, PKCS #8. */
  readonly key: string;
}

interface Validity {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** An authority, which vouches for itself. */
export function createAuthority(commonName: string, validity: Validity): Issued {
  const { privateKey, publicKey } = newKeys();
  const subject = name(commonName);
  const cert = certificate({
    ...{ issuer: subject, subject, publicKey, signer: privateKey, validity },
    extensions: [
      extension(oids.basicConstraints, sequence(boolean(true), integer(Buffer.from([0]))), true),
      extension(oids.keyUsage, bitString(Buffer.from([0x06]), 1), true), // keyCertSign, cRLSign
      extension(oids.subjectKeyIdentifier, octetString(keyIdentifier(publicKey))),
    ],
  });
  return { cert, key: pemOf(privateKey) };
}

/** A server's certificate. @param names DNS names and IP addresses; the first is its common name */
export function createServerCertificate(
  authority: Issued,
  authorityName: string,
  names: readonly string[],
  validity: Validity,
): Issued {
  const { privateKey, publicKey } = newKeys();
  const signer = createPrivateKey(authority.key);
  const cert = certificate({
    ...{ issuer: name(authorityName), subject: name((names[0] ?? 'headgate').slice(0, 64)) },
    ...{ publicKey, signer, validity },
    extensions: [
      extension(oids.basicConstraints, sequence(), true),
      extension(oids.keyUsage, bitString(Buffer.from([0x80]), 7), true), // digitalSignature
      extension(oids.extendedKeyUsage, sequence(oids.serverAuth)),
      extension(oids.subjectAltName, sequence(...names.map(alternativeName))),
      extension(oids.subjectKeyIdentifier, octetString(keyIdentifier(publicKey))),
      extension(
        oids.authorityKeyIdentifier,
        sequence(element(0x80, keyIdentifier(createPublicKey(signer)))),
      ),
    ],
  });
  return { cert, key: pemOf(privateKey) };
}

function newKeys(): { privateKey: KeyObject; publicKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

function pemOf(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function spkiOf(key: KeyObject): Buffer {
  return key.export({ type: 'spki', format: 'der' });
}

/** Any stable name of the key will do (RFC 5280, 4.2.1.2): 160 bits of a hash, as is usual. */
function keyIdentifier(publicKey: KeyObject): Buffer {
  return createHash('sha256').update(spkiOf(publicKey)).digest().subarray(0, 20);
}

interface CertificateParts {
  readonly issuer: Buffer;
  readonly subject: Buffer;
  readonly publicKey: KeyObject;
  readonly signer: KeyObject;
  readonly validity: Validity;
  readonly extensions: readonly Buffer[];
}

function certificate(parts: CertificateParts): string {
  const algorithm = sequence(oids.ecdsaWithSha256);
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40; // Positive, and of one length.
  const toBeSigned = sequence(
    element(0xa0, integer(Buffer.from([2]))), // Version 3.
    integer(serial),
    algorithm,
    parts.issuer,
    sequence(time(parts.validity.notBeforeMs), time(parts.validity.notAfterMs)),
    parts.subject,
    spkiOf(parts.publicKey),
    element(0xa3, sequence(...parts.extensions)),
  );
  const signature = sign('sha256', toBeSigned, parts.signer);
  const der = sequence(toBeSigned, algorithm, bitString(signature, 0));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}

// ---------------------------------------------------------------- DER (ITU-T X.690)

/** Object identifiers, encoded. */
const oids = {
  ecdsaWithSha256: Buffer.from('06082a8648ce3d040302', 'hex'),
  commonName: Buffer.from('0603550403', 'hex'),
  basicConstraints: Buffer.from('0603551d13', 'hex'),
  keyUsage: Buffer.from('0603551d0f', 'hex'),
  extendedKeyUsage: Buffer.from('0603551d25', 'hex'),
  subjectAltName: Buffer.from('0603551d11', 'hex'),
  subjectKeyIdentifier: Buffer.from('0603551d0e', 'hex'),
  authorityKeyIdentifier: Buffer.from('0603551d23', 'hex'),
  serverAuth: Buffer.from('06082b06010505070301', 'hex'),
};

function element(tag: number, content: Buffer): Buffer {
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content]);
  const bytes = Buffer.from(length.toString(16).padStart(length > 0xff ? 4 : 2, '0'), 'hex');
  return Buffer.concat([Buffer.from([tag, 0x80 | bytes.length]), bytes, content]);
}

const sequence = (...items: readonly Buffer[]): Buffer => element(0x30, Buffer.concat(items));
const integer = (bytes: Buffer): Buffer => element(0x02, bytes);
const boolean = (value: boolean): Buffer => element(0x01, Buffer.from([value ? 0xff : 0]));
const octetString = (content: Buffer): Buffer => element(0x04, content);

function bitString(content: Buffer, unusedBits: number): Buffer {
  return element(0x03, Buffer.concat([Buffer.from([unusedBits]), content]));
}

function extension(oid: Buffer, value: Buffer, critical = false): Buffer {
  return sequence(oid, ...(critical ? [boolean(true)] : []), octetString(value));
}

/** A distinguished name of nothing but a common name. */
function name(commonName: string): Buffer {
  const attribute = sequence(oids.commonName, element(0x0c, Buffer.from(commonName)));
  return sequence(element(0x31, attribute));
}

/** UTCTime until 2049, GeneralizedTime after it (RFC 5280, 4.1.2.5). */
function time(ms: number): Buffer {
  const digits = `${new Date(ms).toISOString().replace(/\D/g, '').slice(0, 14)}Z`;
  const short = Number(digits.slice(0, 4)) < 2050;
  return element(short ? 0x17 : 0x18, Buffer.from(short ? digits.slice(2) : digits));
}

function alternativeName(text: string): Buffer {
  const family = isIP(text);
  if (family === 0) return element(0x82, Buffer.from(text, 'latin1'));
  return element(0x87, family === 4 ? Buffer.from(text.split('.').map(Number)) : ipv6(text));
}

function ipv6(text: string): Buffer {
  // The URL parser writes every form of the address out in one: compressed hexadecimal groups.
  const [head = '', tail] = new URL(`http://[${text}]`).hostname.slice(1, -1).split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const [before, after] = [groups(head), groups(tail ?? '')];
  const zeros = new Array<string>(8 - before.length - after.length).fill('0');
  const all = [...before, ...zeros, ...after];
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex');
}
