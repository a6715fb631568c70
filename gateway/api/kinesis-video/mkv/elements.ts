/** Writes the elements of EBML (RFC 8794): identifier, size, content. */

/** An element with the content that it is given, one part after the other. */
export function element(id: number, ...content: readonly Buffer[]): Buffer {
  const sizeBytes = content.reduce((sum, { length }) => sum + length, 0);
  return Buffer.concat([elementHeader(id, sizeBytes), ...content]);
}

/** What stands before the content. @param sizeBytes null: unknown */
export function elementHeader(id: number, sizeBytes: number | null): Buffer {
  return Buffer.concat([idBytes(id), sizeBytes === null ? unknownSize : sizeOf(sizeBytes)]);
}

export function unsigned(id: number, value: number): Buffer {
  let length = 1;
  while (value >= 256 ** length) length += 1;
  const bytes = Buffer.alloc(length);
  for (let [at, rest] = [length - 1, value]; at >= 0; at -= 1) {
    bytes[at] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return element(id, bytes);
}

export function float(id: number, value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  return element(id, bytes);
}

export function text(id: number, value: string): Buffer {
  return element(id, Buffer.from(value, 'utf8'));
}

const unknownSize = Buffer.from('01ffffffffffffff', 'hex');

function idBytes(id: number): Buffer {
  const length = id > 0xffffff ? 4 : id > 0xffff ? 3 : id > 0xff ? 2 : 1;
  const bytes = Buffer.alloc(length);
  bytes.writeUIntBE(id, 0, length);
  return bytes;
}

/** In as few bytes as it takes; all bits set would mean an unknown size. */
function sizeOf(sizeBytes: number): Buffer {
  let length = 1;
  while (sizeBytes >= 2 ** (7 * length) - 1) length += 1;
  const bytes = Buffer.alloc(length);
  for (let [at, rest] = [length - 1, sizeBytes]; at >= 0; at -= 1) {
    bytes[at] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  bytes[0] = (bytes[0] ?? 0) | (0x100 >> length);
  return bytes;
}
