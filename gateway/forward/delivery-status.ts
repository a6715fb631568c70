/** What a delivery tells about itself; put together in `delivery.ts`. */
import type { Backlog } from './backlog.ts';
import type { DeliveryFailure } from './progress.ts';

export interface DeliveryStatus {
  readonly name: string;
  readonly from: { readonly kind: 'stream' | 'camera'; readonly name: string };
  readonly to: { readonly kind: string; readonly description: string };
  readonly required: boolean;
  readonly catchUp: 'in-order' | 'live-first';
  /** `idle`: everything is sent; `backing-off`: something failed and will be tried again. */
  readonly state: 'starting' | 'idle' | 'sending' | 'backing-off' | 'stopped';
  /** When the next attempt begins, while backing off. */
  readonly retryAtMs: number | null;
  readonly backlog: Backlog;
  /** While new data goes out before a backlog: what each of the two has still to send. */
  readonly lanes: readonly { readonly kind: 'live' | 'backlog'; readonly backlog: Backlog }[];
  /** Its own cap. */
  readonly maxBytesPerSecond: number | null;
  readonly rate: { readonly recordsPerSecond: number; readonly bytesPerSecond: number };
  /** Since the start; media files count as records. */
  readonly sentRecords: number;
  readonly sentBytes: number;
  readonly sentObjects: number;
  readonly failures: number;
  /** Gone before they were sent: deleted by a limit, or found to be corrupt. */
  readonly lostRecords: number;
  readonly lastSuccessMs: number | null;
  /** The latest failure of all, also when it works again since. */
  readonly lastFailure: DeliveryFailure | null;
}

/** The earlier of two times, either of which may not be there. */
export function earliest(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.min(a, b);
}

/** The latest of several failures. */
export function newest(
  first: DeliveryFailure | null,
  others: readonly (DeliveryFailure | null)[],
): DeliveryFailure | null {
  return others.reduce((a, b) => (a === null || (b !== null && b.atMs > a.atMs) ? b : a), first);
}
