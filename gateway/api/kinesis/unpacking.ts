/**
 * Records that a producer has aggregated, on their way into a stream that takes them apart
 * (`streams.<name>.aggregation: split`).
 *
 * All records of an aggregate are committed together; several aggregates go in parts, one after the
 * other, so that a call of a hundred thousand small records holds nobody up. When a part fails the
 * call does, and its producer sends everything again, as after an answer that was lost.
 *
 * What a producer is answered for an aggregate is the place of the first record in it: its key is
 * the aggregate's, so the shard is the one that the producer expects.
 */
import type { Log, RecordInput, RecordPlace, StreamDescription } from '../../../storage/model.ts';
import { deaggregate } from '../../kpl/deaggregate.ts';
import { attributeOf } from './stream-attributes.ts';

/** One of more is stored as it came: a few bytes of an aggregate can be a record. */
const aggregateRecordsMax = 20_000;
const partRecordsMax = 5000;

/** Appends records, aggregates as the stream has them. @returns a place for each that came */
export async function appendUnpacked(
  log: Pick<Log, 'append'>,
  stream: StreamDescription,
  came: readonly RecordInput[],
): Promise<readonly RecordPlace[]> {
  if (attributeOf(stream, 'aggregation') === 'pass') return log.append(stream.name, came);
  const found: RecordPlace[] = [];
  let part: RecordInput[] = [];
  let firsts: number[] = [];
  const appendPart = async (): Promise<void> => {
    const places = await log.append(stream.name, part);
    for (const first of firsts) {
      const place = places[first];
      if (place === undefined) throw new Error('an append with too few places');
      found.push(place);
    }
    part = [];
    firsts = [];
  };
  for (const record of came) {
    const inside = deaggregate(record.data, aggregateRecordsMax) ?? [record];
    if (part.length > 0 && part.length + inside.length > partRecordsMax) await appendPart();
    firsts.push(part.length);
    part = part.length === 0 ? [...inside] : part.concat(inside);
  }
  if (part.length > 0) await appendPart();
  return found;
}
