import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { compileJmespath } from '../../../../gateway/forward/query/jmespath/jmespath.ts';
import type { Json } from '../../../../gateway/forward/query/query.ts';
import { randomFrom } from '../../../support/random.ts';

interface Library {
  search(value: unknown, expression: string): unknown;
}

/** The other implementation, to compare with. */
const library = createRequire(import.meta.url)('jmespath') as Library;

function search(expression: string, value: Json): Json {
  return compileJmespath(expression).run(value)[0] ?? null;
}

const document: Json = {
  foo: { bar: { baz: 'qux' }, 'with space': [1, 2] },
  people: [
    { name: 'b', age: 30, tags: ['x', 'y'], nested: { id: 1 } },
    { name: 'a', age: 50, tags: [] },
    { name: 'c', age: 40, nested: { id: null } },
  ],
  numbers: [3, 1, 2, -5, 1.5],
  words: ['one', 'three', 'two', 'elan', ''],
  lists: [[0, 1], 2, [3, [4]], []],
  object: { a: 1, b: null, c: 'x' },
  yes: true,
  no: false,
  nothing: null,
  empty: {},
  text: 'hello',
};

// Of the specification's own examples and of its grammar, one by one.
const expressions =
  `foo.bar.baz|foo.nope.baz|"foo"."with space"[0]|foo.*.baz|*.bar|people[*].name|people[].name
people[?age > \`35\`].name|people[?tags[0] == 'x']|people[?nested.id].name|people[?!nested].name|people[-1].name|people[3]
people[0:2].name|people[::-1].name|people[:1]|people[1:]|people[::2].age|numbers[-2:]|numbers[5:0:-2]|numbers[100:]
lists[]|lists[][]|lists[*][0]|lists[].[@]|people[*].tags[]|people[].tags[0]|people[*].[name, age]|people[*].{n: name, "a b": age}
[foo.bar, text]|{x: text, y: numbers[0]}|@|@.text|text || nothing|nothing || text|empty || text|no || yes|yes && text|empty && text
!yes|!nothing|!(yes && no)|(nothing || text)|text == 'hello'|numbers == \`[3,1,2,-5,1.5]\`|nothing == \`null\`|object != \`{}\`
object == \`{"c":"x","a":1,"b":null}\`|people[*].name \\| [0]|people \\| [0].name|foo.bar \\| @|abs(\`-3\`)|avg(numbers)|ceil(\`1.2\`)
floor(\`-1.2\`)|contains(text, 'ell')|contains(numbers, \`2\`)|contains(words, 'nope')|ends_with(text, 'lo')|starts_with(text, 'he')
join(', ', words)|keys(foo)|length(text)|length(people)|length(object)|map(&name, people)|map(&tags[0], people)|max(numbers)|max(words)
max_by(people, &age).name|min_by(people, &age).name|min(numbers)|merge(object, foo.bar)|merge(object)|not_null(nothing, text, yes)|not_null(nothing)
reverse(numbers)|reverse(text)|sort(numbers)|sort(words)|sort_by(people, &age)[*].name|sort_by(people, &name)[].age|sum(numbers)
to_array(text)|to_array(numbers)|to_string(object)|to_string(text)|to_number('12.5')|to_number('x')|to_number(nothing)|type(text)|type(numbers)
type(nothing)|type(yes)|type(foo)|type(\`1\`)|values(foo.bar)|max(\`[]\`)|sum(\`[]\`)|'raw \\' text'|\`"json"\`|\`{"a": [1, 2]}\`
people[?name == 'a' \\|\\| name == 'c'].age|people[?age >= \`40\` && name != 'c'].name|people[?contains(name, 'a')].name|people[?length(not_null(tags, \`[]\`)) > \`0\`].name
foo.[bar, nope]|foo.{b: bar.baz}|people[*].nested.id|people[0].nested.*|*.*|object.*|numbers[*]|nothing[*]|text[*]|foo[*]|lists[*][]|[*]|[0]|foo.bar.*.x
people[?nested].nested.id \\| [0]|sort_by(people, &age)[-1].name|people[].{name: name, first: tags[0]}[?first].name|@ \\| foo|lists[2][1][0]|lists[-1]`
    .split('\n')
    .flatMap((line) => line.split(/(?<!\\|\|)\|(?!\|)/))
    .map((expression) => expression.replaceAll('\\|', '|').trim());

test('expressions give what another implementation makes of them', () => {
  assert.ok(expressions.length > 120, String(expressions.length));
  for (const expression of expressions) {
    assert.deepEqual(
      search(expression, document),
      library.search(document, expression),
      expression,
    );
  }
});

