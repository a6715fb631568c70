/** AWS's own module for aggregates of the Kinesis Producer Library, with types that hold. */
import { createRequire } from 'node:module';

export interface UserRecord {
  readonly partitionKey: string;
  readonly explicitHashKey?: string;
  readonly data: Buffer;
}

export interface Aggregate {
  readonly partitionKey: string;
  readonly data: Buffer;
  readonly ExplicitHashKey?: string;
}

interface Aggregator {
  addUserRecord(record: UserRecord): void;
  build(): Aggregate;
}

interface Inside {
  /** Base64. */
  readonly data: string;
  readonly partitionKey: string;
}

const library = createRequire(import.meta.url)('aws-kinesis-agg') as {
  RecordAggregator: new () => Aggregator;
  deaggregateSync(
    record: { readonly data: string; readonly partitionKey: string },
    computeChecksums: boolean,
    done: (error: Error | null | undefined, records?: readonly Inside[]) => void,
  ): void;
};

/** All the records in one. */
export function aggregateOf(records: readonly UserRecord[]): Aggregate {
  const aggregator = new library.RecordAggregator();
  for (const record of records) aggregator.addUserRecord(record);
  return aggregator.build();
}

/** What is in it, checksum checked; a plain record comes as it is. */
export function insideOf(partitionKey: string, data: Uint8Array): readonly UserRecord[] {
  let found: readonly UserRecord[] = [];
  const record = { partitionKey, data: Buffer.from(data).toString('base64') };
  library.deaggregateSync(record, true, (error, records = []) => {
    if (error instanceof Error) throw error;
    found = records.map((inside) => ({
      partitionKey: inside.partitionKey,
      data: Buffer.from(inside.data, 'base64'),
    }));
  });
  return found;
}
