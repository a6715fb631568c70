import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { compileFilter, patternProblem } from '../../../gateway/event-sources/pattern.ts';

const fits = (pattern: unknown, data: unknown, partitionKey = 'sensor-1'): boolean =>
  compileFilter([JSON.stringify(pattern)])({
    partitionKey,
    data: Buffer.from(typeof data === 'string' ? data : JSON.stringify(data)),
  });

describe('an event pattern', () => {
  const reading = { celsius: 31, site: 'Nord', tags: ['a', 'b'], off: null, inner: { x: true } };
  const cases: readonly (readonly [unknown, boolean])[] = [
    [{ data: { celsius: [31] } }, true],
    [{ data: { celsius: ['31'] } }, false],
    [{ data: { celsius: [{ numeric: ['>', 30] }] } }, true],
    [{ data: { celsius: [{ numeric: ['>', 0, '<=', 30] }] } }, false],
    [{ data: { site: [{ numeric: ['>', 0] }] } }, false],
    [{ data: { site: [{ prefix: 'No' }] } }, true],
    [{ data: { site: [{ suffix: 'rd' }] } }, true],
    [{ data: { site: [{ 'equals-ignore-case': 'nORD' }] } }, true],
    [{ data: { site: [{ 'anything-but': ['Nord', 'Ost'] }] } }, false],
    [{ data: { site: [{ 'anything-but': { prefix: 'S' } }] } }, true],
    [{ data: { absent: [{ 'anything-but': 'x' }] } }, false],
    [{ data: { tags: ['b', 'c'] } }, true],
    [{ data: { off: [null] } }, true],
    [{ data: { absent: [null] } }, false],
    [{ data: { absent: [{ exists: false }] } }, true],
    [{ data: { site: [{ exists: true }] } }, true],
    [{ data: { inner: { x: [true] } } }, true],
    [{ data: { inner: { x: [false] } } }, false],
    [{ data: { $or: [{ celsius: [1] }, { site: ['Nord'] }] } }, true],
    [{ data: { $or: [{ celsius: [1] }, { site: ['Ost'] }] } }, false],
    [{ partitionKey: [{ prefix: 'sensor' }] }, true],
    [{ partitionKey: ['other'], data: { celsius: [31] } }, false],
    [{ data: { toString: [{ exists: true }] } }, false],
  ];
  for (const [pattern, wanted] of cases) {
    it(`${JSON.stringify(pattern)} ${wanted ? 'fits' : 'does not fit'}`, () => {
      assert.equal(fits(pattern, reading), wanted);
    });
  }

  it('over data fits nothing that is no JSON, also not by what it lacks', () => {
    assert.equal(fits({ data: { a: [{ exists: false }] } }, 'rubbish'), false);
    assert.equal(fits({ partitionKey: ['sensor-1'] }, 'rubbish'), true);
  });

  it('is one of several', () => {
    const filter = compileFilter(['{"data":{"a":[1]}}', '{"data":{"b":[1]}}']);
    assert.equal(filter({ partitionKey: 'k', data: Buffer.from('{"b":1}') }), true);
    assert.equal(filter({ partitionKey: 'k', data: Buffer.from('{"c":1}') }), false);
  });

  const wrong = [
    'rubbish',
    '[]',
    '{}',
    '{"eventID":["x"]}',
    '{"data":{"a":1}}',
    '{"data":{"a":[]}}',
    '{"data":{"a":[[1]]}}',
    '{"data":{"a":[{}]}}',
    '{"data":{"a":[{"prefix":"x","suffix":"y"}]}}',
    '{"data":{"a":[{"prefix":1}]}}',
    '{"data":{"a":[{"cidr":"10.0.0.0/8"}]}}',
    '{"data":{"a":[{"numeric":[">"]}]}}',
    '{"data":{"a":[{"numeric":["~",1]}]}}',
    '{"data":{"a":[{"exists":"yes"}]}}',
    '{"data":{"a":[{"anything-but":[true]}]}}',
    '{"data":{"$or":[{"a":[1]}]}}',
    `${'{"data":'.repeat(1)}${'{"a":'.repeat(40)}[1]${'}'.repeat(41)}`,
  ];
  for (const pattern of wrong) {
    it(`is not ${pattern.slice(0, 60)}`, () => {
      assert.notEqual(patternProblem(pattern), null);
    });
  }
});
