/**
 * Queries that cost all they can, over records made for them: each ends after a bounded number of
 * steps, and says so.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileJmespath } from '../../../../gateway/forward/query/jmespath/jmespath.ts';
import { compileJq } from '../../../../gateway/forward/query/jq/jq.ts';
import type { Json } from '../../../../gateway/forward/query/query.ts';
import { lastPlaceIn, partsOf, placeIn } from '../../../../gateway/forward/query/search.ts';
import { Steps } from '../../../../gateway/forward/query/steps.ts';
import { recordFilter, recordSelect } from '../../../../gateway/forward/shape/filter.ts';
import { randomFrom } from '../../../support/random.ts';

const tooMuch = { name: 'QueryError', message: /^it takes more than 200000 steps$/ };

const numbers = Array.from({ length: 200_000 }, (_, at) => (at * 7919) % 200_003);
const record: Json = {
  numbers,
  texts: numbers.slice(0, 100_000).map((number) => `text ${number}`),
  objects: numbers.slice(0, 40_000).map((a) => ({ a, b: `x${a}` })),
  fields: Object.fromEntries(numbers.slice(0, 60_000).map((number) => [`k${number}`, number])),
  faces: '😀'.repeat(250_000),
  long: 'a'.repeat(1024 ** 2),
  half: `${'a'.repeat(100_000)}b${'a'.repeat(100_000)}`,
  deep: nestedIn(3000),
};

function nestedIn(depth: number): Json {
  let value: Json = 1;
  for (let level = 0; level < depth; level += 1) value = [value];
  return value;
}

function many(text: string, count: number, separator: string): string {
  return Array.from({ length: count }, () => text).join(separator);
}

const doubled = `null|${many('[.,.]', 58, '|')}`;
const doubledInJmespath = many('[@,@]', 300, '|');

test('JMESPath that grows, repeats and compares without end is stopped', () => {
  const queries = [
    `numbers | [${many('@', 900, ',')}] | [] | [${many('@', 900, ',')}] | []`,
    `numbers | ${many('[@,@]|[]', 300, '|')}`,
    `${doubledInJmespath} | to_string(@)`,
    `[${doubledInJmespath}, ${many('[@,@]', 300, '|')}] | [0] == [1]`,
    `numbers[?${many('`null`', 400, '||')}]`,
    `numbers[].[${many('[@]', 500, ',')}]`,
    `numbers[].[@${'[0]'.repeat(1300)}]`,
    `numbers[].{${Array.from({ length: 300 }, (_, at) => `a${at}: @`).join(',')}}`,
    'map(&map(&@, `[1,2,3,4,5,6,7,8,9,10]`), numbers)',
    `[${many('sort(texts)', 50, ',')}]`,
    `[${many('sort_by(objects, &b)', 50, ',')}]`,
    `[${many('keys(fields)', 50, ',')}]`,
    `[${many('!fields', 400, ',')}]`,
    `[${many('fields == merge(fields)', 50, ',')}]`,
    `[${many('reverse(faces)', 50, ',')}]`,
    `[${many('to_string(deep)', 200, ',')}]`,
    `[${many('contains(long, half)', 50, ',')}]`,
  ];
  for (const query of queries) {
    assert.throws(() => compileJmespath(query).run(record), tooMuch, query.slice(0, 80));
  }
});

test('so is jq', () => {
  const queries = [
    'range(1e12)',
    'range(1e12)|empty',
    '[range(1e300;1e301;1)]',
    'first(range(1e12)|select(. < 0))',
    `range(1e12)|(${many('1', 1500, ',')})|empty`,
    `reduce range(1e12) as $x (0; ${many('1', 1500, ',')})`,
    `${'try '.repeat(60)}range(1e12)|empty`,
    `${'('.repeat(50)}range(1e12)${'//0)'.repeat(50)}|empty`,
    `${'('.repeat(55)}range(1e12)${'|.)'.repeat(55)}|empty`,
    `${Array.from({ length: 60 }, (_, at) => `1 as $v${at}|`).join('')}range(1e12) as $x|empty`,
    `"${'\\(1,2)'.repeat(500)}"`,
    `{${Array.from({ length: 300 }, (_, at) => `a${at}:(1,2)`).join(',')}}|empty`,
    '[range(1e12)|try error catch 0]',
    '[range(1e12)|try ("x"|fromjson) catch 0]',
    '[range(1e12)|strftime("%c")]',
    ...['tojson', '[.,.]|sort', 'flatten', '[..]', 'contains([.[]])'].map(
      (rest) => `${doubled}|${rest}`,
    ),
    `(${doubled}) as $other|${doubled}|. == $other`,
    `"ab"|${many('.+.', 60, '|')}|explode`,
    `[1]|${many('.+.', 60, '|')}`,
    '"abcdefgh"*1e9',
    'reduce range(1e12) as $x (""; .+"a")',
    'reduce range(1e12) as $x ([]; .+[$x])',
    'reduce range(1e12) as $x ({}; .*{"a\\($x)":1})',
    '[..|..]',
    '[.objects|sort, sort, sort]',
    '.fields as $f|[range(1e12)|{} < $f]',
    '.fields as $f|[range(1e12)|$f|has("x")]',
    '.numbers-.numbers',
    '.numbers as $n|.numbers|inside($n)',
    '.half as $h|[range(50) as $x|.long|contains($h)]',
    '.half as $h|[range(50) as $x|.long/$h]',
    '.half as $h|[range(50) as $x|.long|rindex($h)]',
    '(.fields|tojson) as $t|[range(1e12)|$t|fromjson]',
    '.deep as $d|[range(1e12)|$d|tojson]',
    '[range(50) as $x|.long|ascii_upcase]',
    '[range(50) as $x|.faces|explode]',
    '("%Y"*50000) as $f|("0"*400000)|strptime($f)',
  ];
  for (const query of queries) {
    assert.throws(() => compileJq(query).run(record), tooMuch, query.slice(0, 80));
  }
});

test('a count that is no number does not take the bound off', () => {
  const around = (call: string): string => `(try (${call}) catch 0)|reduce range(1e6) as $x (0; 1)`;
  const queries = [
    '0|strftime(1e400-1e400)',
    '0|strftime(1e400%3)',
    '"0"|strptime(1e400-1e400)',
    '"x"*(1e400-1e400)',
    '[1]|flatten(1e400-1e400)',
  ];
  for (const query of queries) {
    assert.throws(() => compileJq(around(query)).run(null), tooMuch, query);
  }
  assert.throws(() => {
    new Steps().take(NaN);
  }, tooMuch);
  for (const format of ['true', '1e9', 'null', '[]']) {
    const [said] = compileJq(`try (0|strftime(${format})) catch .`).run(null);
    assert.equal(said, 'strftime/1 requires a string format');
  }
});

test('what a query raises is not printed, however large it is', () => {
  assert.throws(() => compileJq(`${doubled}|error`).run(null), {
    name: 'QueryError',
    message: 'it raises array',
  });
  assert.deepEqual(compileJq(`${doubled}|try error catch length`).run(null), [2]);
  assert.throws(() => compileJq('.long|error').run(record), { message: 'a'.repeat(200) });
});

test('a number that never ends well is read but once', () => {
  const [digits] = compileJq('("1"*100000)+"x"|try tonumber catch "none"').run(null);
  assert.equal(digits, 'none');
});

test('queries that people write have steps enough for large records', () => {
  const objects = Array.from({ length: 1000 }, (_, a) => ({ a, b: `x${a}`, c: { d: [a] } }));
  const found = compileJmespath("[?a >= `500` && starts_with(b, 'x5')].{a: a, d: c.d[0]}").run(
    objects,
  );
  assert.equal((found[0] as readonly Json[]).length, 100);
  const taken = compileJq('[.[]|select(.a >= 500 and (.b|startswith("x5")))|{a,b}]').run(objects);
  assert.equal((taken[0] as readonly Json[]).length, 100);
  assert.deepEqual(compileJq('[..|numbers]|length').run(numbers.slice(0, 15_000)), [15_000]);
  const long = { long: 'x'.repeat(1024 ** 2) };
  assert.deepEqual(compileJmespath("contains(long, 'y')").run(long), [false]);
});

test('a record that is too much for its query fails, and says why', () => {
  const shaped = {
    ...{ sequence: 1, subSequence: 0, partitionKey: 'k', arrivalMs: 0, partition: null },
    data: Buffer.from(JSON.stringify(numbers)),
  };
  const refusal = {
    stage: 'processing-failed',
    errorMessage: /has no answer: it takes more than 200000 steps\.$/,
  };
  const filtered = recordFilter(`[?${many('@ == `1`', 100, '||')}]`)(shaped);
  assert.ok(typeof filtered === 'object');
  assert.equal(filtered.stage, refusal.stage);
  assert.match(filtered.errorMessage, refusal.errorMessage);
  const selected = recordSelect(many('[@,@]', 30, '|'))(shaped);
  assert.ok('stage' in selected);
  assert.match(selected.errorMessage, /it takes more than \d+ steps/);
  // All of it is no more than it was.
  const whole = recordSelect('@')(shaped);
  assert.ok('data' in whole && whole.data.equals(shaped.data));
});

test('texts are found in texts as JavaScript finds them', () => {
  const random = randomFrom(20261122);
  const made = (length: number): string =>
    Array.from({ length }, () => (random() < 0.85 ? 'a' : 'b')).join('');
  let found = 0;
  for (let round = 0; round < 2000; round += 1) {
    const text = made(Math.floor(random() * 80));
    const searched = random() < 0.7 ? text.slice(3, 3 + Math.floor(random() * 20)) : made(11);
    if (searched === '') continue;
    const steps = new Steps();
    assert.equal(placeIn(text, searched, steps), text.indexOf(searched));
    assert.equal(lastPlaceIn(text, searched, steps), text.lastIndexOf(searched));
    assert.deepEqual(partsOf(text, searched, steps), text.split(searched));
    if (text.includes(searched) && searched.length > 8) found += 1;
  }
  assert.ok(found > 200, String(found));
});
