/** Frames of HTTP/2 by hand (RFC 9113, section 4.1), for peers that no library would be. */

export const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

export const frameTypes = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  windowUpdate: 8,
  continuation: 9,
} as const;

/** Of HEADERS: no CONTINUATION follows. */
export const endHeaders = 4;

export function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A header that is in no table (RFC 7541, section 6.2.2); texts of up to 16 KiB. */
export function literalField(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.of(0), literalText(name), literalText(value)]);
}

function literalText(text: string): Buffer {
  const bytes = Buffer.from(text);
  const length =
    bytes.length < 127
      ? Buffer.of(bytes.length)
      : Buffer.of(127, 0x80 | ((bytes.length - 127) & 127), (bytes.length - 127) >> 7);
  return Buffer.concat([length, bytes]);
}
