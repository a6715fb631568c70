import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { defaultLimits } from '../../../ingest/mqtt/limits.ts';
import {
  brokerBounds,
  deviceBounds,
  PacketReader,
  readPublish,
  typeOf,
} from '../../../ingest/mqtt/packet-reader.ts';
import { packet, publishPacket, releasePacket, subscribePacket } from './support.ts';

const sizes = { payloadBytes: 70_000, topicBytes: 100 };
const session = [
  publishPacket({ topic: 'a', payload: '' }),
  publishPacket({ topic: 'a/b', payload: 'x'.repeat(127), qos: 1, messageId: 300 }),
  packet(0xc0, Buffer.alloc(0)),
  subscribePacket(['a/+', '#'], 1),
  publishPacket({ topic: 'a/b', payload: 'y'.repeat(70_000), qos: 2, messageId: 7 }),
  releasePacket(7),
  packet(0xe0, Buffer.alloc(0)),
];
const stream = Buffer.concat(session);

function readIn(chunkBytes: number): Buffer[] {
  const reader = new PacketReader(deviceBounds(sizes));
  const packets: Buffer[] = [];
  for (let at = 0; at < stream.length; at += chunkBytes) {
    reader.read(stream.subarray(at, at + chunkBytes), ({ bytes, start, end }) =>
      packets.push(Buffer.from(bytes.subarray(start, end))),
    );
  }
  return packets;
}

describe('packets', () => {
  it('are the same however the bytes are cut', () => {
    for (const chunkBytes of [1, 2, 3, 5, 127, 128, 1000, 65_536, stream.length]) {
      assert.deepEqual(readIn(chunkBytes), session, `in pieces of ${chunkBytes} bytes`);
    }
  });

  it('are refused by their header, before their body has come', () => {
    const refused: [string, Buffer, RegExp][] = [
      ['a type no client sends', Buffer.from([0x20]), /type 2/],
      ['too long', Buffer.from([0x30, 0xff, 0xff, 0x7f]), /at most/],
      ['an endless length', Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff]), /over four bytes/],
      ['an empty PUBLISH', Buffer.from([0x30, 0]), /truncated/],
    ];
    for (const [what, bytes, message] of refused) {
      const reader = new PacketReader(deviceBounds(sizes));
      assert.throws(() => reader.read(bytes, () => undefined), message, what);
    }
  });

  it('before a refused one are taken', () => {
    const types: number[] = [];
    const reader = new PacketReader(deviceBounds(sizes));
    const bytes = Buffer.concat([...session.slice(0, 3), Buffer.from([0x20, 0])]);
    assert.throws(() => reader.read(bytes, (packet) => types.push(typeOf(packet))));
    assert.deepEqual(types, [3, 3, 12]);
  });
});

describe('a PUBLISH', () => {
  const read = (bytes: Buffer, version: 4 | 5 = 4): ReturnType<typeof readPublish> => {
    let publish: ReturnType<typeof readPublish> = null;
    const reader = new PacketReader(brokerBounds(defaultLimits));
    reader.read(bytes, (packet) => (publish = readPublish(packet, version)));
    return publish;
  };

  it('has its topic, payload and message id', () => {
    assert.deepEqual(read(publishPacket({ topic: 'ä/b', payload: 'x', qos: 1, messageId: 513 })), {
      topic: 'ä/b',
      payload: Buffer.from('x'),
      qos: 1,
      retain: false,
      messageId: 513,
    });
    assert.deepEqual(read(packet(0x31, Buffer.from([0, 1, 97]))), {
      topic: 'a',
      payload: Buffer.alloc(0),
      qos: 0,
      retain: true,
      messageId: 0,
    });
  });

  it('of MQTT 5 has properties, which are left out', () => {
    const long = Buffer.alloc(200, 1);
    const rows: [Buffer, string][] = [
      [Buffer.from([0]), 'x'],
      [Buffer.from([2, 1, 1]), ''],
      [Buffer.concat([Buffer.from([0xc8, 1]), long]), 'payload'],
    ];
    for (const [properties, payload] of rows) {
      const body = [Buffer.from([0, 1, 97, 0, 9]), properties, Buffer.from(payload)];
      const publish = read(packet(0x34, Buffer.concat(body)), 5);
      assert.deepEqual([publish?.qos, publish?.messageId], [2, 9]);
      assert.equal(publish?.payload.toString(), payload);
    }
    for (const lie of [[], [9, 1], [0xff, 0xff, 0xff, 0x7f], [0xff, 0xff, 0xff, 0xff, 1]]) {
      assert.equal(read(packet(0x30, Buffer.from([0, 1, 97, ...lie])), 5), null, lie.join());
    }
  });

  it('is none of QoS 3, without a message id, or longer inside than outside', () => {
    const others = [
      packet(0x36, Buffer.from([0, 1, 97, 0, 1])),
      publishPacket({ topic: 'a', payload: 'x', qos: 1, messageId: 0 }),
      packet(0x30, Buffer.from([0xff, 0xff, 97])),
      packet(0x32, Buffer.from([0, 1, 97])),
    ];
    for (const bytes of others) assert.equal(read(bytes), null, bytes.toString('hex'));
  });
});
