/** What to do about a delivery that fails, for whoever made it: in the words of where it was made. */
import type { DeliveryStatus } from '../../forward/delivery-status.ts';
import type { Held } from '../../forward/flow/flow.ts';
import { adviceInMembers } from './mapping/words.ts';

/** What to do about a place that a delivery stream may not send to. @param reason in sentences */
export function adviceOnWithheld(reason: string): string {
  return reason.includes('(firehose.allowed.')
    ? 'list it under firehose.allowed of the configuration, or name another place with UpdateDestination'
    : 'change it with UpdateDestination';
}

/** null: nobody need do anything, or the reason tells. */
export function adviceOnHeld({ by, reason }: Pick<Held, 'by' | 'reason'>): string | null {
  return by === 'permission' ? adviceOnWithheld(reason) : null;
}

/** null: nothing but to wait. */
export function adviceFor({
  origin,
  to,
  lastFailure,
}: Pick<DeliveryStatus, 'origin' | 'to' | 'lastFailure'>): string | null {
  const advice = lastFailure?.advice ?? null;
  return advice === null || origin !== 'firehose' ? advice : adviceInMembers(to.kind, advice);
}
