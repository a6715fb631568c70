/**
 * The CRC-32 of bytes that follow each other, from the CRC-32 of each: so that footage is gone through
 * once, though its chunk and its fragment both have a checksum over it.
 *
 * A CRC is the rest of a division of polynomials over GF(2). Bytes that follow multiply what comes
 * before them by x to the power of their bits. Source: `crc32_combine` of zlib 1.2.12, by Mark Adler.
 */

/** Of CRC-32, as zlib has it: the highest power of x is the lowest bit. */
const polynomial = 0xedb8_8320;
const one = 0x8000_0000;

/** x to the power of 2^n, by n. */
const powers: readonly number[] = (() => {
  const found = [one >>> 1];
  while (found.length < 32) found.push(product(found.at(-1) ?? one, found.at(-1) ?? one));
  return found;
})();

/**
 * @param first CRC-32 of what comes first
 * @param second CRC-32 of what follows it, by itself
 * @param secondBytes how much that is
 */
export function joinedCrc32(first: number, second: number, secondBytes: number): number {
  let shift = one;
  let power = 3;
  for (let left = secondBytes; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) shift = product(powers[power % 32] ?? one, shift);
    power += 1;
  }
  return (product(shift, first) ^ second) >>> 0;
}

/** The product of two polynomials, modulo that of CRC-32. */
function product(a: number, b: number): number {
  let sum = 0;
  let multiple = b;
  for (let bit = one; bit !== 0; bit >>>= 1) {
    if ((a & bit) !== 0) sum ^= multiple;
    multiple = (multiple & 1) === 1 ? (multiple >>> 1) ^ polynomial : multiple >>> 1;
  }
  return sum >>> 0;
}
