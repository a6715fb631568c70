/** What the streams hold, as metrics: read from the log whenever somebody asks for them. */
import type { Log } from '../../storage/model.ts';
import type { Metrics } from '../../storage/ports.ts';

/** @returns sets the metrics to what holds now */
export function streamMetrics({ log, metrics }: { log: Log; metrics: Metrics }): () => void {
  const bytes = metrics.gauge('headgate_log_stored_bytes', 'Bytes of records kept, by stream.');
  const records = metrics.gauge('headgate_log_stored_records', 'Records kept, by stream.');
  const shown = new Set<string>();
  return () => {
    const streams = new Map(log.streams().map((stream) => [stream.name, stream]));
    for (const name of streams.keys()) shown.add(name);
    for (const name of shown) {
      const stream = streams.get(name);
      const kept = stream?.shards.map(
        ({ nextSequence, trimSequence }) => nextSequence - trimSequence,
      );
      bytes.set(stream?.storedBytes ?? 0, { stream: name });
      records.set(kept?.reduce((sum, count) => sum + count, 0) ?? 0, { stream: name });
    }
  };
}