test('so do expressions made at random', () => {
  const random = randomFrom(20261122);
  const one = (texts: readonly string[]): string =>
    texts[Math.floor(random() * texts.length)] ?? '';
  const names = [
    'foo',
    'bar',
    'people',
    'name',
    'tags',
    'nested',
    'id',
    'lists',
    'numbers',
    'object',
  ];
  const made = (depth: number): string => {
    if (depth === 0) return one([...names, '(@)', '`1`', "'x'", '`null`', '"foo"', '*']);
    const inner = (): string => made(depth - 1);
    switch (Math.floor(random() * 14)) {
      case 0:
        return `${inner()}.${one(names)}`;
      case 1:
        return `${inner()}[${one(['0', '-1', '1:', ':2', '::-1', '*', ''])}]`;
      case 2:
        return `${inner()}[?${inner()}]`;
      case 3:
        return `${inner()} | ${inner()}`;
      case 4:
        return `${inner()} ${one(['||', '&&', '==', '!='])} ${inner()}`;
      case 5:
        return `!${inner()}`;
      case 6:
        return `(${inner()})`;
      case 7:
        return `${inner()}.[${inner()}, ${inner()}]`;
      case 8:
        return `${inner()}.{a: ${inner()}, b: ${inner()}}`;
      case 9:
        return `[${inner()}, ${inner()}]`;
      case 10:
        return `${one(['type', 'to_array', 'to_string', 'not_null', 'length', 'keys', 'sort'])}(${inner()})`;
      case 11:
        return `map(&${inner()}, ${inner()})`;
      case 12:
        return `${inner()}.*`;
      default:
        return one(names);
    }
  };
  // `@` in parentheses: without them the library takes nothing behind it in arguments.
  const outcome = (work: () => unknown): unknown => {
    try {
      return work() ?? null;
    } catch {
      return 'failed';
    }
  };
  let answered = 0;
  for (let round = 0; round < 4000; round += 1) {
    const expression = made(1 + (round % 4));
    const theirs = outcome(() => library.search(document, expression));
    assert.deepEqual(
      outcome(() => search(expression, document)),
      theirs,
      expression,
    );
    if (theirs !== null) answered += 1;
  }
  assert.ok(answered > 1000, String(answered));
});

test('where the library is loose, the specification holds', () => {
  assert.equal(search("text > 'a'", document), null);
  assert.equal(search('yes < no', document), null);
  assert.deepEqual(search('people[?name > `1`]', document), []);
  assert.equal(search('avg(`[]`)', document), null);
  assert.equal(search("to_number('')", document), null);
  assert.equal(search("to_number(' 1')", document), null);
  assert.equal(search("length('😀')", document), 1);
  assert.equal(search('constructor', {}), null);
  assert.equal(search('__proto__.x', {}), null);
  assert.deepEqual(search('keys(@)', JSON.parse('{"__proto__":1}') as Json), ['__proto__']);
  assert.deepEqual(search('sort(@)', ['\uffee', '😀', 'a']), ['a', '\uffee', '😀']);
});

test('what is no expression is refused, with the place', () => {
  const cases = [
    ['', /ends too early/],
    ['foo.', /ends too early/],
    ['foo bar', /character 5/],
    ['foo[', /ends too early/],
    ['foo[a', /character 5/],
    ['foo[1:2:3:4]', /character 10/],
    ['foo[::0]', /step of 0/],
    ['[]]', /character 3/],
    ['foo.1', /character 5/],
    ['{a}', /character 3/],
    ['{}', /is empty/],
    ['&foo', /character 1/],
    ["'open", /the ' at character 1 is not closed/],
    ['"open', /the " at character 1 is not closed/],
    ['a == `3', /the ` at character 6 is not closed: numbers stand between two/],
    ['a > 3', /the number at character 5 stands between two backticks/],
    ['a = b', /the = at character 3 compares as ==/],
    ['a or b', /or at character 3 is written \|\| here/],
    ['`{`', /character 1 is not JSON/],
    ['"a\nb"', /is not JSON/],
    ['foo == bar ==', /ends too early/],
    ['nope(@)', /no function nope \(character 1\)/],
    ['length()', /takes 1 arguments, and has 0/],
    ['length(@, @)', /takes 1 arguments, and has 2/],
    ['merge()', /at least 1/],
    ['map(@, @)', /argument 1 of map\(\) is no &expression/],
    ['length(&a)', /argument 1 of length\(\) is &expression/],
    ['constructor(@)', /no function constructor/],
    ['#', /nothing is known to begin with #/],
    [`${'('.repeat(65)}a${')'.repeat(65)}`, /more than 64 deep/],
    [`a${'.b'.repeat(2100)}`, /longer than 4096 characters/],
  ] as const;
  for (const [expression, message] of cases) {
    assert.throws(() => compileJmespath(expression), { name: 'QueryError', message }, expression);
  }
});

test('values of types that a function does not take are errors', () => {
  for (const expression of [
    ...["abs('a')", 'sum(words)', 'sort(people)', 'sort_by(people, &tags)', 'join(text, numbers)'],
    ...[
      'length(`1`)',
      'keys(numbers)',
      'max(`[1,"a"]`)',
      'avg(text)',
      'map(&a, text)',
      'reverse(`1`)',
    ],
    ...['contains(yes, `1`)', 'starts_with(text, `1`)', 'merge(numbers)', 'values(text)'],
  ]) {
    assert.throws(() => search(expression, document), { name: 'QueryError' }, expression);
  }
});
