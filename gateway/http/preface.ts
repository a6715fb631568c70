/** Tells TLS, HTTP/2 and HTTP/1 apart by the first bytes of a connection. */
import type { Socket } from 'node:net';

export type Protocol = 'http1' | 'http2' | 'tls';

/** The content type of a handshake record (RFC 8446 section 5.1); no HTTP begins with it. */
const handshake = 0x16;

/** The client's connection preface (RFC 9113 section 3.4). */
const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

/**
 * The protocol of a connection that began with these bytes; null: more of them are needed.
 *
 * @example
 * protocolOf(Buffer.from('PR')); // null: PROPFIND or PRI?
 */
function protocolOf(bytes: Buffer): Protocol | null {
  if (bytes[0] === handshake) return 'tls';
  const length = Math.min(bytes.length, preface.length);
  if (!bytes.subarray(0, length).equals(preface.subarray(0, length))) return 'http1';
  return length === preface.length ? 'http2' : null;
}

/** Reads until the first bytes tell the protocol, puts them back, and says which it is. */
export function peek(socket: Socket, decided: (protocol: Protocol) => void): void {
  let seen = Buffer.alloc(0);
  // A peer that goes away while being looked at is no event: 'close' does the tidying.
  const onError = (): void => undefined;
  const onReadable = (): void => {
    const bytes = socket.read() as Buffer | null;
    if (bytes === null) {
      if (socket.readableEnded) socket.destroy();
      return;
    }
    seen = Buffer.concat([seen, bytes]);
    const protocol = protocolOf(seen);
    if (protocol === null) return;
    socket.off('readable', onReadable);
    socket.off('end', onEnd);
    socket.off('error', onError);
    socket.unshift(seen);
    decided(protocol);
  };
  const onEnd = (): void => {
    socket.destroy();
  };
  socket.on('error', onError);
  socket.on('end', onEnd);
  socket.on('readable', onReadable);
}
