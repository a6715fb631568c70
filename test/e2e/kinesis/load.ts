/** Records that tell whether a consumer was given each of them, in order. */
import assert from 'node:assert/strict';
import { PutRecordsCommand, type KinesisClient } from '@aws-sdk/client-kinesis';
import { aggregateOf, type UserRecord } from '../../support/aws-kinesis-agg.ts';

const keys = 7;

/** One that was handed to a consumer. */
export interface Handed {
  readonly shard: string;
  readonly key: string;
  readonly data: string;
}

export class Load {
  readonly #client: KinesisClient;
  readonly #stream: string;
  /** How many records there are by now. */
  count = 0;

  constructor(client: KinesisClient, stream: string) {
    this.#client = client;
    this.#stream = stream;
  }

  async put(count: number): Promise<void> {
    await this.#send(this.#next(count, (index) => `device-${index % keys}`));
  }

  /** As one record, made by AWS's module; all of one key, because it lies in that key's shard. */
  async putAggregated(count: number): Promise<void> {
    await this.#send([aggregateOf(this.#next(count, () => 'device-0'))]);
  }

  /** Asserts that all were handed over, those of one key in their order, none twice. */
  assertHanded(handed: readonly Handed[]): void {
    const found = new Map<string, number[]>();
    for (const { key, data } of handed) {
      found.set(key, [...(found.get(key) ?? []), Number(data.split(' ')[1])]);
    }
    for (const [key, numbers] of found) {
      assert.deepEqual(
        numbers,
        numbers.toSorted((a, b) => a - b),
        `${key} is in order`,
      );
      assert.equal(new Set(numbers).size, numbers.length, `${key} has none twice`);
    }
    assert.equal(handed.length, this.count);
  }

  #next(count: number, keyOf: (index: number) => string): UserRecord[] {
    const first = this.count;
    this.count += count;
    return Array.from({ length: count }, (_, index) => {
      const partitionKey = keyOf(index);
      return { partitionKey, data: Buffer.from(`${partitionKey} ${first + index}`) };
    });
  }

  async #send(records: readonly UserRecord[]): Promise<void> {
    const { FailedRecordCount } = await this.#client.send(
      new PutRecordsCommand({
        StreamName: this.#stream,
        Records: records.map(({ partitionKey, data }) => ({
          ...{ PartitionKey: partitionKey, Data: data },
        })),
      }),
    );
    assert.equal(FailedRecordCount, 0);
  }
}
