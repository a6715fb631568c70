/** How far an application is with the shards of a stream, and where it begins with them. */
import type { Lease, Log, ShardDescription } from '../../../storage/model.ts';
import { streamNamed } from './absent.ts';
import type { AcquireRequest, ConsumedShard } from './application-schemas.ts';
import type { LeaseWishes } from './lease-wishes.ts';
import { isoFromMsOrNull } from './times.ts';

/** @throws HttpError `not-found` when there is no such stream */
export function consumedShards(
  log: Log,
  wishes: LeaseWishes,
  application: string,
  streamName: string,
): ConsumedShard[] {
  const { shards } = streamNamed(log, streamName);
  const leases = new Map<number, Lease>();
  for (const lease of log.applications.list().find(({ name }) => name === application)?.leases ??
    []) {
    if (lease.source.kind === 'shard') leases.set(lease.source.id, lease);
  }
  const unread = new Set<number>();
  const children = new Map<number, number[]>();
  for (const shard of shards) {
    if (!isFinished(shard, leases.get(shard.id))) unread.add(shard.index);
    for (const parent of shard.parents) {
      children.set(parent, [...(children.get(parent) ?? []), shard.index]);
    }
  }
  return shards.map((shard) => {
    const lease = leases.get(shard.id);
    const heldForMs = log.applications.heldForMs(application, { kind: 'shard', id: shard.id });
    return {
      shard: shard.index,
      parents: [...shard.parents],
      children: children.get(shard.index) ?? [],
      closedTime: isoFromMsOrNull(shard.closedMs),
      state: !unread.has(shard.index)
        ? 'finished'
        : heldForMs > 0
          ? 'held'
          : // A parent that is not listed any more has nothing left to read.
            shard.parents.some((parent) => unread.has(parent))
            ? 'waiting'
            : 'free',
      trimSequence: shard.trimSequence,
      nextSequence: shard.nextSequence,
      lease:
        lease === undefined
          ? null
          : {
              owner: lease.owner === '' ? null : lease.owner,
              counter: lease.counter,
              heldForMs,
              wantedBy: wishes.of(application, shard.id),
              start: lease.start,
              checkpoint: lease.checkpoint,
            },
    };
  });
}

function isFinished(shard: ShardDescription, lease: Lease | undefined): boolean {
  return shard.closedMs !== null && lease !== undefined && lease.checkpoint >= shard.nextSequence;
}

/** The sequence number that `start` means in a shard; a closed one has nothing that is latest. */
export async function startOf(
  log: Log,
  shard: ShardDescription,
  { start, startTime }: AcquireRequest,
): Promise<number> {
  if (start === 'LATEST') return shard.nextSequence;
  if (startTime === undefined) return shard.trimSequence;
  return log.sequenceAt(shard.id, Date.parse(startTime));
}
