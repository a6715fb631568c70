/**
 * Who may publish and who may read: Digest (RFC 2617 as RTSP uses it, and RFC 7616's SHA-256) and
 * Basic (RFC 7617). Everything is checked, also when the user's name is unknown, in the same way.
 *
 * Which credentials a path has is the configuration's business (server.ts is told).
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { parseTarget } from './url.ts';
import type { RtspRequest } from './parser.ts';

export interface RtspUser {
  readonly username: string;
  readonly password: string;
}

export type Verdict =
  | { readonly kind: 'accepted'; readonly user: RtspUser }
  /** No credentials came, or for a nonce of another connection: nothing was guessed. */
  | { readonly kind: 'asked'; readonly stale: boolean }
  | { readonly kind: 'refused' };

const authorizationCharactersMax = 2048;
const realm = 'headgate';

/**
 * The challenges of a 401. Old clients take the last Digest, whatever its algorithm (ffmpeg 5,
 * live555): so MD5 comes last, and without `algorithm`, which some can't read. Basic is there
 * for those that know nothing else; whoever can do Digest prefers it.
 */
export function challenges(nonce: string, stale: boolean): readonly string[] {
  const suffix = stale ? ', stale="true"' : '';
  return [
    `Digest realm="${realm}", nonce="${nonce}", algorithm="SHA-256"${suffix}`,
    `Digest realm="${realm}", nonce="${nonce}"${suffix}`,
    `Basic realm="${realm}"`,
  ];
}

/**
 * Checks a request's Authorization header.
 *
 * @param users those who may do this; the names need not differ
 * @param nonce what this connection was challenged with
 * @param camera the path that is meant: a Digest made for another path is refused
 */
export function authenticate(
  request: RtspRequest,
  users: readonly RtspUser[],
  nonce: string,
  camera: string,
): Verdict {
  const header = request.headers.get('authorization');
  if (header === undefined) return { kind: 'asked', stale: false };
  if (header.length > authorizationCharactersMax) return { kind: 'refused' };
  const [, scheme = '', value = ''] = /^(\S+)\s*([\s\S]*)$/.exec(header) ?? [];
  let accepts: (user: RtspUser) => boolean;
  if (/^basic$/i.test(scheme)) {
    const given = Buffer.from(value.trim(), 'base64');
    accepts = (user) => equal(given, Buffer.from(`${user.username}:${user.password}`));
  } else if (/^digest$/i.test(scheme)) {
    const digest = parameters(value);
    if (digest.get('nonce') !== nonce) return { kind: 'asked', stale: true };
    if (!isForCamera(digest.get('uri') ?? '', camera)) return { kind: 'refused' };
    accepts = (user) => acceptsDigest(digest, user, request.method);
  } else {
    return { kind: 'refused' };
  }
  // Every user is tried, so that the time it takes does not tell which names exist.
  const accepted = users.filter(accepts);
  return accepted[0] === undefined ? { kind: 'refused' } : { kind: 'accepted', user: accepted[0] };
}

function acceptsDigest(
  digest: ReadonlyMap<string, string>,
  user: RtspUser,
  method: string,
): boolean {
  const algorithm = digest.get('algorithm')?.toUpperCase() ?? 'MD5';
  if (algorithm !== 'MD5' && algorithm !== 'SHA-256') return false;
  const hash = (text: string): string =>
    createHash(algorithm === 'MD5' ? 'md5' : 'sha256')
      .update(text)
      .digest('hex');
  const field = (name: string): string => digest.get(name) ?? '';
  const secret = hash(`${user.username}:${realm}:${user.password}`);
  const action = hash(`${method}:${field('uri')}`);
  const middle = field('qop') === 'auth' ? `:${field('nc')}:${field('cnonce')}:auth:` : ':';
  const expected = hash(`${secret}:${field('nonce')}${middle}${action}`);
  // The name is hashed as well: one comparison that takes the same time wherever it differs.
  return equal(
    Buffer.from(`${hash(field('username'))}${field('response').toLowerCase()}`),
    Buffer.from(`${hash(user.username)}${expected}`),
  );
}

/** live555 signs the camera's own URL in every request, others the request's: both are accepted. */
function isForCamera(uri: string, camera: string): boolean {
  try {
    return parseTarget(uri.startsWith('/') ? `rtsp://-${uri}` : uri).camera === camera;
  } catch {
    return false;
  }
}

function parameters(text: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const match of text.matchAll(/([a-z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/gi)) {
    const [, name = '', quoted, plain] = match;
    found.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? plain ?? '');
  }
  return found;
}

function equal(a: Buffer, b: Buffer): boolean {
  const digest = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest();
  return timingSafeEqual(digest(a), digest(b));
}
