import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Encoder } from 'cbor-x';
import { cborToJson } from '../../../ingest/mqtt/cbor.ts';
import { UndecodableError } from '../../../ingest/mqtt/errors.ts';

const fromHex = (hex: string): string => cborToJson(Buffer.from(hex, 'hex'));

describe('CBOR to JSON', () => {
  it('says the same as the examples of RFC 8949, appendix A', () => {
    const examples: [hex: string, json: string][] = [
      ['00', '0'],
      ['1864', '100'],
      ['1bffffffffffffffff', '18446744073709551615'],
      ['3bffffffffffffffff', '-18446744073709551616'],
      ['3903e7', '-1000'],
      ['f90000', '0'],
      ['f98000', '-0'],
      ['f93c00', '1'],
      ['fb3ff199999999999a', '1.1'],
      ['f97bff', '65504'],
      ['fa47c35000', '100000'],
      ['f90001', '5.960464477539063e-8'],
      ['f9c400', '-4'],
      ['f97c00', 'null'],
      ['f97e00', 'null'],
      ['f4', 'false'],
      ['f5', 'true'],
      ['f6', 'null'],
      ['f7', 'null'],
      ['c074323031332d30332d32315432303a30343a30305a', '"2013-03-21T20:04:00Z"'],
      ['c11a514b67b0', '1363896240'],
      ['c249010000000000000000', '"AQAAAAAAAAAA"'],
      ['c349010000000000000000', '"~AQAAAAAAAAAA"'],
      ['d74401020304', '"01020304"'],
      ['d64401020304', '"AQIDBA=="'],
      ['4401020304', '"AQIDBA"'],
      ['62225c', '"\\"\\\\"'],
      ['64f0908591', '"\u{10151}"'],
      ['8301820203820405', '[1,[2,3],[4,5]]'],
      ['a201020304', '{"1":2,"3":4}'],
      ['a26161016162820203', '{"a":1,"b":[2,3]}'],
      ['7f657374726561646d696e67ff', '"streaming"'],
      ['5f42010243030405ff', '"AQIDBAU"'],
      ['9f018202039f0405ffff', '[1,[2,3],[4,5]]'],
      ['bf61610161629f0203ffff', '{"a":1,"b":[2,3]}'],
    ];
    for (const [hex, json] of examples) assert.equal(fromHex(hex), json, hex);
  });

  it('reads what a device encodes with another library', () => {
    const reading = {
      device: { id: 'd-17', site: 'Köln' },
      values: [1, -2.5, 1e300, 0.1],
      ok: true,
      none: null,
      large: 4294967296,
    };
    const encoder = new Encoder({ useRecords: false, variableMapSize: true });
    assert.deepEqual(JSON.parse(cborToJson(encoder.encode(reading))), reading);
  });

  it('refuses whatever is not exactly one item', () => {
    const rubbish = [
      '', // nothing
      '18', // a number cut short
      '0000', // two items
      'ff', // a break alone
      '1c', // a reserved length
      '1f', // an integer of open length
      '62c328', // not UTF-8
      '7f6161', // no end
      '7f4161ff', // bytes within a text
      '7f7f6161ffff', // chunks within chunks
      '9a7fffffff00', // longer than the payload
      '9bffffffffffffffff', // longer than anything
      'bb7fffffffffffffff',
      '5bffffffffffffffff00',
      'a161', // a key without a value
      'bf6161ff', // the same, open
      '81'.repeat(10_000) + '00', // too deep
      'c2'.repeat(10_000) + '00',
    ];
    for (const hex of rubbish) {
      assert.throws(() => fromHex(hex), UndecodableError, hex.slice(0, 40));
    }
  });

  it('answers every cut and every changed byte with JSON or a refusal', () => {
    const bytes = new Encoder({ useRecords: false }).encode({
      a: [1, 2.5, 'text', Buffer.from('bytes'), { b: null }],
      when: new Date(0),
    });
    const tryOut = (candidate: Buffer): void => {
      let json: string;
      try {
        json = cborToJson(candidate);
      } catch (error) {
        assert.ok(error instanceof UndecodableError);
        return;
      }
      JSON.parse(json);
    };
    for (let cut = 0; cut < bytes.length; cut++) tryOut(bytes.subarray(0, cut));
    for (let at = 0; at < bytes.length; at++) {
      for (let value = 0; value < 256; value++) {
        const changed = Buffer.from(bytes);
        changed[at] = value;
        tryOut(changed);
      }
    }
  });
});
