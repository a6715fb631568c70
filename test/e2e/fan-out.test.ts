/**
 * Three applications, their workers processes of their own, and two consumers with enhanced fan-out,
 * on one stream of a whole gateway, that is written to over the Kinesis API while it is
 * split and merged, workers are killed and subscriptions broken off. Each of them sees every record,
 * in order per key; a worker that stood still and was superseded can neither checkpoint nor have
 * taken what it had begun to emit.
 */
import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { test } from 'node:test';
import {
  KinesisClient,
  ListShardsCommand,
  MergeShardsCommand,
  PutRecordsCommand,
  ResourceInUseException,
  SplitShardCommand,
  UpdateShardCountCommand,
  type Shard,
} from '@aws-sdk/client-kinesis';
import { EnhancedReader } from '../gateway/api/kinesis/enhanced-reader.ts';
import { SinkServer, type Emission } from '../gateway/consumer/rig.ts';
import { startChild, type Child } from '../support/child.ts';
import { GatewayProcess } from '../support/gateway.ts';
import { compiled } from '../support/program.ts';
import type { Scope } from '../support/scope.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const childPath = resolve(import.meta.dirname, '../gateway/consumer/worker-child.ts');
const leaseMs = 2_000;
const credentials = { accessKeyId: 'AKIAPLANT', secretAccessKey: 'secret-of-the-plant' };
const StreamName = 'readings';
const streamArn = `arn:aws:kinesis:us-east-1:000000000000:stream/${StreamName}`;
const keysPerProducer = 20;
const recordsPerCall = 50;

/** One application: its workers, and the sink that judges what they emit. */
class Application {
  readonly name: string;
  readonly server: SinkServer;
  readonly workers: { readonly owner: string; readonly child: Child }[] = [];
  readonly #context: Scope;
  readonly #gateway: GatewayProcess;

  private constructor(context: Scope, gateway: GatewayProcess, name: string, server: SinkServer) {
    this.#context = context;
    this.#gateway = gateway;
    this.name = name;
    this.server = server;
  }

  static async start(context: Scope, gateway: GatewayProcess, name: string): Promise<Application> {
    const server = await SinkServer.start(context);
    return new Application(context, gateway, name, server);
  }

  async startWorker(): Promise<{ readonly owner: string; readonly child: Child }> {
    const owner = `${this.name}-${this.workers.length + 1}`;
    const child = startChild(this.#context, process.execPath, [
      ...[compiled(childPath), this.#gateway.url, this.server.url],
      ...[owner, String(leaseMs), this.name, this.#gateway.token],
    ]);
    const worker = { owner, child };
    this.workers.push(worker);
    await child.line(/^started$/);
    return worker;
  }

  hasEmitted(owner: string): boolean {
    return this.server.sink.accepted.some((emission) => emission.owner === owner);
  }
}

/** Puts records one call after the other; each key counts its own from 0. */
class Producer {
  readonly #client: KinesisClient;
  readonly #lane: number;
  readonly #counts = new Map<string, number>();
  put = 0;

  constructor(client: KinesisClient, lane: number) {
    this.#client = client;
    this.#lane = lane;
  }

  async putSome(): Promise<void> {
    const Records = Array.from({ length: recordsPerCall }, (_, index) => {
      const PartitionKey = `key-${this.#lane}-${(this.put + index) % keysPerProducer}`;
      const count = this.#counts.get(PartitionKey) ?? 0;
      this.#counts.set(PartitionKey, count + 1);
      return { PartitionKey, Data: Buffer.from(String(count)) };
    });
    const { FailedRecordCount } = await this.#client.send(
      new PutRecordsCommand({ StreamName, Records }),
    );
    assert.equal(FailedRecordCount, 0);
    this.put += recordsPerCall;
  }
}

/** The stream's shards, changed by whoever may; each change once the one before is over. */
class Resharding {
  readonly #client: KinesisClient;

  constructor(client: KinesisClient) {
    this.#client = client;
  }

  /** In the order of their hash keys. */
  async #open(): Promise<readonly Shard[]> {
    const { Shards = [] } = await this.#client.send(new ListShardsCommand({ StreamName }));
    const first = ({ HashKeyRange }: Shard): bigint => BigInt(HashKeyRange?.StartingHashKey ?? 0);
    return Shards.filter(
      ({ SequenceNumberRange }) => SequenceNumberRange?.EndingSequenceNumber === undefined,
    ).sort((a, b) => (first(a) < first(b) ? -1 : 1));
  }

  async split(): Promise<void> {
    const [shard] = await this.#open();
    const { StartingHashKey = '0', EndingHashKey = '0' } = shard?.HashKeyRange ?? {};
    const middle = (BigInt(StartingHashKey) + BigInt(EndingHashKey)) / 2n;
    const NewStartingHashKey = middle.toString();
    const ShardToSplit = shard?.ShardId;
    await this.#settled(() =>
      this.#client.send(new SplitShardCommand({ StreamName, ShardToSplit, NewStartingHashKey })),
    );
  }

  async merge(): Promise<void> {
    const [one, other] = (await this.#open()).slice(-2);
    const shards = { ShardToMerge: one?.ShardId, AdjacentShardToMerge: other?.ShardId };
    await this.#settled(() => this.#client.send(new MergeShardsCommand({ StreamName, ...shards })));
  }

  async resize(TargetShardCount: number): Promise<void> {
    await this.#settled(() =>
      this.#client.send(
        new UpdateShardCountCommand({
          ...{ StreamName, TargetShardCount, ScalingType: 'UNIFORM_SCALING' },
        }),
      ),
    );
  }

  async #settled(change: () => Promise<unknown>): Promise<void> {
    for (;;) {
      try {
        await change();
        return;
      } catch (error) {
        if (!(error instanceof ResourceInUseException)) throw error;
      }
    }
  }
}

