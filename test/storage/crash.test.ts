import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkStore } from '../../storage/check.ts';
import type { Log } from '../../storage/model.ts';
import { Database } from '../../storage/sqlite.ts';
import { startChild } from '../support/child.ts';
import { compiled } from '../support/program.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { openTestStore, seededRandom } from './support/open.ts';

const kills = 10;
const loadScript = join(import.meta.dirname, 'support/append-under-load.ts');

async function fileHash(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}

/** Number by shard index and sequence, of one stream. */
type Acknowledged = Map<string, number>;

async function assertHeld(log: Log, name: string, acknowledged: Acknowledged): Promise<void> {
  const held = new Map<string, number>();
  for (const shard of log.stream(name).shards) {
    let next = shard.trimSequence;
    while (next < shard.nextSequence) {
      const read = { shardId: shard.id, fromSequence: next, maxRecords: 5000, maxBytes: 1e7 };
      const { records, nextSequence, skipped } = await log.read(read);
      assert.deepEqual(skipped, { trimmed: 0, corrupt: 0 });
      for (const record of records) {
        assert.equal(record.sequence, next, 'a gap');
        next += 1;
        held.set(`${shard.index} ${record.sequence}`, Number.parseInt(record.data.toString(), 10));
      }
      assert.equal(nextSequence, next);
    }
    for (const [place, number] of acknowledged) {
      const [index, sequence] = place.split(' ').map(Number);
      if (index !== shard.index || sequence! < shard.trimSequence) continue;
      assert.equal(held.get(place), number, `${name}: what was acknowledged at ${place} is gone`);
    }
  }
}

test('killed at any moment, the store holds all that it acknowledged', async (t) => {
  const folder = await temporaryFolder(t);
  const random = seededRandom(7);
  const acknowledged = { kept: new Map<string, number>(), ring: new Map<string, number>() };
  let checkpoint = 0;
  let seen = 0;
  for (let kill = 0; kill < kills; kill += 1) {
    const args = [compiled(loadScript), folder, String(kill * 1_000_000)];
    const child = startChild(t, process.execPath, args);
    await child.line(/^ACK/);
    // A number of acknowledgements later, wherever in a commit or a trim that is.
    const enough = child.lines.length + Math.floor(random() * 3000);
    while (child.lines.length < enough) await once(child.process.stdout!, 'data');
    await child.stop('SIGKILL');
    for (const line of child.lines) {
      const ack = /^ACK (kept|ring) (\d+) (\d+) (\d+)$/.exec(line);
      if (ack !== null) {
        acknowledged[ack[1] as 'kept' | 'ring'].set(`${ack[2]!} ${ack[3]!}`, Number(ack[4]));
        seen += 1;
      }
      const moved = /^CHECKPOINT (\d+)$/.exec(line);
      if (moved !== null) checkpoint = Math.max(checkpoint, Number(moved[1]));
    }
    const files = ['headgate.db', 'headgate.db-wal'].map((name) => join(folder, name));
    const before = await Promise.all(files.map(fileHash));
    for await (const finding of checkStore({ folder })) assert.fail(JSON.stringify(finding));
    assert.deepEqual(await Promise.all(files.map(fileHash)), before, 'the check changed the store');

    const { store } = await openTestStore(t, { folder });
    await assertHeld(store.log, 'kept', acknowledged.kept);
    await assertHeld(store.log, 'ring', acknowledged.ring);
    const [application] = store.log.applications.list();
    assert.ok((application?.leases[0]?.checkpoint ?? 0) >= checkpoint);
    await store.close();
  }
  assert.ok(seen > 1000, `only ${seen} acknowledgements were seen`);
  const database = await Database.open(join(folder, 'headgate.db'), { readOnly: true });
  const compacted = await database.all('SELECT id FROM shard WHERE compacted_sequence > 0');
  await database.close();
  assert.equal(compacted.length, 4, 'compaction was at work in every shard');
});
