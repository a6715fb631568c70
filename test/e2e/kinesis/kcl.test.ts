/**
 * Amazon's Kinesis Client Library, the real one, as an application of a stream: from Maven, and so
 * only on request, where there are Java, Maven and a repository that it reaches. Its only endpoint is
 * the gateway: its leases are there too.
 */
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { SplitShardCommand } from '@aws-sdk/client-kinesis';
import { startChild, type Child } from '../../support/child.ts';
import { mavenJars, taken } from '../../support/maven.ts';
import { Load, type Handed } from './load.ts';
import { clientOf, createStream, startGateway } from './rig.ts';

const StreamName = 'readings';
const variable = 'HEADGATE_TEST_KCL';
const isWanted = taken(variable);
const sources = join(import.meta.dirname, 'kcl');

/** The folder of the library and all that it needs; null, and a skip, where it can't be had. */
function library(t: TestContext, version: string): Promise<string | null> {
  return mavenJars(t, {
    ...{ name: `kcl/${version}`, title: 'the Kinesis Client Library', megabytes: 70 },
    ...{ pom: join(sources, 'pom.xml'), properties: { 'kcl.version': version } },
    ...{ variable, isWanted },
  });
}

for (const version of ['2.7.2', '3.0.0']) {
  test(`the Kinesis Client Library ${version} reads a stream through a reshard, by polling and by fan-out`, async (t) => {
    await readThroughReshard(t, version);
  });
}

async function readThroughReshard(t: TestContext, version: string): Promise<void> {
  const jars = await library(t, version);
  if (jars === null) return;
  const started = await startGateway(t);
  const client = clientOf(t, started);
  await createStream(client, StreamName, 1);
  const load = new Load(client, StreamName);
  await load.put(300);
  await load.putAggregated(50);
  const program = join(sources, 'KclReader.java');
  // Two applications, each with leases of its own.
  const readers = ['polling', 'fan-out'].map((mode) => {
    const args = [program, started.endpoint, started.endpoint, StreamName, `plant-${mode}`, mode];
    const options = { env: started.environment };
    return startChild(t, 'java', ['-cp', join(jars, '*'), ...args], options);
  });
  await Promise.all(readers.map((reader) => handed(reader, load.count)));
  await client.send(
    new SplitShardCommand({
      ...{ StreamName, ShardToSplit: 'shardId-000000000000' },
      NewStartingHashKey: String(2n ** 127n),
    }),
  );
  await load.put(300);
  for (const reader of readers) {
    await reader.line(/^ended shardId-000000000000$/);
    load.assertHanded(await handed(reader, load.count));
  }
}

/** What it was given, once that is so much. */
async function handed(reader: Child, count: number): Promise<Handed[]> {
  for (;;) {
    const seen = reader.lines.filter((line) => line.startsWith('record '));
    if (seen.length >= count) {
      return seen.map((line) => {
        const [, shard = '', key = '', , ...data] = line.split(' ');
        return { shard, key, data: data.join(' ') };
      });
    }
    await reader.next();
  }
}