test('every application sees every record in order while shards come and go and workers die', async (t) => {
  const gateway = await GatewayProcess.start(
    t,
    await temporaryFolder(t),
    `streams: { ${StreamName}: { shards: 4, mode: provisioned } }
kinesis: { enforceLimits: false }
auth: { keys: [${JSON.stringify({ name: 'plant', ...credentials })}] }`,
  );
  const client = new KinesisClient({
    ...{ region: 'us-east-1', endpoint: gateway.url, credentials, maxAttempts: 1 },
  });
  t.after(() => {
    client.destroy();
  });
  const resharding = new Resharding(client);
  const producers = [new Producer(client, 0), new Producer(client, 1)];
  const total = (): number => producers.reduce((sum, { put }) => sum + put, 0);
  const applications = await Promise.all(
    ['billing', 'alarms', 'archive'].map((name) => Application.start(t, gateway, name)),
  );
  const [billing] = applications as [Application, ...Application[]];
  await Promise.all([...applications, billing].map((one) => one.startWorker()));
  const stream = { name: StreamName, arn: streamArn };
  const readers = [
    await EnhancedReader.start(t, client, stream, 'screens'),
    await EnhancedReader.start(t, client, stream, 'models'),
  ];
  const sinks = [
    ...applications.map(({ server }) => server.sink),
    ...readers.map(({ sink }) => sink),
  ];
  const failed = readers.map((reader) => reader.failed);
  /** Puts until it is told that something has come. */
  const putUntil = async (work: Promise<unknown>): Promise<void> => {
    let isOver = false;
    const end = Promise.race([work, ...failed]).finally(() => (isOver = true));
    await Promise.all(
      producers.map(async (producer) => {
        while (!isOver) {
          await producer.putSome();
          // No faster than the slowest reads, or the test would be about backlogs.
          const mark = total() - 5_000;
          const isRead = Promise.all(sinks.map((sink) => sink.until(() => sink.seen >= mark)));
          await Promise.race([isRead, end]);
        }
      }),
    );
    await end;
  };

  await putUntil(
    Promise.all(
      applications.flatMap((application) =>
        application.workers.map(({ owner }) =>
          application.server.sink.until(() => application.hasEmitted(owner)),
        ),
      ),
    ),
  );

  // Of each application one is killed while the stream is changed, and another takes its place.
  const changes = async (): Promise<void> => {
    await resharding.split();
    await resharding.resize(8);
    await resharding.merge();
  };
  const replacements = applications.map(async (application) => {
    await application.workers[0]?.child.stop('SIGKILL');
    await application.startWorker();
  });
  await putUntil(Promise.all([changes(), ...replacements]));

  // One stands still with an emission on its way, which arrives after its successor's.
  const { server, workers } = billing;
  const { sink } = server;
  const victim = workers[1]!;
  const report = server.report(victim.owner);
  const held: { readonly emission: Emission; readonly arrive: () => void }[] = [];
  const caught = new Promise<void>((stopped) => {
    server.beforeJudging = async (emission) => {
      if (emission.owner !== victim.owner) return;
      victim.child.process.kill('SIGSTOP');
      await new Promise<void>((arrive) => {
        held.push({ emission, arrive });
        stopped();
      });
    };
  });
  await putUntil(caught);
  await putUntil(resharding.resize(5));
  const whileStopped = total();
  await sink.until(() => sink.seen >= whileStopped);
  server.beforeJudging = () => Promise.resolve();
  for (const { arrive } of held) arrive();
  victim.child.process.kill('SIGCONT');
  const { status, answer } = (await report) as { status: number; answer: unknown };
  assert.equal(status, 409);
  assert.equal((answer as { error: { code: string } }).error.code, 'lease-lost');
  await sink.until(() => held.every(({ emission }) => sink.refused.includes(emission)));

  const [screens] = readers as [EnhancedReader, ...EnhancedReader[]];
  screens.breakOff();
  await putUntil(resharding.split());
  const allSeen = sinks.map((sink) => sink.until(() => sink.seen === total()));
  await Promise.race([Promise.all(allSeen), ...failed]);
  for (const { name, server: judging } of applications) {
    assert.deepEqual(judging.failures, [], name);
  }
  assert.ok(screens.returns > 0);
  for (const reader of readers) reader.close();
  t.diagnostic(`${total()} records, ${sinks.length} who read them`);
  assert.equal(await gateway.stop(), 0);
});
