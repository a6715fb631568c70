import assert from 'node:assert/strict';
import { test } from 'node:test';
import { uuidV5 } from '../../../gateway/forward/uuid.ts';

const dns = '6ba7b810-9dad-11d1-80b4-00c04fd430c8';
const url = '6ba7b811-9dad-11d1-80b4-00c04fd430c8';

test('UUIDv5 agrees with the published vectors', () => {
  // RFC 9562, appendix A.4; the others are Python's uuid.uuid5.
  assert.equal(uuidV5(dns, 'www.example.com'), '2ed6657d-e927-568b-95e1-2665a8aea6a2');
  assert.equal(uuidV5(dns, 'python.org'), '886313e1-3b8a-5372-9b90-0c9aee199e5d');
  assert.equal(uuidV5(url, 'http://python.org/'), '4c565f0d-3f5a-5890-b41b-20cf47701c5e');
});

test('a namespace that is no UUID is a mistake', () => {
  assert.throws(() => uuidV5('not-one', 'x'), TypeError);
});
