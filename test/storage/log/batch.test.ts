import assert from 'node:assert/strict';
import { crc32 } from 'node:zlib';
import { test } from 'node:test';
import { StorageError } from '../../../storage/errors.ts';
import {
  batchHeaderBytes,
  decodeBatch,
  encodeBatch,
  firstArrivalAt,
  plainOf,
  verifyBatch,
  type TimedRecord,
} from '../../../storage/log/batch.ts';

function timed(partitionKey: string, data: Buffer, arrivalMs: number): TimedRecord {
  return { partitionKey, keyBytes: Buffer.byteLength(partitionKey), data, arrivalMs };
}

const start = Date.UTC(2026, 0, 1);
const records = [
  timed('pump-1', Buffer.from('{"bar":4.2}'), start + 5),
  timed('häuser/🏠', Buffer.alloc(0), start),
  timed('k'.repeat(256), Buffer.from([0, 255, 10, 13]), start + 70_000),
];

/** Makes the checksum right again, so that only the other checks stand in the way. */
function resealed(blob: Buffer): Buffer {
  blob.writeUInt32LE(crc32(blob.subarray(batchHeaderBytes), crc32(blob.subarray(0, 52))), 52);
  return blob;
}

test('the first arrival at a time is found without making the records', () => {
  const blob = encodeBatch(40, records);
  const times = [-1, 0, 1, 5, 6, 70_000, 70_001];
  assert.deepEqual(
    times.map((afterMs) => firstArrivalAt(plainOf(blob), start + afterMs)),
    [40, 40, 40, 40, 42, 42, null],
  );
  for (let at = 0; at < blob.length; at += 1) {
    const damaged = Buffer.from(blob);
    damaged[at] = damaged[at]! ^ 0x80;
    assert.throws(() => firstArrivalAt(plainOf(damaged), start + 6), StorageError);
    // Whatever it says of its lengths, nothing outside of it is read.
    try {
      firstArrivalAt(plainOf(resealed(damaged)), Number.MAX_SAFE_INTEGER);
    } catch (error) {
      assert.ok(error instanceof StorageError, String(error));
    }
  }
});

/** Decodes what a flipped byte left, and says which error it gave; anything else fails the test. */
function outcome(blob: Buffer): string {
  try {
    decodeBatch(blob);
    return 'decoded';
  } catch (error) {
    assert.ok(error instanceof StorageError, String(error));
    return error.code;
  }
}

test('records come back from a batch as they went in', () => {
  const blob = encodeBatch(7_000_000_000, records);
  assert.deepEqual(verifyBatch(blob), {
    compressed: false,
    keyId: null,
    plainBytes: blob.length - batchHeaderBytes,
    count: 3,
    firstSequence: 7_000_000_000,
    lowArrivalMs: start,
    highArrivalMs: start + 70_000,
  });
  assert.deepEqual(
    decodeBatch(blob).map(({ sequence, partitionKey, data, arrivalMs }) => [
      sequence,
      partitionKey,
      data.toString('hex'),
      arrivalMs,
    ]),
    records.map((record, index) => [
      7_000_000_000 + index,
      record.partitionKey,
      record.data.toString('hex'),
      record.arrivalMs,
    ]),
  );
  assert.deepEqual(
    decodeBatch(blob, 2).map(({ sequence }) => sequence),
    [7_000_000_002],
  );
});

test('a batch with any one byte changed is refused as corrupt', () => {
  const sound = encodeBatch(12, records);
  for (let at = 0; at < sound.length; at += 1) {
    for (const change of [0x01, 0x80, 0xff]) {
      const blob = Buffer.from(sound);
      blob[at]! ^= change;
      assert.equal(outcome(blob), 'corrupt', `byte ${at} xor ${change}`);
    }
  }
});

test('a batch cut at any byte, or with more behind it, is refused as corrupt', () => {
  const sound = encodeBatch(12, records);
  for (let length = 0; length < sound.length; length += 1) {
    assert.equal(outcome(Buffer.from(sound.subarray(0, length))), 'corrupt', `${length} bytes`);
  }
  assert.equal(outcome(Buffer.concat([sound, Buffer.alloc(1)])), 'corrupt');
});

test('lengths that lie under a right checksum never read outside the batch', () => {
  const sound = encodeBatch(12, records);
  for (let at = 4; at < sound.length; at += 1) {
    if (at >= 52 && at < 56) continue;
    for (const change of [0x01, 0x80, 0xff]) {
      const blob = Buffer.from(sound);
      blob[at]! ^= change;
      // A changed key or datum is a sound batch of another content; everything else is an error.
      assert.ok(['decoded', 'corrupt', 'version-too-new'].includes(outcome(resealed(blob))));
    }
  }
});

test('a batch of a later release says so instead of being taken for damage', () => {
  const later = encodeBatch(0, records);
  later.writeUInt8(2, 4);
  assert.equal(outcome(resealed(later)), 'version-too-new');
  const another = encodeBatch(0, records);
  another.writeUInt8(4, 5);
  assert.equal(outcome(resealed(another)), 'version-too-new');
});

test('a batch that says that it is encrypted is not taken for an open one', () => {
  const encrypted = encodeBatch(0, records);
  encrypted.writeUInt8(2, 5);
  assert.equal(outcome(resealed(encrypted)), 'corrupt', 'without a key');
  encrypted.writeUInt32LE(7, 20);
  assert.equal(outcome(resealed(encrypted)), 'corrupt', 'with too many bytes');
  encrypted.writeUInt32LE(encrypted.readUInt32LE(16) - 28, 16);
  assert.equal(verifyBatch(resealed(encrypted)).keyId, 7);
  assert.equal(outcome(resealed(encrypted)), 'corrupt', 'it was not decrypted');
  const open = encodeBatch(0, records);
  open.writeUInt32LE(7, 20);
  assert.equal(outcome(resealed(open)), 'corrupt', 'a key for nothing');
});
