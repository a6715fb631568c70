/** Ranges of bytes that a client asks for (RFC 9110, section 14). */

export interface ByteRange {
  readonly from: number;
  /** Not in it any more. */
  readonly to: number;
}

/**
 * @param range the header; of several ranges none is taken, which every client must understand
 * @param ifRange the header: where it is another etag, the range is of other bytes
 * @returns null: everything; `unsatisfiable`: there are no such bytes
 */
export function byteRangeOf(
  { range, ifRange }: { readonly range: string | undefined; readonly ifRange: string | undefined },
  etag: string,
  sizeBytes: number,
): ByteRange | 'unsatisfiable' | null {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(range?.trim() ?? '');
  if (match === null || (ifRange !== undefined && ifRange !== etag)) return null;
  const [, first = '', last = ''] = match;
  if (first === '' && last === '') return null;
  if (first === '') {
    const length = Math.min(Number(last), sizeBytes);
    return length === 0 ? 'unsatisfiable' : { from: sizeBytes - length, to: sizeBytes };
  }
  const from = Number(first);
  const to = last === '' ? sizeBytes : Math.min(Number(last) + 1, sizeBytes);
  // The last before the first is no range at all.
  if (last !== '' && Number(last) < from) return null;
  return from < sizeBytes ? { from, to } : 'unsatisfiable';
}
