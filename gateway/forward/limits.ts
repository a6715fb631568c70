/** What all deliveries share, so that together they keep to a limit. */
import type { Bandwidth } from './bandwidth.ts';
import { AheadBudget } from './encode-ahead.ts';
import { QueueBudget } from './queue-budget.ts';
import { SpareSlots } from './slots.ts';

/** Objects of one delivery that go up at once, at most; each is held in memory, compressed. */
export const uploadsAtOnce = 4;
/** Objects of all deliveries that go up at once, beyond one of each. */
const spareUploads = 8;
/** Records of all deliveries that are read ahead for data streams, beyond a little of each. */
const queuedBytes = 32 * 1024 ** 2;
/** Buffers of objects of all deliveries that are encoded ahead; compressed they are less. */
const aheadBytes = 160 * 1024 ** 2;

export interface SharedLimits {
  readonly bandwidth: Bandwidth;
  readonly spareSlots: SpareSlots;
  readonly queueBudget: QueueBudget;
  readonly aheadBudget: AheadBudget;
}

export function sharedLimits(bandwidth: Bandwidth): SharedLimits {
  return {
    bandwidth,
    spareSlots: new SpareSlots(spareUploads),
    queueBudget: new QueueBudget(queuedBytes),
    aheadBudget: new AheadBudget(aheadBytes),
  };
}
