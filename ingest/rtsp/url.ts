/** RTSP addresses: which camera a request means, and which of its tracks. */
import { RtspError } from './errors.ts';

export interface RequestTarget {
  /** The first segment of the path, decoded. */
  readonly camera: string;
  /** What follows it, without the slashes around it: a track's control, or nothing. */
  readonly rest: string;
}

/**
 * Takes a request's URL apart: `rtsp://host:8554/gate/trackID=0` is camera `gate`, rest
 * `trackID=0`. Host, port and user are ignored: a camera behind a forwarded port does not know
 * what this box calls itself.
 *
 * @throws RtspError `bad-request` for what is not an rtsp or rtsps URL, `uri-too-long` past 2048 characters
 */
export function parseTarget(url: string): RequestTarget {
  if (url.length > 2048) throw new RtspError('uri-too-long', 'the URL is too long');
  const match = /^rtsps?:\/\/[^/?\s]*\/?([^/?\s]*)([^\s]*)$/i.exec(url);
  if (match === null) throw new RtspError('bad-request', 'not an rtsp:// URL');
  const [, segment = '', tail = ''] = match;
  // Some cameras repeat the query before the control (`/gate?x=1/trackID=0`).
  const rest = tail.replace(/^\?[^/]*/, '').replace(/^\/+|\/+$/g, '');
  try {
    return { camera: decodeURIComponent(segment), rest };
  } catch (cause) {
    throw new RtspError('bad-request', 'the URL is not encoded as it should be', { cause });
  }
}
