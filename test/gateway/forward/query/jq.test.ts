import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { compileJq, extractionQueries } from '../../../../gateway/forward/query/jq/jq.ts';
import type { Json } from '../../../../gateway/forward/query/query.ts';
import { findProgram } from '../../../support/tools.ts';
import { randomFrom } from '../../../support/random.ts';

function run(query: string, value: Json = null): readonly Json[] {
  return compileJq(query).run(value);
}

const inputs: readonly Json[] = [
  ...[
    null,
    true,
    3,
    -7,
    1.5,
    'aBc é',
    '2019-08-09T20:20:27Z',
    '1 ',
    [],
    [3, 1, 2],
    ['b', 'a', null],
  ],
  ...[[{ a: 2, b: 'x' }, { a: 1 }], [['x', 1]], { b: 1, a: { c: [1, 2] } }, 1565382027.5],
  { customer_id: '1234567890', event_timestamp: 1565382027, type: { device: 'mobile' } },
];

/** Each by itself is what jq 1.6 and we are asked. */
const queries = `.a
.type.device
."customer_id"
.["a"]
.[0]
.[-1]
.[1.7]
.[1:]
.[:1]
.[-2:-1]
.[0.2:1.2]
.["a","b"]
.[0,1]
.[]
.[]?
.a.c[0]
.a["c"][0]
."a"."c"
..
[..]
[..|scalars]
[.[]?|.a?]
length
utf8bytelength
keys
keys_unsorted
tostring
tonumber
type
ascii_downcase
ascii_upcase?
not
add
any
all
any(. == 1)
all(.[]?; . != 1)
min
max
min_by(.a)
max_by(.a)
sort
sort_by(.a)
group_by(.a)
unique
unique_by(.a)
reverse?
first
last
nth(1)
flatten
[1,[2,[3]]]|flatten(1)
floor
ceil
round
sqrt
fabs
pow(2;10)
explode
explode|implode
to_entries
map(.)
map(.+1)
map(select(.a>1))
has("a")
has(0)
contains("a")
contains({"a":{}})
contains([1])
inside([1,2,3])
startswith("a")
endswith("c é")
ltrimstr("a")
rtrimstr("é")
split("B")
split("")
strings|index("c")
strings|rindex("c")
join("-")?
tojson
tojson|fromjson
fromjson?
@base64
@base64 "x\\(.)y"
@uri
@json
@text
@csv
@tsv
"aGk="|@base64d
todate?
gmtime
gmtime|mktime
fromdate
strftime("%Y-%m-%dT%H:%M:%SZ %a %A %b %B %C %d %D %e %F %g %G %h %H %I %j %k %l %m %M %p")
strftime("%r %R %S %T %u %U %V %w %W %y %Y %Z %% %c %x %X %s")
strftime("%-m/%_d/%0e %^a")
strptime("%Y-%m-%dT%H:%M:%SZ")
strptime("%Y-%m-%dT%H:%M:%SZ")|mktime
.event_timestamp|strftime("%Y/%m/%d")
{customer_id:.customer_id,device:.type.device,year:.event_timestamp|strftime("%Y")}
{customer_id,"event_timestamp"}
{(.b|tostring):1}
{"x\\(1,2)":(3,4)}
{a:(1,2),b:(3,4)}
{if:1,then:2}
[(1,2)+(10,20)]
"\\(1,2)-\\(3,4)"
"v=\\(.)"
if . then "t" else "f" end
if .a? then 1 elif .b? then 2 else 3 end
.a? // "none"
[.[]? // 7]
try .a catch "c"
try error("x") catch .
try (1,error("x"),2) catch .
. as $x | [$x]
1 as $x | 2 as $y | [$x,$y,$x+$y]
{} as $k | {$k}
reduce .[]? as $x (0; . + 1)
[range(5)], [range(2;5)], [range(0;10;3)], [range(5;0;-2)]
[limit(3;range(100000000000))]
first(range(10;0;-1))
. == .
. < 3
. >= "a"
[., 3, null, "b", [0], {}] | sort
1 + 2 * 3 - 4 / 2 % 2
-(1+2)
.a? - 1
10 / 4, 7 % 3, -7 % 3, 5 % -3, 5.9 % 2.9
. + .
. - .
. * 2
. / .
. % 2
"ab" * 3, "ab" * 0, "ab" * 0.5, "ab" * 2.5
"a,b,,c" / ","
{"a":{"b":1}} * {"a":{"c":2}}
{"a":1} + {"a":2,"b":3}
[1,2,2,3] - [2]
null + 1
true or error("x")
(true,false) and (true,false)
(true,false) or (true,false)
empty
error("m")
[.[]?|numbers], [.[]?|strings], [.[]?|nulls]
["é","z","a","Z","😀","\\uffee"]|sort
[{"b":1},{"a":2},{"a":1,"b":0}]|sort
"😀é"|length, utf8bytelength, explode, .[0:1]
{"a":[1,2,{"b":3}]} | contains({"a":[{"b":3}]})
1e3, .5, 1., 0.1+0.2
1e400-1e400, 0*1e400, 1e400/1e400, ([1e400,-1e400]|add)
"09/Aug/2019:20:20:27 +0200"|strptime("%d/%b/%Y:%H:%M:%S %z")|mktime
"9 August 2019 11:05 PM"|strptime("%d %B %Y %I:%M %p")
"2019-221"|strptime("%Y-%j")|mktime
"Fri, 09 Aug 2019 20:20:27 GMT"|strptime("%a, %d %b %Y %H:%M:%S %Z")|mktime
"2019-13-01"|strptime("%Y-%m-%d")
"20190809"|strptime("%Y%m%d")|mktime
1546300800, 1577836799, 1609459199, 1230768000 | strftime("%G-%V %U %W %u %w %g")
[2019,7]|mktime
.a # comment
1 as $x|2
2 | 3, 4 | . + 1`.split('\n');

