import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { test } from 'node:test';
import { s3Sink } from '../../../gateway/forward/sinks/s3/s3-sink.ts';
import { startChild, type Child } from '../../support/child.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { assertExactlyOnce, idsOf } from './support/lines.ts';
import { startProxy } from './support/proxy.ts';
import { openRig } from './support/rig.ts';
import {
  credentials,
  getObject,
  listKeys,
  passWhole,
  s3Client,
  startS3,
} from './support/servers.ts';

const kills = 5;

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
    child = startChild(context, process.execPath, ['--import', 'tsx', program, folder, endpoint]);
    const { signal } = await child.exited;
    assert.equal(signal, 'SIGKILL', child.lines.join('\n'));
  }
  child = null;

  const rig = await openRig(context, { folder });
  const sink = s3Sink({ bucket: 'bucket', endpoint, credentials });
  // Other limits than those of the plan that was left behind.
  const options = {
    name: 'archive',
    from: { stream: 'readings' },
    to: { s3: { bucket: 'bucket' } },
    buffer: { maxBytes: 1_000_000, maxSeconds: 0.1 },
  } as const;
  const delivery = rig.start(options, sink);
  while ((await delivery.status()).backlog.records > 0) await setImmediate();
  const client = s3Client(context, server.endpoint);
  const objects = await Promise.all((await listKeys(client)).map((key) => getObject(client, key)));
  const { nextSequence } = rig.store.log.stream('readings').shards[0]!;
  assert.ok(nextSequence > 0);
  assertExactlyOnce(idsOf(objects), nextSequence);
});
