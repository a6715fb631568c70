import assert from 'node:assert/strict';
import { test } from 'node:test';
import { aacOf, accessUnitsOf, OggReader } from '../../../../gateway/api/webrtc/opus-transcoder.ts';
import type { Media } from '../../../../ingest/rtsp/sdp.ts';
import { seededRandom } from '../../../storage/support/open.ts';

function media(format: string, codec = 'MPEG4-GENERIC'): Media {
  const lines = ['m=audio 0 RTP/AVP 97', `a=fmtp:97 ${format}`];
  return { kind: 'audio', control: '', codec, profile: 'RTP/AVP', lines };
}

test('AAC is known by its description', () => {
  const hbr = 'profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3; config=119056E500';
  assert.deepEqual(aacOf(media(hbr)), { profile: 1, frequencyIndex: 3, channels: 2 });
  assert.equal(aacOf(media(hbr.replace('hbr', 'lbr'))), null);
  assert.equal(aacOf(media(hbr.replace('1190', 'FFFF'))), null);
  assert.equal(aacOf(media('mode=AAC-hbr')), null);
  assert.equal(aacOf(media(hbr, 'MP4A-LATM')), null);
});

test('access units are taken apart, and what is not whole is left out', () => {
  const payload = Buffer.from([0, 32, 0, 3 << 3, 0, 2 << 3, 1, 2, 3, 4, 5]);
  assert.deepEqual(accessUnitsOf(payload), [Buffer.from([1, 2, 3]), Buffer.from([4, 5])]);
  assert.deepEqual(accessUnitsOf(payload.subarray(0, 10)), [Buffer.from([1, 2, 3])]);
  const random = seededRandom(1);
  for (let index = 0; index < 2_000; index += 1) {
    const length = Math.floor(random() * 60);
    const bytes = Buffer.from(Array.from({ length }, () => Math.floor(random() * 256)));
    for (const unit of accessUnitsOf(bytes)) assert.ok(unit.length <= length);
  }
});

function page(...packets: readonly Buffer[]): Buffer {
  const table = packets.flatMap(({ length }) => [
    ...Array.from({ length: Math.floor(length / 255) }, () => 255),
    length % 255,
  ]);
  const header = Buffer.alloc(27);
  header.write('OggS');
  header[26] = table.length;
  return Buffer.concat([header, Buffer.from(table), ...packets]);
}

test('packets come out of Ogg, in whatever pieces it comes', () => {
  const packets = [10, 255, 300, 0, 600].map((length, index) => Buffer.alloc(length, index));
  const bytes = Buffer.concat([
    page(packets[0]!, packets[1]!),
    ...packets.slice(2).map((p) => page(p)),
  ]);
  for (const pieceBytes of [1, 7, 1_000, bytes.length]) {
    const reader = new OggReader();
    const read: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      read.push(...reader.push(bytes.subarray(at, at + pieceBytes)).map((one) => Buffer.from(one)));
    }
    assert.deepEqual(read, packets, `pieces of ${pieceBytes}`);
  }
  assert.throws(() => new OggReader().push(Buffer.alloc(100)), /no Ogg/);
});
