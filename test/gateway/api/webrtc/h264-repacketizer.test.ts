import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  H264Repacketizer,
  parameterSetsOf,
  profileOf,
} from '../../../../gateway/api/webrtc/h264-repacketizer.ts';
import { readRtp } from '../../../../ingest/rtsp/rtp.ts';
import { seededRandom } from '../../../storage/support/open.ts';

const sps = Buffer.from([0x67, 0x42, 0xe0, 0x1f, 1, 2, 3]);
const pps = Buffer.from([0x68, 9, 9]);

function rtp(sequence: number, timestamp: number, payload: Buffer, marker = true): Buffer {
  const header = Buffer.alloc(12);
  header[0] = 0x80;
  header[1] = (marker ? 0x80 : 0) | 96;
  header.writeUInt16BE(sequence & 0xffff, 2);
  header.writeUInt32BE(timestamp >>> 0, 4);
  return Buffer.concat([header, payload]);
}

function unit(type: number, bytes: number): Buffer {
  const made = Buffer.alloc(bytes, 0xab);
  made[0] = 0x60 | type;
  return made;
}

function stapA(...units: readonly Buffer[]): Buffer {
  const parts = units.flatMap((one) => [Buffer.from([one.length >> 8, one.length & 0xff]), one]);
  return Buffer.concat([Buffer.from([0x78]), ...parts]);
}

function repacketizer(parameterSets: readonly Buffer[] = []): H264Repacketizer {
  return new H264Repacketizer({ payloadType: 102, ssrc: 7, parameterSets });
}

/** The NAL units that packets hold, put together as RFC 6184 says. */
function unitsIn(packets: readonly Buffer[]): readonly Buffer[] {
  const units: Buffer[] = [];
  let open: Buffer[] | null = null;
  for (const packet of packets) {
    const { payload } = readRtp(packet)!;
    const type = payload[0]! & 0x1f;
    if (type === 24) {
      for (let at = 1; at < payload.length; at += 2 + payload.readUInt16BE(at)) {
        units.push(payload.subarray(at + 2, at + 2 + payload.readUInt16BE(at)));
      }
    } else if (type === 28) {
      const header = payload[1]!;
      if ((header & 0x80) !== 0) open = [Buffer.from([(payload[0]! & 0xe0) | (header & 0x1f)])];
      open!.push(payload.subarray(2));
      if ((header & 0x40) !== 0) {
        units.push(Buffer.concat(open!));
        open = null;
      }
    } else units.push(payload);
  }
  assert.equal(open, null, 'a unit was not ended');
  return units;
}

test('what fits goes on as it is, numbered and named anew', () => {
  const [packet, ...more] = repacketizer().take(rtp(500, 9_000, unit(1, 1_000)));
  assert.equal(more.length, 0);
  assert.equal(packet![1], 0x80 | 102);
  assert.equal(packet!.readUInt32BE(8), 7);
  assert.deepEqual(readRtp(packet!)!.payload, unit(1, 1_000));
});

test('no packet is larger than the path takes, and nothing of it is lost', () => {
  const made = repacketizer();
  const large = [unit(1, 60_000), unit(5, 1_181)];
  const packets = [
    ...made.take(rtp(1, 0, sps, false)),
    ...made.take(rtp(2, 0, large[1]!)),
    ...made.take(rtp(3, 3_000, large[0]!)),
    ...made.take(rtp(4, 6_000, stapA(unit(1, 900), unit(1, 3_000)))),
  ];
  assert.ok(packets.every(({ length }) => length <= 1_192));
  const expected = [sps, large[1]!, large[0]!, unit(1, 900), unit(1, 3_000)];
  assert.deepEqual(unitsIn(packets), expected);
  const markers = packets.filter((packet) => readRtp(packet)!.marker);
  assert.deepEqual(
    markers.map((packet) => readRtp(packet)!.timestamp),
    [0, 3_000, 6_000],
  );
});

