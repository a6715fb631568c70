import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jsonText } from '../../../../gateway/forward/format/json-text.ts';
import { seededRandom } from '../../../storage/support/open.ts';

const texts = [
  '{"a":[1,-0.5e+3,true,{"b":null}],"c":"x\\u00e9\\n\\"","d":{},"e":[]}',
  '[[],{},"",0,-0,1E5,2e-7,false]',
  ' {"é":"\u{1f600}", "k" :\t1 } ',
  '"alone"',
  '-12.75',
];

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

test('says the same as the parser of texts that were changed at random', () => {
  const random = seededRandom(7);
  const alphabet = Array.from('{}[]",:\\ \t\r\n0123456789.eE+-truefalsn/bu\u0001\u00e9');
  const any = (count: number): number => Math.floor(random() * count);
  let sound = 0;
  for (let round = 0; round < 60_000; round += 1) {
    const characters = Array.from(texts[any(texts.length)] ?? '');
    for (let change = any(3); change >= 0; change -= 1) {
      const character = alphabet[any(alphabet.length)] ?? '';
      characters.splice(any(characters.length + 1), any(3), ...(random() < 0.7 ? [character] : []));
    }
    const text = characters.join('');
    const found = jsonText(Buffer.from(text));
    assert.equal(found !== 'none', parses(text), JSON.stringify(text));
    if (found === 'none') continue;
    sound += 1;
    assert.equal(found === 'several-lines', /[\r\n]/.test(text), JSON.stringify(text));
  }
  assert.ok(sound > 5_000, `${sound} of them were JSON`);
});

test('texts that are cut off are none', () => {
  for (const text of texts.slice(0, 4)) {
    const bytes = Buffer.from(text.trim());
    assert.equal(jsonText(bytes), 'one-line');
    for (let length = 0; length < bytes.length; length += 1) {
      assert.equal(jsonText(bytes.subarray(0, length)), 'none', text.slice(0, length));
    }
  }
});

test('what is not UTF-8 is none, nor are control characters in strings', () => {
  for (const byte of [0x80, 0xff, 0xc3, 0x00, 0x0a, 0x1f]) {
    assert.equal(jsonText(Buffer.of(0x22, byte, 0x22)), 'none');
  }
});

test('nested too deeply for those who read it, it is taken for none', () => {
  const nested = (depth: number): Buffer => Buffer.from('['.repeat(depth) + ']'.repeat(depth));
  assert.equal(jsonText(nested(1_000)), 'one-line');
  assert.equal(jsonText(nested(1_000).subarray(1)), 'none');
  assert.equal(jsonText(nested(1_001)), 'none');
  assert.equal(jsonText(Buffer.from('{"a":'.repeat(200_000))), 'none');
});
