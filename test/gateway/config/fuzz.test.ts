import assert from 'node:assert/strict';
import { test } from 'node:test';
import { showProblem } from '../../../gateway/config/problems.ts';
import { parse } from './support.ts';
import { randomFrom } from '../../support/random.ts';

/** The answer to anything is a configuration or problems, each with a place and words. */
function expectAnswer(text: string): void {
  const result = parse(text, { SENSORS_PASSWORD: 'x' });
  if (result.ok) return;
  assert.notEqual(result.problems.length, 0, JSON.stringify(text.slice(0, 200)));
  for (const problem of result.problems) {
    assert.ok(problem.message.length > 0);
    assert.ok(showProblem(problem).length < 2000, showProblem(problem));
  }
}

const example = `# Everything that the loader reads, in few bytes.
http: { port: 8081, hostnames: [a.example] }
mqtt:
  users: &people
    - username: sensors
      password: '\${SENSORS_PASSWORD:-p}'
  maxPayloadBytes: 1 MiB
  routes: [{ topic: 'a/+/#', stream: s }]
rtsp: { readers: *people }
streams: { s: { retentionHours: 1.5, maxBytes: null } }
cameras:
  c: { source: { rtsp: "rtsp://u:p@h/\\u0041" } }
deliveries:
  d:
    from: { stream: s }
    to:
      folder:
        path: |-
          out
`;

test('a configuration cut at every byte is one, or problems', () => {
  assert.ok(parse(example).ok, 'whole, it is one');
  for (let length = 0; length <= example.length; length++) expectAnswer(example.slice(0, length));
});

test('a configuration with a changed byte at every place is one, or problems', () => {
  const rubbish = [
    '\t',
    '{',
    '}',
    '[',
    ']',
    ':',
    '&',
    '*',
    '!',
    '"',
    "'",
    '#',
    '\n',
    '\0',
    '$',
    '-',
    '9',
  ];
  for (let at = 0; at < example.length; at++) {
    const other = rubbish[at % rubbish.length]!;
    expectAnswer(example.slice(0, at) + other + example.slice(at + 1));
  }
});

test('rubbish is told to be so', () => {
  const random = randomFrom(42);
  for (let run = 0; run < 1000; run++) {
    const length = Math.floor(random() * 200);
    const binary = run % 2 === 0;
    const characters = binary ? null : '{}[]:,-&*!|>%@`\'"#?\n \tab0.~<$';
    const text = Array.from({ length }, () =>
      characters === null
        ? String.fromCharCode(Math.floor(random() * 0x300))
        : characters[Math.floor(random() * characters.length)],
    ).join('');
    expectAnswer(text);
  }
});

// Without limits these take the machine's memory, or hours.
test('what is made to grow or to nest without end is refused', () => {
  const laughs = [
    'a: &a0 [x, x, x, x, x, x, x, x, x, x]',
    ...Array.from({ length: 12 }, (_, index) => {
      const list = Array.from({ length: 10 }, () => `*a${index}`).join(', ');
      return `a${index}x: &a${index + 1} [${list}]`;
    }),
  ].join('\n');
  const attacks: Readonly<Record<string, string>> = {
    'billion laughs': laughs,
    'an anchor within itself': 'streams: &a { x: *a }',
    'many values': `streams: [${'1,'.repeat(110_000)}]`,
    'many keys': Array.from({ length: 10_000 }, (_, index) => `k${index}: 1`).join('\n'),
    'many equal keys': 'a: |\n'.repeat(100_000),
    'deep brackets': '['.repeat(50_000),
    'deep braces': '{a: '.repeat(10_000),
    'deep lists': '- '.repeat(20_000),
    'deep maps': Array.from({ length: 500 }, (_, index) => `${' '.repeat(index)}a:`).join('\n'),
    'many aliases': `a: &a 1\nb: [${'*a,'.repeat(20_000)}]`,
    'long text many times': `a: &a "${'x'.repeat(500_000)}"\nb: [${'*a,'.repeat(2000)}]`,
    'many documents': '---\n'.repeat(20_000),
    'many quotes': '"'.repeat(30_000),
    'a large file': `# ${'x'.repeat(2_000_000)}`,
    'a long key': `${'k'.repeat(100_000)}: 1`,
    'many references': `dataDir: "${'${file:/nonexistent}'.repeat(10_000)}"`,
  };
  for (const [name, text] of Object.entries(attacks)) {
    const result = parse(text);
    assert.ok(!result.ok, name);
    assert.ok(result.problems.length <= 101, `${name}: ${result.problems.length} problems`);
    for (const problem of result.problems) assert.ok(showProblem(problem).length < 2000, name);
  }
});