test('fragments that are too large are cut further', () => {
  const whole = unit(1, 9_000);
  const fragment = (from: number, to: number, ends: number): Buffer =>
    Buffer.concat([Buffer.from([0x7c, ends | 1]), whole.subarray(from, to)]);
  const made = repacketizer();
  const packets = [
    ...made.take(rtp(1, 0, fragment(1, 4_000, 0x80), false)),
    ...made.take(rtp(2, 0, fragment(4_000, 8_000, 0), false)),
    ...made.take(rtp(3, 0, fragment(8_000, 9_000, 0x40))),
  ];
  assert.ok(packets.every(({ length }) => length <= 1_192));
  assert.deepEqual(unitsIn(packets), [whole]);
  assert.deepEqual(
    packets.map((packet) => packet.readUInt16BE(2)),
    packets.map((_, index) => index),
  );
});

test('a keyframe without parameter sets is given those of the description, once', () => {
  const made = repacketizer([sps, pps]);
  const key = unit(5, 50);
  assert.deepEqual(unitsIn(made.take(rtp(1, 0, key, false))), [sps, pps, key]);
  assert.deepEqual(unitsIn(made.take(rtp(2, 0, key))), [key], 'the second slice');
  assert.deepEqual(unitsIn(made.take(rtp(3, 3_000, stapA(sps, pps, key)))), [sps, pps, key]);
  const start = Buffer.from([0x7c, 0x85, 1, 2, 3]);
  assert.equal(made.take(rtp(4, 6_000, start)).length, 2);
});

test('parameter sets that the camera changes in mid-stream take the place of the old ones', () => {
  const made = repacketizer([sps, pps]);
  const other = Buffer.from([0x67, 0x64, 0, 0x28, 7]);
  made.take(rtp(1, 0, other, false));
  made.take(rtp(2, 0, unit(5, 20)));
  assert.deepEqual(unitsIn(made.take(rtp(3, 3_000, unit(5, 20)))).slice(0, 2), [other, pps]);
});

test('a hole stays a hole, and what comes twice is left out', () => {
  const made = repacketizer();
  const sequence = (packets: readonly Buffer[]): number | undefined => packets[0]?.readUInt16BE(2);
  assert.equal(sequence(made.take(rtp(65_535, 0, unit(1, 9)))), 0);
  assert.equal(sequence(made.take(rtp(0, 1, unit(1, 9)))), 1);
  assert.equal(sequence(made.take(rtp(3, 2, unit(1, 9)))), 4);
  assert.equal(sequence(made.take(rtp(3, 2, unit(1, 9)))), undefined);
  assert.equal(sequence(made.take(rtp(2, 2, unit(1, 9)))), undefined);
});

test('parameter sets are read from a description, and what is none is not', () => {
  const sets = `${sps.toString('base64')},${pps.toString('base64')}`;
  const read = parameterSetsOf([`a=fmtp:96 packetization-mode=1; sprop-parameter-sets=${sets}`]);
  assert.deepEqual(read, [sps, pps]);
  const longer = Buffer.from([0x68, 1, 2, 3]);
  const both = `${sps.toString('base64')},${longer.toString('base64')},AAAA`;
  assert.deepEqual(parameterSetsOf([`a=fmtp:96 sprop-parameter-sets=${both}`]), [sps, longer]);
  assert.equal(profileOf(read), '42e01f');
  assert.equal(profileOf([]), null);
});

test('rubbish comes out as packets that fit, or not at all', () => {
  const random = seededRandom(5);
  const made = repacketizer([sps, pps]);
  for (let index = 0; index < 5_000; index += 1) {
    const bytes = Buffer.from(
      Array.from({ length: Math.floor(random() * 4_000) }, () => Math.floor(random() * 256)),
    );
    if (random() < 0.8) bytes[0] = 0x80;
    for (const packet of made.take(bytes)) assert.ok(packet.length <= 1_192 && packet.length > 12);
  }
});
