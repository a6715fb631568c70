/**
 * The streams that the configuration names, made and kept as it says.
 *
 * What is written counts when it is written: a setting of a stream is applied when the stream is
 * made, and again when the configuration says something else than it said the last time. In between
 * it may be changed over the API (retention, mode, encryption), and such a change outlives restarts: the next
 * start finds the configuration as it was, and leaves it alone. What it said is kept with the
 * stream, in an attribute. How many shards there are is never changed from here.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Log, StreamChanges, StreamDescription } from '../storage/model.ts';
import type { Config } from './config/schema.ts';
import { setAggregation } from './kinesis.ts';

type Configured = Config['streams'][string];

const attribute = 'configured';

/** @param known whose streams are as they should be; null: look at all of them */
export async function ensureStreams(
  log: Log,
  { streams }: Config,
  known: Config | null,
): Promise<void> {
  const there = new Map(log.streams().map((stream) => [stream.name, stream]));
  for (const [name, configured] of Object.entries(streams)) {
    if (isDeepStrictEqual(known?.streams[name], configured)) continue;
    const said = settingsOf(configured);
    const stream = there.get(name);
    if (stream === undefined) {
      await log.ensureStream({ name, shardCount: configured.shards, ...said });
    } else {
      const changes = changesOf(said, stream);
      if (Object.keys(changes).length > 0) await log.updateStream(name, changes);
    }
    // Behind the change: what a crash leaves between them is applied once more.
    if (!isDeepStrictEqual(stream?.attributes[attribute], said)) {
      await log.setAttribute(name, attribute, said);
    }
    await setAggregation(log, name, configured.aggregation);
  }
}

function settingsOf({ mode, retentionHours, ...others }: Configured): Required<StreamChanges> {
  const { maxBytes, whenFull, compression, encryption } = others;
  const retentionMs = retentionHours * 3_600_000;
  return { mode, retentionMs, maxBytes, whenFull, compression, encryption };
}

/** What is said now and was not the last time; everything of a stream that was not spoken of. */
function changesOf(said: StreamChanges, { attributes }: StreamDescription): StreamChanges {
  const before = (attributes[attribute] ?? {}) as Readonly<Record<string, unknown>>;
  return Object.fromEntries(Object.entries(said).filter(([key, value]) => before[key] !== value));
}

/**
 * Of each stream that has another number of shards than is written, and was made with another one
 * too: what was split and merged since needs no remark.
 */
export function keptShards(log: Log, { streams }: Config): readonly string[] {
  return log.streams().flatMap(({ name, shardCount, shards }) => {
    const wanted = streams[name]?.shards ?? shardCount;
    const open = shards.filter(({ closedMs }) => closedMs === null).length;
    return wanted === shardCount || wanted === open
      ? []
      : [
          `streams.${name}.shards: ${wanted} has no effect: the stream was made with ${shardCount}, and the configuration does not change how many shards a stream has`,
        ];
  });
}
