/** The small formats of the store: chunk tables and fragment headers. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StorageError } from '../../../storage/errors.ts';
import { decodeChunkTable, encodeChunkTable } from '../../../storage/video/chunk-table.ts';
import {
  decodeFragmentHeader,
  encodeFragmentHeader,
  type FragmentHeader,
  fragmentHeaderBytes,
} from '../../../storage/video/fragment-header.ts';
import { boxesIn } from '../../../storage/video/boxes.ts';

describe('the table of chunks', () => {
  it('comes back as it was', () => {
    for (const chunks of [
      [],
      [{ bytes: 0, durationUs: 0 }],
      [
        { bytes: 51_872, durationUs: 240_000 },
        { bytes: 4_309, durationUs: 239_999 },
        { bytes: 2 ** 32, durationUs: 120_000_000 },
        { bytes: 127, durationUs: 1 },
        { bytes: 128, durationUs: 2 ** 45 },
      ],
    ]) {
      assert.deepEqual(decodeChunkTable(encodeChunkTable(chunks)), chunks);
    }
  });

  it('takes about four bytes a chunk', () => {
    const chunks = Array.from({ length: 10 }, (_, index) => ({
      bytes: 60_000 + index * 997,
      durationUs: 200_000,
    }));
    assert.ok(encodeChunkTable(chunks).length <= 45);
  });

  it('refuses to end in the middle of a number', () => {
    const table = encodeChunkTable([{ bytes: 51_872, durationUs: 240_000 }]);
    for (let length = 1; length < table.length; length += 1) {
      assert.throws(
        () => decodeChunkTable(table.subarray(0, length)),
        (error) => error instanceof StorageError && error.code === 'corrupt',
      );
    }
    assert.throws(() => decodeChunkTable(Buffer.alloc(40, 0xff)), StorageError);
  });
});

describe('the header of a fragment', () => {
  const header: FragmentHeader = {
    sealed: true,
    damaged: true,
    crc: 0xdeadbeef,
    number: 2 ** 50,
    runId: 7,
    initId: 3,
    startUs: 1_767_225_600_000_001,
    durationUs: 2_000_001,
    producerMs: 1_767_225_600_000,
    serverMs: 1_767_225_600_123,
    bodyBytes: 1_000_000,
  };

  it('comes back as it was', () => {
    assert.deepEqual(decodeFragmentHeader(encodeFragmentHeader(header)), header);
    const open = { ...header, sealed: false, damaged: false, crc: 0, producerMs: null };
    assert.deepEqual(decodeFragmentHeader(encodeFragmentHeader(open)), open);
  });

  it('is one box that players pass over', () => {
    const boxes = [...boxesIn(encodeFragmentHeader(header))];
    assert.deepEqual(
      boxes.map(({ type, end }) => ({ type, end })),
      [{ type: 'uuid', end: fragmentHeaderBytes }],
    );
  });

  it('is not taken for whole when a byte of it changed or is missing', () => {
    const bytes = encodeFragmentHeader(header);
    for (let at = 0; at < bytes.length; at += 1) {
      assert.equal(decodeFragmentHeader(bytes.subarray(0, at)), null);
      for (const bit of [1, 0x80]) {
        const mutant = Buffer.from(bytes);
        mutant[at] = (bytes[at] ?? 0) ^ bit;
        assert.equal(decodeFragmentHeader(mutant), null, `byte ${at}`);
      }
    }
  });
});
