import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openTransform } from '../../../../gateway/forward/transform/open-transform.ts';
import { MemoryLogger } from '../../../support/memory-logger.ts';
import { configOf, problemsOf } from '../../config/support.ts';
import { ImpatientClock } from '../../functions/support/functions.ts';

const delivery = (transform: string, more = 'to: { folder: { path: ./out } }'): string =>
  `streams: { readings: {} }
cameras: { front: { source: { rtsp: 'rtsp://10.0.0.1/a' } } }
deliveries: { archive: { from: { stream: readings }, ${more}, transform: ${transform} } }`;

test('what the configuration says of a transform is what opens one', async () => {
  const { deliveries } = configOf(delivery("{ function: { module: { path: '/etc/f.mjs' } } }"));
  const transform = deliveries['archive']?.transform;
  assert.deepEqual(transform, {
    function: {
      module: { path: '/etc/f.mjs', export: 'handler', memoryMaxMiB: 128, concurrency: 1 },
    },
    ...{ batchBytes: 2 ** 20, retries: 3, timeoutSeconds: 60 },
  });
  const ports = { clock: new ImpatientClock(), logger: new MemoryLogger(), fetch };
  const opened = openTransform(transform, { ...ports, random: () => 0 });
  assert.equal(opened.description, '/etc/f.mjs');
  await opened.close();
  const without = configOf(delivery('null')).deliveries['archive'];
  assert.equal(without?.transform, null);
});

for (const [transform, problem] of [
  ['{}', /transform.*function/],
  ['{ function: {} }', /needs one of its keys/],
  ['{ function: { lambda: { function: f } } }', /transform\.function\.lambda.*needs region/],
  [
    '{ function: { lambda: { function: f, region: a, accessKeyId: b } } }',
    /accessKeyId.* needs secretAccessKey/,
  ],
  ["{ function: { http: { url: 'http://a:b@127.0.0.1/' } } }", /has a user in it/],
  ["{ function: { module: { path: 'f.mjs', concurrency: 0 } } }", /from 1 to 16/],
  ["{ function: { module: { path: 'f.mjs' } }, batchBytes: 4 MiB }", /is too large/],
  ["{ function: { module: { path: 'f.mjs' } }, batchBytes: 100 KB }", /is too small/],
  ["{ function: { module: { path: 'f.mjs' } }, batchBytes: much }", /is not a size/],
] as const) {
  test(`the configuration says what is wrong with ${transform}`, () => {
    const problems = problemsOf(delivery(transform));
    assert.ok(
      problems.some((one) => problem.test(one)),
      problems.join('\n'),
    );
  });
}

test('footage is not transformed', () => {
  const problems = problemsOf(
    delivery("{ function: { module: { path: 'f.mjs' } } }").replace(
      'stream: readings',
      'camera: front',
    ),
  );
  assert.match(problems.join('\n'), /is of records, and footage has none/);
});
