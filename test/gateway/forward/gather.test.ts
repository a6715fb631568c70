import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gather, recordsBefore } from '../../../gateway/forward/gather.ts';
import type { LogRecord } from '../../../storage/model.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { numbered, openRig, settle, streamOptions } from './support/rig.ts';

const hourMs = 3_600_000;

test('where a gap lies before the end of a lane, what is behind the gap is the lane’s all the same', async (t) => {
  const clock = new ManualClock();
  const rig = await openRig(t, { clock });
  const { log } = rig.store;
  await log.ensureStream(streamOptions('readings'));
  await log.append('readings', numbered(0, 100));
  clock.advance(23 * hourMs);
  await log.append('readings', numbered(100, 100));
  const shard = () => log.stream('readings').shards[0]!;
  while (shard().trimSequence === 0) {
    clock.advance(hourMs / 6);
    await settle(rig);
  }
  assert.equal(shard().trimSequence, 100);
  const lost: [number, string][] = [];
  const encoded: number[] = [];
  const gathered = await gather({
    ...{ log, clock, shardId: shard().id, from: 50, until: 150 },
    ...{ maxBytes: 1e6, maxAgeMs: hourMs * 100, measure: ({ data }) => data.length },
    ahead: {
      isClosed: false,
      close: () => undefined,
      add: (records) => {
        encoded.push(...records.map(({ sequence }) => sequence));
        return Promise.resolve();
      },
    },
    worker: 'w',
    progress: {
      lost: (_worker, count, why) => {
        if (count > 0) lost.push([count, why]);
      },
      works: () => undefined,
      awaitsMore: () => undefined,
    },
    signal: new AbortController().signal,
  });
  assert.deepEqual([gathered.kind, gathered.kind === 'range' && gathered.from], ['range', 100]);
  assert.equal(gathered.to, 150);
  assert.deepEqual(lost, [[50, 'trimmed']]);
  assert.deepEqual(
    encoded,
    Array.from({ length: 50 }, (_, index) => 100 + index),
  );
});

test('of what was read, only what lies before the end counts', () => {
  const records = [3, 4, 9, 10].map((sequence): LogRecord => ({
    ...{ sequence, partitionKey: 'k', arrivalMs: 0, data: Buffer.alloc(1) },
  }));
  const read = {
    ...{ records, nextSequence: 11, endOfShard: false, recordsBehind: 0, millisBehind: 0 },
    skipped: { trimmed: 0, corrupt: 4 },
  };
  assert.deepEqual(
    recordsBefore(10, read).map(({ sequence }) => sequence),
    [3, 4, 9],
  );
  assert.equal(recordsBefore(11, read), records);
  assert.deepEqual(recordsBefore(3, read), []);
});
