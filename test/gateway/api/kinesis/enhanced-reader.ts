/**
 * A consumer with enhanced fan-out as the JavaScript SDK makes one: it is subscribed to every shard
 * of a stream, to parents before their children, and a sink judges what comes.
 */
import assert from 'node:assert/strict';
import {
  DescribeStreamConsumerCommand,
  ListShardsCommand,
  RegisterStreamConsumerCommand,
  ResourceInUseException,
  SubscribeToShardCommand,
  type ChildShard,
  type KinesisClient,
  type StartingPosition,
  type SubscribeToShardEvent,
  type SubscribeToShardEventStream,
} from '@aws-sdk/client-kinesis';
import type { Scope } from '../../../support/scope.ts';
import { Sink } from '../../consumer/rig.ts';
import { placeOf } from './model/stream.ts';

const retryMs = 250;

export class EnhancedReader {
  readonly name: string;
  readonly sink = new Sink();
  /** Rejects as soon as anything is wrong. */
  readonly failed: Promise<never>;
  #fail: (error: unknown) => void = () => undefined;
  /** How often it came back to a shard after it had broken off. */
  returns = 0;
  readonly #client: KinesisClient;
  readonly #consumerArn: string;
  readonly #closing = new AbortController();
  readonly #started = new Set<string>();
  readonly #finished = new Set<string>();
  readonly #live = new Set<AbortController>();

  private constructor(client: KinesisClient, name: string, consumerArn: string) {
    this.#client = client;
    this.name = name;
    this.#consumerArn = consumerArn;
    this.failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
    this.failed.catch(() => undefined);
  }

  /** Registers a consumer and subscribes it to the shards there are, from their beginnings. */
  static async start(
    context: Scope,
    client: KinesisClient,
    stream: { readonly name: string; readonly arn: string },
    name: string,
  ): Promise<EnhancedReader> {
    const of = { StreamARN: stream.arn, ConsumerName: name };
    const { Consumer } = await client.send(new RegisterStreamConsumerCommand(of));
    for (let isActive = false; !isActive;) {
      const { ConsumerDescription } = await client.send(new DescribeStreamConsumerCommand(of));
      isActive = ConsumerDescription?.ConsumerStatus === 'ACTIVE';
    }
    const reader = new EnhancedReader(client, name, Consumer?.ConsumerARN ?? '');
    context.after(() => {
      reader.close();
    });
    const { Shards = [] } = await client.send(new ListShardsCommand({ StreamName: stream.name }));
    for (const { ShardId = '' } of Shards) reader.#begin(ShardId);
    return reader;
  }

  /** Breaks off every subscription; it comes back to each where it was. */
  breakOff(): void {
    for (const request of this.#live) request.abort();
  }

  close(): void {
    this.#closing.abort();
    this.breakOff();
  }

  #begin(shardId: string): void {
    this.#started.add(shardId);
    this.#readShard(shardId).catch(this.#fail);
  }

  /** Follows a shard to its end, however many subscriptions that takes, and then its children. */
  async #readShard(shardId: string): Promise<void> {
    let position: StartingPosition = { Type: 'TRIM_HORIZON' };
    for (;;) {
      const request = new AbortController();
      this.#live.add(request);
      try {
        for await (const event of await this.#subscribe(shardId, position, request)) {
          const SequenceNumber = this.#take(shardId, event);
          if (SequenceNumber === undefined) return;
          position = { Type: 'AFTER_SEQUENCE_NUMBER', SequenceNumber };
        }
      } catch (error) {
        // What was cut off was cut off by us.
        if (this.#closing.signal.aborted) return;
        if (!request.signal.aborted) throw error;
      } finally {
        this.#live.delete(request);
      }
      this.returns += 1;
    }
  }

  /** The last subscription keeps another away for 5 seconds: until then it is asked again. */
  async #subscribe(
    ShardId: string,
    StartingPosition: StartingPosition,
    request: AbortController,
  ): Promise<AsyncIterable<SubscribeToShardEvent>> {
    for (;;) {
      try {
        const { EventStream } = await this.#client.send(
          new SubscribeToShardCommand({
            ConsumerARN: this.#consumerArn,
            ShardId,
            StartingPosition,
          }),
          { abortSignal: request.signal },
        );
        assert.ok(EventStream !== undefined);
        return eventsOf(EventStream);
      } catch (error) {
        if (!(error instanceof ResourceInUseException)) throw error;
        await new Promise((wake) => setTimeout(wake, retryMs));
      }
    }
  }

  /** Where to go on; undefined: the shard is read to its end. */
  #take(shardId: string, event: SubscribeToShardEvent): string | undefined {
    const shard = Number(shardId.slice(-12));
    const records = (event.Records ?? []).map(({ SequenceNumber, PartitionKey, Data }) => ({
      sequence: placeOf(SequenceNumber ?? ''),
      key: PartitionKey ?? '',
      value: Number(Buffer.from(Data ?? []).toString()),
    }));
    if (records.length > 0) {
      const seenBefore = this.sink.seen;
      this.sink.judge({ owner: this.name, shard, fence: 0, records });
      // Unlike a worker that lost its lease it gets nothing twice.
      assert.equal(this.sink.seen, seenBefore + records.length, `${shardId}: twice`);
    }
    if (event.ContinuationSequenceNumber !== undefined) return event.ContinuationSequenceNumber;
    this.#finished.add(shardId);
    for (const child of event.ChildShards ?? []) this.#beginChild(child);
    return undefined;
  }

  /** Who has two parents is named at the end of each of them. */
  #beginChild({ ShardId = '', ParentShards = [] }: ChildShard): void {
    assert.ok(ParentShards.length > 0);
    const isReady = ParentShards.every((parent) => this.#finished.has(parent));
    if (isReady && !this.#started.has(ShardId)) this.#begin(ShardId);
  }
}

async function* eventsOf(
  stream: AsyncIterable<SubscribeToShardEventStream>,
): AsyncGenerator<SubscribeToShardEvent> {
  for await (const event of stream) {
    assert.ok(event.SubscribeToShardEvent !== undefined, JSON.stringify(event));
    yield event.SubscribeToShardEvent;
  }
}
