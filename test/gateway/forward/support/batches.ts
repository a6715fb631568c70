import { randomUUID } from 'node:crypto';
import type { Batch, BatchItem } from '../../../../gateway/forward/sink.ts';

/** So many small records, numbered, each with an id of its own, of ten keys. */
export function itemsOf(count: number): BatchItem[] {
  return Array.from({ length: count }, (_, number) => ({
    id: randomUUID(),
    partitionKey: `device-${number % 10}`,
    data: Buffer.from(JSON.stringify({ number })),
    arrivalMs: 1_760_000_000_000 + number,
  }));
}

export function batchOf(items: readonly BatchItem[]): Batch {
  return { id: randomUUID(), items };
}
