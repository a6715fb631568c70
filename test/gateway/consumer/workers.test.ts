import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { startChild, type Child } from '../../support/child.ts';
import { compiled } from '../../support/program.ts';
import type { Scope } from '../../support/scope.ts';
import { ConsumerRig, SinkServer, type Emission } from './rig.ts';

const childPath = resolve(import.meta.dirname, 'worker-child.ts');
const leaseMs = 2_000;

/** Workers as processes, each under a name of its own. */
class Workers {
  readonly #context: Scope;
  readonly #gateway: string;
  readonly #sink: string;
  #started = 0;

  constructor(context: Scope, rig: ConsumerRig, sink: SinkServer) {
    this.#context = context;
    this.#gateway = rig.url;
    this.#sink = sink.url;
  }

  async start(): Promise<{ owner: string; child: Child }> {
    this.#started += 1;
    const owner = `worker-${this.#started}`;
    const child = startChild(this.#context, process.execPath, [
      compiled(childPath),
      ...[this.#gateway, this.#sink, owner, String(leaseMs)],
    ]);
    await child.line(/^started$/);
    return { owner, child };
  }
}

const by =
  (owner: string) =>
  (emission: Emission): boolean =>
    emission.owner === owner;

test('three workers over eight shards: every record, in order, whoever is killed', async (t) => {
  const rig = await ConsumerRig.start(t, 8);
  const server = await SinkServer.start(t);
  const { sink } = server;
  const workers = new Workers(t, rig, server);
  let total = await rig.append(2_000);
  const all = await Promise.all([workers.start(), workers.start(), workers.start()]);
  // The first may have read all there is before the last has a shard.
  while (!all.every(({ owner }) => sink.accepted.some(by(owner)))) {
    total = await rig.append(200);
    const mark = total;
    await sink.until(() => sink.seen >= mark);
  }

  // Killed while the sink has an emission of theirs in its hands: whether it was taken, they never hear.
  for (const { owner, child } of all.slice(0, 2)) {
    const fallen = new Promise<void>((hit) => {
      server.beforeJudging = async (emission) => {
        if (emission.owner !== owner) return;
        await child.stop('SIGKILL');
        hit();
      };
    });
    while (!child.process.killed) {
      total = await rig.append(200);
      const mark = total;
      await Promise.race([fallen, sink.until(() => sink.seen >= mark)]);
    }
    await fallen;
    server.beforeJudging = () => Promise.resolve();
    await workers.start();
  }
  total = await rig.append(2_000);
  await sink.until(() => sink.seen === total);
  assert.deepEqual(server.failures, []);
  assert.equal(sink.seen, total);
});

test('a worker that was stopped and superseded can neither emit nor checkpoint', async (t) => {
  const rig = await ConsumerRig.start(t, 8);
  const server = await SinkServer.start(t);
  const { sink } = server;
  const workers = new Workers(t, rig, server);
  const [victim] = await Promise.all([workers.start(), workers.start(), workers.start()]);
  const report = server.report(victim.owner);

  // The emissions are on their way when the worker is stopped, and arrive after its successors'.
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
  let total = 0;
  while (held.length === 0) {
    total = await rig.append(400);
    const mark = total;
    await Promise.race([caught, sink.until(() => sink.seen >= mark)]);
  }
  total = await rig.append(400);
  await sink.until(() => sink.seen === total);
  for (const { emission } of held) {
    const { shard, fence } = emission;
    assert.ok(sink.accepted.some((one) => one.shard === shard && one.fence > fence));
  }

  server.beforeJudging = () => Promise.resolve();
  for (const { arrive } of held) arrive();
  victim.child.process.kill('SIGCONT');
  const { status, answer } = (await report) as { status: number; answer: unknown };
  assert.equal(status, 409);
  assert.equal((answer as { error: { code: string } }).error.code, 'lease-lost');
  // What else it was sending when it was stopped arrives now, and is refused too.
  await sink.until(() => held.every(({ emission }) => sink.refused.includes(emission)));

  // It lost all shards while it stood still, and comes back as a worker among the others.
  total = await rig.append(400);
  await sink.until(() => sink.seen === total);
  const before = sink.accepted.length;
  while (!sink.accepted.slice(before).some(by(victim.owner))) {
    total = await rig.append(400);
    const mark = total;
    await sink.until(() => sink.seen >= mark);
  }
  assert.deepEqual(server.failures, []);
});

test('parents are read before their children while the stream is split, merged and workers die', async (t) => {
  const rig = await ConsumerRig.start(t, 4);
  const server = await SinkServer.start(t);
  const { sink } = server;
  const workers = new Workers(t, rig, server);
  let total = await rig.append(1_000);
  const first = await Promise.all([workers.start(), workers.start()]);
  await sink.until(() => sink.seen > 0);

  const { shards } = rig.log.stream('readings');
  const [low, high] = [shards[0]!, shards[3]!];
  const middle = (low.firstHashKey + low.lastHashKey) / 2n;
  await rig.append(500);
  await rig.log.splitShard('readings', low.index, middle);
  await rig.append(500);
  await first[0].child.stop('SIGKILL');
  await rig.log.mergeShards('readings', 2, high.index);
  await rig.append(500);
  await workers.start();
  await rig.log.resizeStream('readings', 6);
  await first[1].child.stop('SIGTERM');
  total = await rig.append(1_000);
  await workers.start();
  await sink.until(() => sink.seen === total);
  // The order per key, which the sink holds to, would break if a child were read before its parent.
  assert.deepEqual(server.failures, []);
  const read = new Set(sink.accepted.map(({ shard }) => shard));
  assert.ok(read.size > 6, 'closed shards and their children');
});
