/** Whether what a delivery needs is there: its destination, and the function that changes its records. */
import { adviceOnWithheld } from '../api/firehose/advice.ts';
import { adviceInMembers } from '../api/firehose/mapping/words.ts';
import type { DeliveryOptions } from '../forward/options.ts';
import { adviceInOwner } from '../forward/source-backup.ts';
import { diagnoseDestination } from './destinations.ts';
import { attempt, warning, type Diagnosis } from './diagnosis.ts';
import { diagnoseMount } from './disk.ts';
import { diagnoseFunction, type FunctionSurroundings } from './functions.ts';

/** Nothing is sent. What was made over the Firehose API is advised in its words. */
export async function diagnoseDelivery(
  options: DeliveryOptions,
  surroundings: Omit<FunctionSurroundings, 'timeoutMs'>,
): Promise<readonly Diagnosis[]> {
  const { name, to, transform = null, origin, withheld = null } = options;
  const [delivery, changed] = [`Delivery ${name}`, `Transform ${name}`];
  if (withheld !== null) {
    return [warning(delivery, `it waits: ${withheld}`, adviceOnWithheld(withheld))];
  }
  const [destination, transforms] = await Promise.all([
    attempt(delivery, async () => [
      await diagnoseDestination(name, to, surroundings.clock),
      ...('folder' in to ? await diagnoseMount(delivery, to.folder.path) : []),
    ]),
    attempt(changed, async () => {
      if (transform === null) return [];
      const { function: target, timeoutSeconds } = transform;
      const timeoutMs = timeoutSeconds * 1000;
      return [await diagnoseFunction(changed, target, { ...surroundings, timeoutMs })];
    }),
  ]);
  const found = [...destination, ...transforms];
  return origin === 'firehose'
    ? found.map((one) => inMembers(to, one))
    : found.map((one) => ({ ...one, advice: one.advice && adviceInOwner(options, one.advice) }));
}

function inMembers(to: DeliveryOptions['to'], found: Diagnosis): Diagnosis {
  const [kind = ''] = Object.keys(to);
  return { ...found, advice: found.advice && adviceInMembers(kind, found.advice) };
}