const needsJq = { skip: isJq16() ? false : 'no jq 1.6' };

function isJq16(): boolean {
  const program = findProgram('jq');
  return (
    program !== null && spawnSync(program, ['--version']).stdout.toString().startsWith('jq-1.6')
  );
}

test('queries give what jq 1.6 makes of them', needsJq, () => {
  const asked = queries.map((query) => `[try (${query}\n) catch "failed"]`);
  const { stdout, stderr } = spawnSync('jq', ['-c', asked.join(',')], {
    input: inputs.map((input) => JSON.stringify(input)).join('\n'),
    env: { ...process.env, TZ: 'UTC', LC_ALL: 'C.UTF-8' },
  });
  const answers = stdout.toString().trim().split('\n');
  assert.equal(answers.length, inputs.length * queries.length, stderr.toString());
  const filters = asked.map(compileJq);
  for (const [row, input] of inputs.entries()) {
    for (const [column, filter] of filters.entries()) {
      const theirs = JSON.parse(answers[row * queries.length + column] ?? '') as Json;
      const [ours] = filter.run(input);
      assert.deepEqual(ours, theirs, `${queries[column]} of ${JSON.stringify(input)}`);
    }
  }
});

test('what Firehose documents works, and what people write for times', () => {
  const record = {
    ...{ type: { device: 'mobile' }, customer_id: '1234567890', event_timestamp: 1565382027 },
    ...{ ms: 1565382027123, iso: '2019-08-09T20:20:27Z', day: '2019-08-09 20:20:27' },
  };
  const cases = [
    ['.customer_id', '1234567890'],
    ['.type.device', 'mobile'],
    ['.event_timestamp| strftime("%Y")', '2019'],
    ['.event_timestamp| strftime("%m")', '08'],
    ['.event_timestamp| strftime("%d")', '09'],
    ['.event_timestamp| strftime("%H")', '20'],
    ['(.ms/1000)|strftime("%Y/%m/%d/%H")', '2019/08/09/20'],
    ['.iso|fromdateiso8601|strftime("%Y-%m")', '2019-08'],
    ['.iso[0:10]', '2019-08-09'],
    ['.iso|split("T")[0]|split("-")|join("/")', '2019/08/09'],
    ['.day|strptime("%Y-%m-%d %H:%M:%S")|mktime|todate', '2019-08-09T20:20:27Z'],
    ['.nope // "unknown"', 'unknown'],
    ['if .type.device == "mobile" then "m" else "d" end', 'm'],
    ['.type.device|ascii_upcase', 'MOBILE'],
    ['"\\(.customer_id)-\\(.type.device)"', '1234567890-mobile'],
    ['.event_timestamp % 10 | tostring', '7'],
  ] as const;
  for (const [query, answer] of cases) assert.deepEqual(run(query, record), [answer], query);
});

