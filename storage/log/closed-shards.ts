/**
 * Lets go of closed shards: of their rows, and what applications know of them. What they held,
 * `../retention.ts` has deleted before.
 *
 * A closed shard stays listed until the stream's retention has passed since it was closed, all its
 * records are gone, and no required application or saved plan needs them; nor while a worker holds
 * its lease, who has yet to find its end. Parents go before their children, so that whoever waits
 * for a parent finds it, or it is over.
 */
import type { Writer } from '../writer.ts';
import type { ApplicationTable } from './applications.ts';
import type { LogAppender } from './appending.ts';
import type { Shard, ShardPosition, Stream, Streams } from './streams.ts';

export interface ClosedShardsOptions {
  readonly writer: Writer;
  readonly appender: LogAppender;
  readonly streams: Streams;
  readonly applications: ApplicationTable;
}

/** @param nowMs a time that may be believed */
export async function dropExpiredShards(
  stream: Stream,
  nowMs: number,
  { writer, appender, streams, applications }: ClosedShardsOptions,
): Promise<void> {
  const mayGo = (shard: Shard, { trimSequence, nextSequence }: ShardPosition): boolean => {
    const source = { kind: 'shard', id: shard.id } as const;
    return (
      isOver(shard, nowMs) &&
      trimSequence === nextSequence &&
      (applications.pin(source) ?? nextSequence) >= nextSequence &&
      !applications.isHeld(source)
    );
  };
  if (!stream.shards.some((shard) => mayGo(shard, shard.position))) return;
  await writer.transact(async (transaction) => {
    if (streams.find(stream.options.name) !== stream) return;
    const left = new Set(stream.shards.map(({ index }) => index));
    const gone = new Set<Shard>();
    for (const shard of stream.shards) {
      if (!mayGo(shard, appender.group.position(shard))) continue;
      if (shard.parents.some((index) => left.has(index))) continue;
      gone.add(shard);
      left.delete(shard.index);
    }
    if (gone.size === 0) return;
    const ids = [...gone].map(({ id }) => id);
    for (const [table, column] of [
      ['shard', 'id'],
      ['shard_birth', 'shard_id'],
    ]) {
      await transaction.run(
        `DELETE FROM ${table} WHERE ${column} IN (SELECT value FROM json_each(?))`,
        JSON.stringify(ids),
      );
    }
    await applications.forgetSources(transaction, 'shard', ids);
    transaction.onCommit(() => {
      streams.drop(stream, gone);
    });
  });
}

function isOver({ closedMs, stream }: Shard, nowMs: number): boolean {
  return closedMs !== null && closedMs + stream.options.retentionMs < nowMs;
}
