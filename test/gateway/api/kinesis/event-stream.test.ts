import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventStreamCodec } from '@smithy/core/event-streams';
import { encodeMessage } from '../../../../gateway/api/kinesis/event-stream.ts';

const codec = new EventStreamCodec(
  (bytes) => Buffer.from(bytes as Uint8Array).toString(),
  (text) => Buffer.from(text),
);
const headers = { ':message-type': 'event', ':event-type': 'SubscribeToShardEvent', ü: 'ß' };

for (const [what, payload] of [
  ['without a payload', []],
  ['with a payload of one piece', [Buffer.from('{"Records":[]}')]],
  ['with a payload of several pieces', [Buffer.from('{"Rec'), Buffer.alloc(0), Buffer.from('"}')]],
  ['with a long payload', [Buffer.alloc(300_000, 'a'), Buffer.alloc(70_000, 'b')]],
] as const) {
  test(`a message ${what} is what the SDK's own codec writes and reads`, () => {
    const bytes = Buffer.concat(encodeMessage(headers, payload));
    const stringHeaders = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name, { type: 'string' as const, value }]),
    );
    const body = Buffer.concat(payload);
    assert.deepEqual(bytes, Buffer.from(codec.encode({ headers: stringHeaders, body })));
    const decoded = codec.decode(bytes);
    assert.deepEqual(decoded.headers, stringHeaders);
    assert.deepEqual(Buffer.from(decoded.body), body);
  });
}