test('the one query of Firehose is taken apart into those of its keys', () => {
  const whole =
    '{customer_id:.customer_id, device:.type.device,year:.event_timestamp| strftime("%Y"), "x y" : (.a,.b)}';
  assert.deepEqual(extractionQueries(whole), {
    customer_id: '.customer_id',
    device: '.type.device',
    year: '.event_timestamp| strftime("%Y")',
    'x y': '(.a,.b)',
  });
  assert.deepEqual(extractionQueries('{}'), {});
  for (const other of ['.a', '{a}', '{a:1}|.', '{(.a):1}', '{"a\\(1)":2}', '. as $x|{a:$x}']) {
    assert.equal(extractionQueries(other), null, other);
  }
  for (const wrong of ['{a:', '{a:1', '{a:.b+1}', '{a:.b}}', '']) {
    assert.throws(() => extractionQueries(wrong), { name: 'QueryError' }, wrong);
  }
});

test('what is not here, or no query, is refused with the reason', () => {
  const cases = [
    ['', /ends too early/],
    ['.[', /ends too early/],
    ['.a b', /character 4/],
    ['.a.[0]', /character 3|character 4/],
    ['"abc', /text at character 1 is not closed/],
    ['"\\(1"', /not closed/],
    ['"\\q"', /\\q/],
    ['@foo', /no format @foo/],
    ['$x', /\$x is not known/],
    ['1 as $x | 2 | $y', /\$y is not known/],
    ['(1 as $x | 2) | $x', /\$x is not known/],
    ['if . then 1 end', /character 13/],
    ['.a = 1', /assignments/],
    ['.a |= 1', /assignments/],
    ['def f: 1; f', /def is not of the part of jq/],
    ['now', /no function now\/0/],
    ['input', /no function input\/0/],
    ['env', /no function env\/0/],
    ['test("a+")', /no function test\/1/],
    ['while(true; .)', /no function while\/2/],
    ['constructor', /no function constructor\/0/],
    ['. as [$a] | $a', /character 6/],
    ['.a ~ 1', /begin with ~/],
    ['['.repeat(65), /more than 64 deep/],
    [`"${'\\("'.repeat(40)}${'")'.repeat(40)}"`, /more than 64 deep|nested/],
    [`.a${'|.a'.repeat(2000)}`, /longer than 4096/],
  ] as const;
  for (const [query, message] of cases) {
    assert.throws(() => compileJq(query), { name: 'QueryError', message }, query);
  }
});

test('rubbish never does more than fail', () => {
  const random = randomFrom(20261122);
  const pieces = [
    ...[
      '.',
      '..',
      '[',
      ']',
      '{',
      '}',
      '(',
      ')',
      '|',
      ',',
      ':',
      ';',
      '?',
      '//',
      '"',
      '\\(',
      '$x',
      'as',
    ],
    ...[
      '.a',
      'if',
      'then',
      'else',
      'end',
      'try',
      'reduce',
      '1',
      '-',
      '*',
      '==',
      'and',
      'not',
      '@uri',
    ],
    ...[' ', 'length', 'map', 'range', 'add', 'sort', '"x"', 'tojson', 'strftime("%Y")', '#', '\n'],
  ];
  let compiled = 0;
  for (let round = 0; round < 20_000; round += 1) {
    const count = 1 + Math.floor(random() * 8);
    const query = Array.from({ length: count }, () => pieces[Math.floor(random() * pieces.length)]);
    try {
      const filter = compileJq(query.join(''));
      compiled += 1;
      for (const input of inputs) filter.run(input);
    } catch (error) {
      assert.ok(
        error instanceof Error && ['QueryError', 'Error'].includes(error.name),
        String(error),
      );
      assert.equal(error.name, 'QueryError', `${query.join('')}: ${String(error)}`);
    }
  }
  assert.ok(compiled > 1000, String(compiled));
});

test('names that JavaScript gives every object mean nothing', () => {
  assert.deepEqual(run('.constructor, .toString, .__proto__', {}), [null, null, null]);
  assert.deepEqual(run('has("toString")', {}), [false]);
  const odd = JSON.parse('{"__proto__":{"a":1}}') as Json;
  assert.deepEqual(run('.__proto__.a, (. + {b:2} | keys)', odd), [1, ['__proto__', 'b']]);
});
