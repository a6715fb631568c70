/**
 * Addresses of cameras that are fetched from: `rtsp://user:password@host:554/path?query`.
 *
 * They are taken apart here and nowhere else, so what was checked is what is connected to: no
 * other program gets to read the same text in another way.
 */
import { SourceError } from '../../source.ts';
import type { RtspUser } from '../authentication.ts';

export interface CameraAddress {
  readonly tls: boolean;
  /** A name or an IP address, the latter without brackets. */
  readonly host: string;
  readonly port: number;
  /** Path and query, as they were written; begins with `/` or `?`, or is empty. */
  readonly path: string;
  readonly user: RtspUser | null;
}

const defaultPort = 554;
/** As IANA has it registered for `rtsps`. */
const defaultTlsPort = 322;
const lengthMax = 2048;

/**
 * Takes the address of a camera apart. What stands before the last `@` of the authority is user
 * and password, percent-encoded where they hold `/ ? # @ : %`.
 *
 * @throws SourceError `unsupported` that says what is wrong, without the password
 */
export function parseCameraUrl(url: string): CameraAddress {
  if (url.length > lengthMax) throw invalid('it is too long');
  if (/[\s\p{Cc}\\]/u.test(url)) {
    throw invalid('it has white space, a control character or a backslash in it');
  }
  const match = /^(rtsps?):\/\/([^/?#]*)([^#]*)(#.*)?$/i.exec(url);
  if (match === null) throw invalid('it does not begin with rtsp:// or rtsps://');
  const [, scheme = '', authority = '', path = '', fragment] = match;
  if (fragment !== undefined) throw invalid('a # is written %23');
  const at = authority.lastIndexOf('@');
  // What looks like host and path is then most likely the rest of a password.
  if (at !== -1 && /^[^?]*@/.test(path)) {
    throw invalid('in a password, @ is written %40 and / is written %2F; in a path, @ too');
  }
  const place = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::(\d{1,5}))?$/i.exec(
    authority.slice(at + 1),
  );
  if (place === null) {
    throw invalid(
      'its host or port can not be read (a password with / ? # or @ is percent-encoded)',
    );
  }
  const tls = scheme.toLowerCase() === 'rtsps';
  const port = Number(place[3] ?? (tls ? defaultTlsPort : defaultPort));
  if (port < 1 || port > 65_535) throw invalid('there is no such port');
  return {
    tls,
    host: place[1] ?? place[2] ?? '',
    port,
    path,
    user: at === -1 ? null : parseUser(authority.slice(0, at)),
  };
}

/** The address as it is sent to the camera and shown to people: without user and password. */
export function plainUrl({ tls, host, port, path }: CameraAddress): string {
  const shownHost = host.includes(':') ? `[${host}]` : host;
  const shownPort = port === (tls ? defaultTlsPort : defaultPort) ? '' : `:${port}`;
  return `${tls ? 'rtsps' : 'rtsp'}://${shownHost}${shownPort}${path}`;
}

function parseUser(text: string): RtspUser {
  const colon = text.indexOf(':');
  const username = colon === -1 ? text : text.slice(0, colon);
  return {
    username: decoded(username),
    password: colon === -1 ? '' : decoded(text.slice(colon + 1)),
  };
}

/** A password with a bare `%` in it stands for itself. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function invalid(reason: string): SourceError {
  return new SourceError('unsupported', `the address of the camera can't be used: ${reason}`);
}
