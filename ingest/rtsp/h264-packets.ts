/** What RTP packets of H.264 hold (RFC 6184), as far as one has to look to find pictures. */

const nalTypes = { idr: 5, sps: 7, pps: 8, stapA: 24, fuA: 28 } as const;

export { nalTypes };

/** Where the payload of the RTP packet that begins at `at` starts; null: it has none. */
export function payloadStart(packet: Buffer, at = 0): number | null {
  const flags = packet[at] ?? 0;
  if (packet.length < at + 12 || flags >> 6 !== 2) return null;
  let start = at + 12 + 4 * (flags & 0x0f);
  if ((flags & 0x10) !== 0) {
    if (packet.length < start + 4) return null;
    start += 4 + 4 * packet.readUInt16BE(start + 2);
  }
  return start < packet.length ? start : null;
}

/**
 * Whether a payload begins a picture that can be decoded by itself, or the parameter sets before it.
 * @param at where in `bytes` the payload begins
 */
export function beginsKeyframe(bytes: Buffer, at: number): boolean {
  const isKey = (type: number): boolean => type === nalTypes.idr || type === nalTypes.sps;
  const type = (bytes[at] ?? 0) & 0x1f;
  if (type === nalTypes.fuA) {
    const header = bytes[at + 1] ?? 0;
    return (header & 0x80) !== 0 && isKey(header & 0x1f);
  }
  if (type !== nalTypes.stapA) return isKey(type);
  for (let start = at + 1; start + 2 < bytes.length;) {
    const length = bytes.readUInt16BE(start);
    if (isKey((bytes[start + 2] ?? 0) & 0x1f)) return true;
    start += 2 + length;
  }
  return false;
}
