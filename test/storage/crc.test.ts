import assert from 'node:assert/strict';
import { it } from 'node:test';
import { crc32 } from 'node:zlib';
import { joinedCrc32 } from '../../storage/crc.ts';

it('a checksum of what is joined is that of the whole, wherever it is cut', () => {
  const bytes = Buffer.from(Array.from({ length: 3000 }, (_, at) => (at * at * 31 + at) & 0xff));
  const whole = crc32(bytes);
  for (let cut = 0; cut <= bytes.length; cut += 1) {
    const [first, second] = [bytes.subarray(0, cut), bytes.subarray(cut)];
    assert.equal(joinedCrc32(crc32(first), crc32(second), second.length), whole, `cut at ${cut}`);
  }
  for (const size of [65_535, 65_536, 1_048_577, 33_554_432]) {
    const large = Buffer.alloc(size, bytes);
    assert.equal(joinedCrc32(whole, crc32(large), size), crc32(large, whole), `${size} bytes`);
  }
});
