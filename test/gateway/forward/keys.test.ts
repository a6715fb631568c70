import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  fragmentObjectKeys,
  mediaObjectKeys,
  recordObjectKey,
} from '../../../gateway/forward/keys.ts';

const scope = { gatewayId: 'box-1', delivery: 'archive', prefix: 'site/', version: 3 };
const content = {
  stream: 'readings',
  streamCreatedMs: 1,
  shardId: 7,
  from: 100,
  to: 200,
  oldestArrivalMs: Date.UTC(2026, 1, 3, 4, 5, 6, 789),
};

test('a record object is named as Firehose names it', () => {
  assert.match(
    recordObjectKey(scope, content),
    /^site\/2026\/02\/03\/04\/readings-3-2026-02-03-04-05-06-[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\.ndjson\.gz$/,
  );
});

test('the same content has the same key, and any other content another one', () => {
  const key = recordObjectKey(scope, content);
  assert.equal(recordObjectKey(scope, { ...content }), key);
  const others = [
    recordObjectKey({ ...scope, gatewayId: 'box-2' }, content),
    recordObjectKey({ ...scope, delivery: 'other' }, content),
    recordObjectKey({ ...scope, version: 4 }, content),
    recordObjectKey(scope, { ...content, shardId: 8 }),
    recordObjectKey(scope, { ...content, from: 101 }),
    recordObjectKey(scope, { ...content, to: 201 }),
    recordObjectKey(scope, { ...content, streamCreatedMs: 2 }),
  ];
  assert.equal(new Set([key, ...others]).size, others.length + 1);
});

test('footage is named by its camera and start, with its index beside it', () => {
  const startUs = Date.UTC(2026, 11, 31, 23, 59, 59, 999) * 1000 + 999;
  const keys = mediaObjectKeys(scope, { camera: 'gate', mediaFileId: 5, startUs });
  assert.match(
    keys.media,
    /^site\/gate\/2026\/12\/31\/23\/gate-2026-12-31-23-59-59-[0-9a-f-]{36}\.mp4$/,
  );
  assert.equal(keys.index, keys.media.replace(/mp4$/, 'json'));
  const other = mediaObjectKeys(scope, { camera: 'gate', mediaFileId: 6, startUs });
  assert.notEqual(other.media, keys.media);
});

test('a fragment is named by its camera and start to the millisecond, apart from any other', () => {
  const startUs = Date.UTC(2026, 11, 31, 23, 59, 59, 7) * 1000 + 999;
  const keys = fragmentObjectKeys(scope, { camera: 'gate', number: 4096, startUs });
  assert.match(
    keys.media,
    /^site\/gate\/2026\/12\/31\/23\/gate-2026-12-31-23-59-59-007-[0-9a-f-]{36}\.mp4$/,
  );
  assert.equal(keys.index, keys.media.replace(/mp4$/, 'json'));
  const others = [
    fragmentObjectKeys(scope, { camera: 'gate', number: 4097, startUs }),
    fragmentObjectKeys({ ...scope, gatewayId: 'box-2' }, { camera: 'gate', number: 4096, startUs }),
    fragmentObjectKeys({ ...scope, delivery: 'other' }, { camera: 'gate', number: 4096, startUs }),
  ];
  assert.equal(new Set([keys, ...others].map(({ media }) => media)).size, 4);
});
