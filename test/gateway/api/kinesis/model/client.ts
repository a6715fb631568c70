/** What a client of one stream asks, with answers looked at only as far as all of them agree. */
import assert from 'node:assert/strict';
import { accountId, type Answer } from '../callers.ts';
import type { KeptRecord, ListedShard, ModelStream, SentRecord } from './stream.ts';

export const streamName = 'readings';
const streamArn = `arn:aws:kinesis:us-east-1:${accountId}:stream/${streamName}`;
/** What a full box, or a busy one, answers; the client waits, and asks again. */
const throttled = 'ProvisionedThroughputExceededException';

export interface ClientOptions {
  /** Rejects when there is no answer. */
  readonly ask: (operation: string, body: object) => Promise<Answer>;
  readonly random: () => number;
  /** Lets a second pass. */
  readonly wait: () => Promise<void>;
  /** When records arrive that are put now; NaN where it is not known to the millisecond. */
  readonly arrivalMs: () => number;
}

export interface ReadPage {
  readonly records: readonly KeptRecord[];
  /** null: the shard is closed, and read to its end. */
  readonly next: string | null;
  readonly children: readonly { readonly ShardId: string }[];
  readonly millisBehind: number;
}

export class StreamClient {
  readonly #options: ClientOptions;

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  /** The answer, whatever it is. */
  ask(operation: string, body: object = {}): Promise<Answer> {
    // By its name or by its ARN: it makes no difference.
    const target =
      this.#options.random() < 0.5 ? { StreamName: streamName } : { StreamARN: streamArn };
    return this.#options.ask(operation, { ...target, ...body });
  }

  /** The answer of what must succeed. */
  async done(operation: string, body: object = {}): Promise<Record<string, unknown>> {
    for (;;) {
      const answer = await this.ask(operation, body);
      if (answer.status === 200) return answer.body;
      assert.equal(answer.body['__type'], throttled, JSON.stringify(answer.body));
      await this.#options.wait();
    }
  }

  async shards(): Promise<readonly ListedShard[]> {
    const { Shards } = await this.done('ListShards');
    return Shards as readonly ListedShard[];
  }

  /** One record by PutRecord, or several by PutRecords; the model is told what became of them. */
  async put(model: ModelStream, records: readonly SentRecord[]): Promise<void> {
    const [only] = records;
    const arrivalMs = this.#options.arrivalMs();
    let answer: Answer;
    try {
      answer =
        records.length === 1 && only !== undefined && this.#options.random() < 0.7
          ? await this.#putOne(model, only)
          : await this.ask('PutRecords', { Records: records.map(entryOf) });
    } catch {
      model.unanswered(records);
      return;
    }
    const { status, body } = answer;
    if (status !== 200) {
      // In the middle of closing it may have been carried out; of what is throttled nothing was.
      if (body['__type'] === 'ServiceUnavailable') model.unanswered(records);
      else assert.equal(body['__type'], throttled, JSON.stringify(body));
      return;
    }
    const results = (body['Records'] ?? [body]) as readonly Record<string, unknown>[];
    assert.equal(results.length, records.length);
    let failed = 0;
    for (const [index, result] of results.entries()) {
      if (result['ErrorCode'] === undefined) {
        model.acknowledge(records[index]!, result, arrivalMs);
      } else {
        assert.equal(result['ErrorCode'], throttled);
        failed += 1;
      }
    }
    assert.equal(failed, body['FailedRecordCount'] ?? 0);
  }

  #putOne(model: ModelStream, record: SentRecord): Promise<Answer> {
    const before = model.highestOf(record.key);
    const isOrdered = before !== undefined && this.#options.random() < 0.5;
    return this.ask('PutRecord', {
      ...entryOf(record),
      ...(isOrdered ? { SequenceNumberForOrdering: before } : {}),
    });
  }

  async iterator(shardId: string, start: object): Promise<string> {
    const { ShardIterator } = await this.done('GetShardIterator', { ShardId: shardId, ...start });
    return ShardIterator as string;
  }

  async read(iterator: string, limit?: number): Promise<ReadPage> {
    for (;;) {
      const { status, body } = await this.#options.ask('GetRecords', {
        ...{ ShardIterator: iterator, ...(limit === undefined ? {} : { Limit: limit }) },
      });
      if (status === 200) return pageOf(body);
      assert.equal(body['__type'], throttled, JSON.stringify(body));
      await this.#options.wait();
    }
  }

  /** All shards, as a consumer reads them: from their beginnings, parents before children. */
  async readAll(shards: readonly ListedShard[]): Promise<Map<string, readonly KeptRecord[]>> {
    const read = new Map<string, readonly KeptRecord[]>();
    const waiting = new Map(shards.map((shard) => [shard.ShardId, shard]));
    while (waiting.size > 0) {
      const ready = [...waiting.values()].find(({ ParentShardId, AdjacentParentShardId }) =>
        [ParentShardId, AdjacentParentShardId].every((id) => id === undefined || !waiting.has(id)),
      );
      assert.ok(ready !== undefined, 'a circle of parents');
      waiting.delete(ready.ShardId);
      read.set(ready.ShardId, await this.#readShard(ready, shards));
    }
    return read;
  }

  async #readShard(
    { ShardId: id, SequenceNumberRange: range }: ListedShard,
    shards: readonly ListedShard[],
  ): Promise<readonly KeptRecord[]> {
    const records: KeptRecord[] = [];
    const limit = 100 + Math.floor(this.#options.random() * 2000);
    let next: string | null = await this.iterator(id, { ShardIteratorType: 'TRIM_HORIZON' });
    for (;;) {
      const page: ReadPage = await this.read(next, limit);
      records.push(...page.records);
      next = page.next;
      if (next === null) {
        assert.ok(range.EndingSequenceNumber !== undefined, 'an open shard has no end');
        assert.deepEqual(
          page.children.map(({ ShardId }) => ShardId),
          shards.filter((shard) => isChild(shard, id)).map(({ ShardId }) => ShardId),
        );
        return records;
      }
      const isAtHead = page.records.length === 0 && page.millisBehind === 0;
      if (isAtHead) {
        assert.equal(range.EndingSequenceNumber, undefined, 'a closed shard has an end');
        return records;
      }
    }
  }
}

function isChild({ ParentShardId, AdjacentParentShardId }: ListedShard, id: string): boolean {
  return ParentShardId === id || AdjacentParentShardId === id;
}

function entryOf({ key, text, explicitHashKey }: SentRecord): object {
  return {
    PartitionKey: key,
    Data: Buffer.from(text).toString('base64'),
    ...(explicitHashKey === undefined ? {} : { ExplicitHashKey: explicitHashKey.toString() }),
  };
}

function pageOf(body: Record<string, unknown>): ReadPage {
  const records = body['Records'] as readonly {
    readonly SequenceNumber: string;
    readonly PartitionKey: string;
    readonly Data: string;
    readonly ApproximateArrivalTimestamp: number;
  }[];
  return {
    records: records.map((record) => ({
      key: record.PartitionKey,
      text: Buffer.from(record.Data, 'base64').toString(),
      sequenceNumber: record.SequenceNumber,
      arrivalMs: Math.round(record.ApproximateArrivalTimestamp * 1000),
    })),
    next: (body['NextShardIterator'] as string | undefined) ?? null,
    children: (body['ChildShards'] ?? []) as readonly { readonly ShardId: string }[],
    millisBehind: body['MillisBehindLatest'] as number,
  };
}
