/**
 * A query may take tens of milliseconds for one record, and a slice has hundreds of them: between
 * two records others have their turn at the event loop.
 */
import type { Clock } from '../../../storage/ports.ts';
import { takeTurn } from '../../turns.ts';
import type { OutputPart } from './output-codec.ts';
import type { ShapedRecord } from './shaped-record.ts';
import type { Shaping } from './shaping.ts';

/** For how long records are shaped without a break. */
const turnMs = 10;

/** What lets go of the event loop needs. */
export interface Turns {
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly signal: AbortSignal;
}

/** One step of shaping; in turns where it asks queries. @throws the signal's reason, once it aborts */
export async function shapedBy(
  shaping: Shaping,
  step: 'before' | 'after',
  records: readonly ShapedRecord[],
  { clock, signal }: Turns,
): Promise<OutputPart> {
  if (!shaping.asksQueries) return shaping[step](records);
  return shapedInTurns(records, (some) => shaping[step](some), clock, signal);
}

/**
 * Shapes record by record.
 * @throws the signal's reason, once it aborts
 */
export async function shapedInTurns(
  records: readonly ShapedRecord[],
  shape: (records: readonly ShapedRecord[]) => OutputPart,
  clock: Pick<Clock, 'monotonicMs'>,
  signal: AbortSignal,
): Promise<OutputPart> {
  const parts: OutputPart[] = [];
  let sinceMs = clock.monotonicMs();
  for (const record of records) {
    parts.push(shape([record]));
    if (clock.monotonicMs() - sinceMs < turnMs) continue;
    await takeTurn();
    signal.throwIfAborted();
    sinceMs = clock.monotonicMs();
  }
  return {
    records: parts.flatMap((part) => part.records),
    failures: parts.flatMap((part) => part.failures),
  };
}
