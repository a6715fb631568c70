/** A consumer from npm that knows nothing of this gateway, with its leases beside it or in it. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { SplitShardCommand } from '@aws-sdk/client-kinesis';
import { startChild, type Child } from '../../support/child.ts';
import { startDynalite } from '../../support/dynalite.ts';
import { compiled } from '../../support/program.ts';
import { Load, type Handed } from './load.ts';
import { clientOf, createStream, startGateway } from './rig.ts';

const StreamName = 'readings';

for (const [mode, leases] of [
  ['polling', 'dynalite'],
  ['polling', 'the gateway'],
  ['fan-out', 'the gateway'],
] as const) {
  test(`lifion-kinesis reads a stream through a reshard, by ${mode}, its leases in ${leases}`, async (t) => {
    await readThroughReshard(t, mode, leases);
  });
}

async function readThroughReshard(
  t: TestContext,
  mode: 'polling' | 'fan-out',
  leaseTable: 'dynalite' | 'the gateway',
): Promise<void> {
  const started = await startGateway(t);
  const client = clientOf(t, started);
  await createStream(client, StreamName, 2);
  const leases = leaseTable === 'dynalite' ? await startDynalite(t) : started.endpoint;
  const program = join(import.meta.dirname, 'lifion-reader.ts');
  const args = [compiled(program), started.endpoint, leases, StreamName, mode];
  const reader = startChild(t, process.execPath, args, { env: started.environment });
  await reader.line(/^started$/);
  const load = new Load(client, StreamName);
  await load.put(300);
  await load.putAggregated(50);
  await handed(reader, load.count);
  await client.send(
    new SplitShardCommand({
      ...{ StreamName, ShardToSplit: 'shardId-000000000000' },
      NewStartingHashKey: String(2n ** 126n),
    }),
  );
  await load.put(300);
  const all = await handed(reader, load.count);
  load.assertHanded(all);
  const children = new Set(all.map(({ shard }) => shard));
  assert.ok(children.has('shardId-000000000002') || children.has('shardId-000000000003'));
}

/** What it was given, once that is so much. */
async function handed(reader: Child, count: number): Promise<Handed[]> {
  for (;;) {
    const seen = reader.lines.filter((line) => line.startsWith('["shardId-'));
    if (seen.length >= count) {
      return seen.map((line) => {
        const [shard = '', key = '', data = ''] = JSON.parse(line) as string[];
        return { shard, key, data };
      });
    }
    await reader.next();
  }
}
