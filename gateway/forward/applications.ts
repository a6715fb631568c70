/**
 * The names of the applications that deliveries read with: one for each lane that a delivery may
 * have (`lanes.ts`).
 */
import { createHash } from 'node:crypto';

/** Applications of deliveries are told from those of outside clients by their prefix. */
const prefix = 'delivery:';
const longestName = 128;
/** Stretches of a source that one delivery sends side by side or one after the other. */
const lanesMax = 8;

/** The name of a delivery's first application. */
export function applicationOf(delivery: string): string {
  const name = `${prefix}${delivery}`;
  return name.length <= longestName ? name : hashed(delivery);
}

/** The names of all its applications; only the first is sure to be there. */
export function applicationsOf(delivery: string): readonly string[] {
  const suffix = (lane: number): string => `:lane-${lane}`;
  const base = `${prefix}${delivery}`;
  const stem = base.length + suffix(lanesMax).length <= longestName ? base : hashed(delivery);
  const further = Array.from({ length: lanesMax - 1 }, (_, index) => stem + suffix(index + 2));
  return [applicationOf(delivery), ...further];
}

/** Whether an application is, or was, a delivery's. */
export function isDelivery(application: string): boolean {
  return application.startsWith(prefix);
}

/** The delivery that an application is, or was, one of; a long name is not told any more. */
export function deliveryOf(application: string): string {
  return application.slice(prefix.length).replace(/:lane-\d+$/, '');
}

function hashed(delivery: string): string {
  return `${prefix}${createHash('sha256').update(delivery).digest('hex')}`;
}
