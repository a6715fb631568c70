/** Turns a valid conversation into one that is nearly valid. Seeded: the same seed, the same bytes. */

/** What numbers lie about. */
const extremes = ['0', '-1', '65536', '4294967295', '99999999999999999999', 'NaN', '1e309', ''];

/** @param random 0 to 1, excluding 1 */
export function mutate(random: () => number, message: Buffer, others: readonly Buffer[]): Buffer {
  let bytes = message;
  const changes = 1 + Math.floor(random() * 4);
  for (let change = 0; change < changes; change += 1) bytes = mutateOnce(random, bytes, others);
  return bytes;
}

function mutateOnce(random: () => number, bytes: Buffer, others: readonly Buffer[]): Buffer {
  const below = (limit: number): number => Math.floor(random() * limit);
  const at = below(bytes.length + 1);
  const length = below(Math.min(64, bytes.length - at + 1));
  const [before, cut, after] = [
    bytes.subarray(0, at),
    bytes.subarray(at, at + length),
    bytes.subarray(at + length),
  ];
  switch (below(8)) {
    case 0:
      return before;
    case 1:
      return Buffer.concat([before, after]);
    case 2:
      return Buffer.concat([before, cut, cut, after]);
    case 3:
      return Buffer.concat([before, randomBytes(random, length), cut, after]);
    case 4: {
      const other = others[below(others.length)] ?? bytes;
      return Buffer.concat([before, other.subarray(below(other.length + 1))]);
    }
    case 5: {
      const number = extremes[below(extremes.length)] ?? '';
      return Buffer.from(bytes.toString('latin1').replace(/\d+/, number), 'latin1');
    }
    case 6:
      return Buffer.concat([before, Buffer.alloc(below(200_000), bytes[at] ?? 0), after]);
    default: {
      const changed = Buffer.from(bytes);
      if (at < changed.length) changed[at] = below(256);
      return changed;
    }
  }
}

export function randomBytes(random: () => number, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => Math.floor(random() * 256)));
}
