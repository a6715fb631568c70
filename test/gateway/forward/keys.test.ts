import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fragmentObjectKeys, mediaObjectKeys } from '../../../gateway/forward/keys.ts';

const scope = { gatewayId: 'box-1', delivery: 'archive', prefix: 'site/', version: 3 };

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
