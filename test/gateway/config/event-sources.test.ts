import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configOf, problemsOf } from './support.ts';

const withFunction = (keys: string): string =>
  `streams: { s: {}, letters: {} }\nfunctions: { f: { function: { module: { path: f.mjs } }, ${keys} } }`;

test('a function has the defaults of an event source mapping', () => {
  const { f } = configOf(withFunction('from: { stream: s }')).functions;
  assert.deepEqual(f, {
    from: { stream: 's' },
    function: {
      module: {
        ...{ path: '/etc/headgate/f.mjs', export: 'handler', memoryMaxMiB: 128, concurrency: 1 },
      },
    },
    ...{ batchSize: 100, batchWindowSeconds: 0, parallelization: 1, bisectOnError: false },
    ...{ retries: null, maxRecordAgeSeconds: null, reportBatchItemFailures: false },
    ...{ tumblingWindowSeconds: 0, filter: [], startAt: { edge: 'earliest' }, deadLetter: null },
    ...{ timeoutSeconds: 60, required: true, paused: false },
  });
});

test('what does not go together, or is not there, is named', () => {
  const wrong = [
    ['from: { stream: other }', /functions\.f\.from\.stream: .*not a stream/],
    ['from: { stream: s }, batchSize: 10001', /functions\.f\.batchSize: /],
    ['from: { stream: s }, deadLetter: { stream: s }', /deadLetter\.stream: .*come from/],
    ['from: { stream: s }, deadLetter: { stream: other }', /deadLetter\.stream: .*not a stream/],
    [
      'from: { stream: s }, tumblingWindowSeconds: 60, parallelization: 2',
      /functions\.f\.parallelization: .*tumblingWindowSeconds/,
    ],
    [`from: { stream: s }, filter: ['{"data":{"a":1}}']`, /functions\.f\.filter\[0\]: .*pattern/],
    ['from: { stream: s }, startAt: { time: yesterday }', /functions\.f\.startAt\.time: /],
  ] as const;
  for (const [keys, expected] of wrong) {
    const problems = problemsOf(withFunction(keys)).map(String);
    assert.ok(
      problems.some((found) => expected.test(found)),
      `${keys}: ${problems.join('\n')}`,
    );
  }
});

test('functions do not share a dead letter', () => {
  const one =
    'from: { stream: s }, function: { module: { path: f.mjs } }, deadLetter: { stream: letters }';
  const text = `streams: { s: {}, letters: {} }\nfunctions: { f: { ${one} }, g: { ${one} } }`;
  assert.match(
    problemsOf(text).join('\n'),
    /functions\.g\.deadLetter\.stream: .*that of f already/,
  );
});
