import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkStore } from '../../storage/check.ts';
import { localMasterKey } from '../../storage/keys.ts';
import type { Log } from '../../storage/model.ts';
import { startChild } from '../support/child.ts';
import { filesWith } from '../support/plaintext.ts';
import { compiled } from '../support/program.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { openTestStore, seededRandom } from './support/open.ts';

const kills = 6;
const loadScript = join(import.meta.dirname, 'support/reseal-under-load.ts');
const masterKey = localMasterKey(Buffer.alloc(32, 1));
const masterKeys = () => Promise.resolve({ current: masterKey, previous: [] });

/** Every record of a stream by its place, `<shard> <sequence>`. */
async function allOf(log: Log, stream: string): Promise<ReadonlyMap<string, string>> {
  const held = new Map<string, string>();
  for (const { id, index, nextSequence: end } of log.stream(stream).shards) {
    for (let next = 0; next < end;) {
      const read = { shardId: id, fromSequence: next, maxRecords: 5000, maxBytes: 1e7 };
      const { records, nextSequence, skipped } = await log.read(read);
      assert.deepEqual(skipped, { trimmed: 0, corrupt: 0 });
      for (const { sequence, data } of records) held.set(`${index} ${sequence}`, data.toString());
      next = nextSequence;
    }
  }
  return held;
}

test('killed while it seals and changes keys, the store holds everything, and nothing in the open', async (t) => {
  const folder = await temporaryFolder(t);
  const random = seededRandom(11);
  const acknowledged = { changing: new Map<string, number>(), sealed: new Map<string, number>() };
  let changes = 0;
  for (let kill = 0; kill < kills; kill += 1) {
    const args = [compiled(loadScript), folder, String(kill * 1_000_000)];
    const child = startChild(t, process.execPath, args);
    await child.line(/^CHANGED none/);
    const enough = child.lines.length + Math.floor(random() * 600);
    while (child.lines.length < enough) await once(child.process.stdout!, 'data');
    await child.stop('SIGKILL');
    for (const line of child.lines) {
      const ack = /^ACK (changing|sealed) (\d+) (\d+) (\d+)$/.exec(line);
      if (ack !== null) {
        const stream = ack[1] as 'changing' | 'sealed';
        acknowledged[stream].set(`${ack[2]!} ${ack[3]!}`, Number(ack[4]));
      }
      if (line.startsWith('CHANGED')) changes += 1;
    }
    for await (const finding of checkStore({ folder })) assert.fail(JSON.stringify(finding));
    const { store } = await openTestStore(t, { folder, masterKeys });
    for (const stream of ['changing', 'sealed'] as const) {
      const held = await allOf(store.log, stream);
      for (const [place, number] of acknowledged[stream]) {
        assert.ok(held.get(place)?.startsWith(`${number} is what`), `${stream}: ${place} is gone`);
      }
    }
    await store.close();
  }
  assert.ok(changes > kills, `only ${changes} changes were seen`);

  const { store } = await openTestStore(t, { folder, masterKeys });
  await store.log.updateStream('changing', { encryption: 'aes-256-gcm' });
  await store.compaction.run();
  await store.compaction.run();
  assert.deepEqual(await filesWith(folder, 'is what only we may read'), []);
  const { size } = await allOf(store.log, 'changing');
  assert.ok(size >= acknowledged.changing.size);
  for await (const finding of checkStore({ folder })) assert.fail(JSON.stringify(finding));
});
