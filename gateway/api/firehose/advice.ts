/** What to do about a delivery that fails, for whoever made it: in the words of where it was made. */
import type { DeliveryStatus } from '../../forward/delivery-status.ts';
import { adviceInMembers } from './mapping/words.ts';

/** null: nothing but to wait. */
export function adviceFor({
  origin,
  to,
  lastFailure,
}: Pick<DeliveryStatus, 'origin' | 'to' | 'lastFailure'>): string | null {
  const advice = lastFailure?.advice ?? null;
  return advice === null || origin !== 'firehose' ? advice : adviceInMembers(to.kind, advice);
}
