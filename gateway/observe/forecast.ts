/**
 * When a disk will be full, if all goes on as it went: what is kept grows until its retention or its
 * budget stops it, and whatever does not fit by then has the oldest footage deleted, or streams refuse.
 */

export interface Growth {
  readonly storedBytes: number;
  readonly bytesPerMs: number;
  /** null: only other limits count. */
  readonly maxBytes: number | null;
  readonly retentionMs: number | null;
}

/**
 * The instant at which no more than `floorBytes` are free; null: what is to be kept fits.
 * @param growths what grows on the disk
 */
export function fullAtMs(
  disk: { readonly freeBytes: number; readonly floorBytes: number },
  growths: readonly Growth[],
  nowMs: number,
): number | null {
  let roomBytes = disk.freeBytes - disk.floorBytes;
  if (roomBytes <= 0) return nowMs;
  // From one that stops growing to the next.
  const growing = growths
    .filter(({ bytesPerMs }) => bytesPerMs > 0)
    .map((growth) => ({ bytesPerMs: growth.bytesPerMs, untilMs: growsForMs(growth) }))
    .filter(({ untilMs }) => untilMs > 0)
    .sort((a, b) => a.untilMs - b.untilMs);
  let bytesPerMs = growing.reduce((sum, growth) => sum + growth.bytesPerMs, 0);
  let elapsedMs = 0;
  for (const growth of growing) {
    const stretchMs = growth.untilMs - elapsedMs;
    if (stretchMs * bytesPerMs >= roomBytes)
      return Math.round(nowMs + elapsedMs + roomBytes / bytesPerMs);
    roomBytes -= stretchMs * bytesPerMs;
    elapsedMs = growth.untilMs;
    bytesPerMs -= growth.bytesPerMs;
  }
  return null;
}

function growsForMs({ storedBytes, bytesPerMs, maxBytes, retentionMs }: Growth): number {
  const keptBytes = Math.min(
    maxBytes ?? Infinity,
    retentionMs === null ? Infinity : bytesPerMs * retentionMs,
  );
  return Math.max(0, keptBytes - storedBytes) / bytesPerMs;
}
