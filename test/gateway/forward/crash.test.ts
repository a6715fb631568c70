import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { test } from 'node:test';
import { s3Sink } from '../../../gateway/forward/sinks/s3/s3-sink.ts';
import { startChild, type Child } from '../../support/child.ts';
import { compiled } from '../../support/program.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { assertExactlyOnce, idsOf } from './support/lines.ts';
import { startProxy } from './support/proxy.ts';
import { openRig, type Rig } from './support/rig.ts';
import {
  credentials,
  getObjects,
  listKeys,
  passWhole,
  s3Client,
  startS3,
} from './support/servers.ts';

const kills = 5;

test(`killed while it catches up live-first ${kills} times: nothing lost, nothing twice`, async (context) => {
  const folder = await temporaryFolder(context);
  const server = await startS3(context, await temporaryFolder(context));
  let child: Child | null = null;
  let killIn = Infinity;
  let down = true;
  const { endpoint } = await startProxy(context, server.endpoint, async (passing) => {
    if (down) {
      passing.response.writeHead(503).end();
      return;
    }
    killIn -= 1;
    if (killIn !== 0 || child === null) {
      await passWhole(passing);
      return;
    }
    await passing.ask();
    child.process.kill('SIGKILL');
    passing.response.destroy();
  });
  const program = `${import.meta.dirname}/support/crash-child.ts`;
  const args = [compiled(program), folder, endpoint, 'live-first'];
  let divided = 0;
  for (let kill = 0; kill < kills; kill += 1) {
    killIn = Infinity;
    down = true;
    child = startChild(context, process.execPath, [...args, String(kill)]);
    await child.line(/far behind/);
    down = false;
    await child.line(/another lane/);
    killIn = 1 + kill;
    const { signal } = await child.exited;
    assert.equal(signal, 'SIGKILL', child.lines.join('\n'));
    const left = await openRig(context, { folder });
    divided += lanesOf(left) > 1 ? 1 : 0;
    await left.close();
  }
  child = null;
  assert.ok(divided > 0, 'it was killed between lanes');

  const rig = await openRig(context, { folder });
  const sink = s3Sink({ bucket: 'bucket', endpoint, credentials });
  const delivery = rig.start({ ...archive, catchUp: 'live-first' }, sink);
  while ((await delivery.status()).backlog.records > 0 || lanesOf(rig) > 1) await setImmediate();
  const client = s3Client(context, server.endpoint);
  const objects = await getObjects(client, await listKeys(client));
  assertExactlyOnce(idsOf(objects), rig.store.log.stream('readings').shards[0]!.nextSequence);
});

function lanesOf({ store }: Rig): number {
  return store.log.applications.list().reduce((sum, { leases }) => sum + leases.length, 0);
}

// Other limits than those of the plan that was left behind.
const archive = {
  name: 'archive',
  from: { stream: 'readings' },
  to: { s3: { bucket: 'bucket' } },
  buffer: { maxBytes: 1_000_000, maxSeconds: 0.1 },
} as const;

test(`killed during uploads ${kills} times: no record lost, no record or object twice`, async (context) => {
  const folder = await temporaryFolder(context);
  const server = await startS3(context, await temporaryFolder(context));
  let child: Child | null = null;
  let uploads = 0;
  let killAt = 3;
  let keepIt = false;
  const { endpoint } = await startProxy(context, server.endpoint, async (passing) => {
    uploads += 1;
    if (uploads !== killAt || child === null) {
      await passWhole(passing);
      return;
    }
    // The object arrives and its acknowledgement is lost, or it breaks off half way.
    if (keepIt) await passing.ask();
    else await new Promise((resolve) => passing.request.once('data', resolve));
    child.process.kill('SIGKILL');
    passing.response.destroy();
  });
  const program = `${import.meta.dirname}/support/crash-child.ts`;
  for (let kill = 0; kill < kills; kill += 1) {
    uploads = 0;
    killAt = 2 + ((kill * 3) % 5);
    keepIt = kill % 2 === 0;
    child = startChild(context, process.execPath, [compiled(program), folder, endpoint]);
    const { signal } = await child.exited;
    assert.equal(signal, 'SIGKILL', child.lines.join('\n'));
  }
  child = null;

  const rig = await openRig(context, { folder });
  const sink = s3Sink({ bucket: 'bucket', endpoint, credentials });
  const delivery = rig.start(archive, sink);
  while ((await delivery.status()).backlog.records > 0) await setImmediate();
  const client = s3Client(context, server.endpoint);
  const objects = await getObjects(client, await listKeys(client));
  const { nextSequence } = rig.store.log.stream('readings').shards[0]!;
  assert.ok(nextSequence > 0);
  assertExactlyOnce(idsOf(objects), nextSequence);
});
