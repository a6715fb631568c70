/**
 * Messages of `application/vnd.amazon.eventstream` (smithy.io, "Amazon Event Stream Specification"):
 * the length of all and of the headers, a CRC-32 of these, the headers, the payload, a CRC-32 of
 * everything before it. All numbers are big-endian.
 *
 * A payload may come in pieces, so that nobody puts ten megabytes together once more.
 */
import { crc32 } from 'node:zlib';

const preludeBytes = 12;
const checksumBytes = 4;
const stringType = 7;

/**
 * @param headers strings only, which is all that the services send
 * @returns the message in pieces; those of the payload are among them
 *
 * @example
 * encodeMessage({ ':message-type': 'event', ':event-type': 'initial-response' }, [payload]);
 */
export function encodeMessage(
  headers: Readonly<Record<string, string>>,
  payload: readonly Buffer[],
): readonly Buffer[] {
  const head = encodeHeaders(headers);
  const payloadBytes = payload.reduce((sum, { length }) => sum + length, 0);
  const prelude = Buffer.allocUnsafe(preludeBytes);
  prelude.writeUInt32BE(preludeBytes + head.length + payloadBytes + checksumBytes, 0);
  prelude.writeUInt32BE(head.length, 4);
  prelude.writeUInt32BE(crc32(prelude.subarray(0, 8)), 8);
  const front = Buffer.concat([prelude, head]);
  const checksum = Buffer.allocUnsafe(checksumBytes);
  checksum.writeUInt32BE(payload.reduce((crc, piece) => crc32(piece, crc), crc32(front)));
  return [front, ...payload, checksum];
}

function encodeHeaders(headers: Readonly<Record<string, string>>): Buffer {
  const pieces: Buffer[] = [];
  for (const [name, value] of Object.entries(headers)) {
    const nameBytes = Buffer.from(name);
    const valueBytes = Buffer.from(value);
    pieces.push(
      Buffer.from([nameBytes.length]),
      nameBytes,
      Buffer.from([stringType, valueBytes.length >> 8, valueBytes.length & 0xff]),
      valueBytes,
    );
  }
  return Buffer.concat(pieces);
}
