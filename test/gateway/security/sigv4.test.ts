import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import {
  canonicalRequest,
  sha256Hex,
  signatureOf,
  signingKey,
  timestampOf,
  type RequestToSign,
} from '../../../gateway/security/sigv4.ts';

// The values of AWS's own documentation and of its test suite for signers (aws-sig-v4-test-suite).
const secret = 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY';
const timestamp = '20150830T123600Z';
const emptyHash = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

function toSign(
  method: string,
  url: string,
  headers: Readonly<Record<string, string>>,
  body = '',
): RequestToSign {
  return {
    method,
    url: new URL(url),
    header: (name) => headers[name],
    signedHeaders: Object.keys(headers).sort(),
    payloadHash: sha256Hex(Buffer.from(body)),
  };
}

test('the example of the documentation is signed as it says', () => {
  const request = toSign('GET', 'https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08', {
    'content-type': 'application/x-www-form-urlencoded; charset=utf-8',
    host: 'iam.amazonaws.com',
    'x-amz-date': timestamp,
  });
  assert.equal(
    canonicalRequest(request),
    [
      'GET',
      '/',
      'Action=ListUsers&Version=2010-05-08',
      'content-type:application/x-www-form-urlencoded; charset=utf-8',
      'host:iam.amazonaws.com',
      `x-amz-date:${timestamp}`,
      '',
      'content-type;host;x-amz-date',
      emptyHash,
    ].join('\n'),
  );
  assert.equal(
    createHash('sha256').update(canonicalRequest(request)).digest('hex'),
    'f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59',
  );
  const scope = { date: '20150830', region: 'us-east-1', service: 'iam' };
  const key = signingKey(secret, scope);
  assert.equal(
    key.toString('hex'),
    'c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9',
  );
  assert.equal(
    signatureOf(request, timestamp, scope, key),
    '5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7',
  );
});

test('the vectors of the test suite come out', () => {
  const scope = { date: '20150830', region: 'us-east-1', service: 'service' };
  const key = signingKey(secret, scope);
  const headers = { host: 'example.amazonaws.com', 'x-amz-date': timestamp };
  for (const [name, request, signature] of [
    [
      'get-vanilla',
      toSign('GET', 'https://example.amazonaws.com/', headers),
      '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31',
    ],
    [
      'get-vanilla-query-order-key-case',
      toSign('GET', 'https://example.amazonaws.com/?Param2=value2&Param1=value1', headers),
      'b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500',
    ],
    [
      'post-vanilla',
      toSign('POST', 'https://example.amazonaws.com/', headers),
      '5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b',
    ],
  ] as const) {
    assert.equal(signatureOf(request, timestamp, scope, key), signature, name);
  }
});

test('a path and a query have one canonical spelling', () => {
  const lines = (url: string): readonly string[] =>
    canonicalRequest(toSign('GET', url, { host: 'h' }))
      .split('\n')
      .slice(1, 3);
  assert.deepEqual(lines('http://h'), ['/', '']);
  assert.deepEqual(lines('http://h//a/./b/../c d/'), ['/a/c%2520d/', '']);
  assert.deepEqual(lines('http://h/%C3%BC'), ['/%25C3%25BC', '']);
  assert.deepEqual(lines('http://h/?b=2&a=1&a=0&A=%7e&c'), ['/', 'A=~&a=0&a=1&b=2&c=']);
  assert.deepEqual(lines('http://h/?a=%2fx&a=+&&x=y=z'), ['/', 'a=%2B&a=%2Fx&x=y%3Dz']);
  assert.deepEqual(lines('http://h/?X-Amz-Signature=1&q=%zz'), ['/', 'q=%25zz']);
});

test('header values are tidied, and those that are missing are empty', () => {
  const request = { ...toSign('GET', 'http://h/', { a: '  x \t y  ' }), signedHeaders: ['a', 'b'] };
  assert.deepEqual(canonicalRequest(request).split('\n').slice(3, 7), ['a:x y', 'b:', '', 'a;b']);
});

test('a time is written in the basic format, to the second', () => {
  assert.equal(timestampOf(Date.UTC(2026, 10, 1, 2, 3, 4, 999)), '20261101T020304Z');
});
