/** What is answered where nothing reached the app: requests that are none, too long or too slow. */
import type { IncomingMessage } from 'node:http';
import type { Http2ServerRequest } from 'node:http2';
import { HttpError } from './errors.ts';

export const messages = {
  hosts: 'The request names more than one Host.',
  largeHeaders: 'The headers are too large.',
  slow: 'The request took too long to arrive.',
  noHttp: 'This is not HTTP/1.1, nor HTTP/2 with prior knowledge.',
};

/** The answer's body. */
export function malformedBody(message: string): string {
  return JSON.stringify(new HttpError('bad-request', message).body());
}

/**
 * The whole answer, for a connection without a request.
 * @param code of the error that Node's parser gave
 */
export function malformedAnswer(code: string | undefined): string {
  const [status, message] =
    code === 'HPE_HEADER_OVERFLOW'
      ? ['431 Request Header Fields Too Large', messages.largeHeaders]
      : code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? ['408 Request Timeout', messages.slow]
        : ['400 Bad Request', messages.noHttp];
  const body = malformedBody(message);
  return [
    `HTTP/1.1 ${status}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
    '',
    body,
  ].join('\r\n');
}

/** As HTTP/2 counts them (RFC 9113 section 6.5.2); Node itself lets 64 KiB pass. */
export function headerBytes(incoming: Http2ServerRequest): number {
  return incoming.rawHeaders.reduce((sum, text) => sum + Buffer.byteLength(text) + 16, 0);
}

/** Node takes the first of several; RFC 9112 section 3.2 wants none of them believed. */
export function hostsOf({ rawHeaders }: IncomingMessage): number {
  let count = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (rawHeaders[at]?.toLowerCase() === 'host') count += 1;
  }
  return count;
}
