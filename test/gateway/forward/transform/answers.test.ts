import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { parseSequenceNumber } from '../../../../gateway/api/kinesis/sequence-numbers.ts';
import { openTransform } from '../../../../gateway/forward/transform/open-transform.ts';
import type { TransformOptions } from '../../../../gateway/forward/transform/transform.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { MemoryLogger } from '../../../support/memory-logger.ts';
import { functionOf, kinds } from '../../functions/support/functions.ts';
import {
  answering,
  context,
  inSlices,
  never,
  opened,
  recordOf,
  recordsOf,
  shown,
  timeoutSeconds,
} from './support.ts';

for (const kind of kinds) {
  const transforming = async (
    t: TestContext,
    answer: string,
    more: Partial<TransformOptions> = {},
  ) => opened(t, { function: await functionOf(t, kind, answering(answer)), ...more });

  test(`${kind}: records are changed, dropped, refused and put into partitions`, async (t) => {
    const { run } = await transforming(
      t,
      `return { records: records.map((record, index) => [
        ok(record),
        { recordId: record.recordId, result: 'Dropped', data: record.data },
        { recordId: record.recordId, result: 'Dropped' },
        { recordId: record.recordId, result: 'ProcessingFailed', data: record.data },
        { ...ok(record, ''), metadata: { partitionKeys: { site: 's/1', year: 2026, on: true } } },
        { ...ok(record), metadata: {}, more: 1 },
      ][index % 6]).reverse() };`,
    );
    const batches = await run(recordsOf(6));
    assert.deepEqual(shown(batches), {
      records: ['100 R0', '104 ', '105 R5'],
      failed: ['103 r3 processing-failed Lambda.ProcessingFailedStatus 1'],
      dropped: 2,
    });
    const [plain, placed] = batches[0]!.records;
    const data = Buffer.alloc(0);
    assert.deepEqual({ ...plain, data }, { ...recordsOf(1)[0], data });
    assert.deepEqual(placed!.partition, {
      query: {},
      lambda: { site: 's/1', year: '2026', on: 'true' },
    });
  });

  test(`${kind}: the event is that of Firehose`, async (t) => {
    const source = `export const handler = (event) => ({ records: event.records.map(
      ({ recordId }) => ({ recordId, result: 'Ok', data: Buffer.from(JSON.stringify(event)).toString('base64') })) })`;
    const { run } = opened(t, { function: await functionOf(t, kind, source) });
    const records = [recordOf(7, 'a'), recordOf(7, Buffer.of(0, 255), 1)];
    const [batch] = await run(records);
    const event = JSON.parse(batch!.records[0]!.data.toString()) as {
      invocationId: string;
      records: { recordId: string }[];
    };
    assert.match(event.invocationId, /^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-/);
    const sequenceNumber = event.records[0]!.recordId.slice(0, -6);
    const { sequence, shardIndex } = parseSequenceNumber(sequenceNumber)!;
    assert.deepEqual({ sequence, shardIndex }, { sequence: 7, shardIndex: 3 });
    assert.deepEqual(event, {
      invocationId: event.invocationId,
      deliveryStreamArn: context.deliveryStreamArn,
      sourceKinesisStreamArn: context.sourceStreamArn,
      region: 'us-east-1',
      records: records.map(({ subSequence, partitionKey, arrivalMs, data }) => ({
        recordId: `${sequenceNumber}00000${subSequence}`,
        approximateArrivalTimestamp: arrivalMs,
        kinesisRecordMetadata: {
          ...{ sequenceNumber, subsequenceNumber: subSequence, partitionKey },
          ...{ shardId: 'shardId-000000000003', approximateArrivalTimestamp: arrivalMs },
        },
        data: data.toString('base64'),
      })),
    });
    assert.deepEqual(
      batch!.records.map((record) => record.subSequence),
      [0, 1],
    );
  });

  test(`${kind}: a function that throws fails all records, after all retries`, async (t) => {
    const { run, logger } = await transforming(t, `throw new Error('call ' + calls);`);
    const batches = await run(recordsOf(2));
    assert.deepEqual(shown(batches), {
      records: [],
      failed: [
        '100 r0 processing-failed Lambda.FunctionError 4',
        '101 r1 processing-failed Lambda.FunctionError 4',
      ],
      dropped: 0,
    });
    for (const { errorMessage } of batches[0]!.failed) {
      assert.match(
        errorMessage,
        /^The call failed, and with it all 2 records that it had: .*call 4/,
      );
    }
    const [line, ...others] = logger.lines.filter(({ level }) => level === 'warn');
    assert.deepEqual(others, []);
    assert.equal(line?.fields.records, 2);
    const [alone] = await run(recordsOf(1));
    assert.doesNotMatch(alone!.failed[0]!.errorMessage, /with it all/);
  });

  test(`${kind}: a function that throws at first is called again`, async (t) => {
    const { run, logger } = await transforming(
      t,
      `if (calls < 4) throw new Error('not yet'); return { records: records.map((r) => ok(r)) };`,
    );
    assert.deepEqual(shown(await run(recordsOf(2))).records, ['100 R0', '101 R1']);
    assert.ok(logger.lines.some(({ message }) => message === 'A transform works again.'));
  });

  test(`${kind}: a function that hangs fails its records once its time is over`, async (t) => {
    const { run, clock } = await transforming(t, `await new Promise(() => {});`, { retries: 1 });
    const endEach = async (): Promise<void> => {
      for (let calls = 0; calls < 2; calls += 1) {
        await clock.begun(timeoutSeconds * 1_000);
        setImmediate(() => clock.advance(timeoutSeconds * 1_000));
      }
    };
    const [batches] = await Promise.all([run(recordsOf(1)), endEach()]);
    assert.deepEqual(shown(batches).failed, ['100 r0 processing-failed Lambda.FunctionTimedOut 2']);
  });

  for (const [name, answer, code] of [
    ['nothing', 'return;', 'Lambda.MissingRecordId'],
    ['a list', 'return records;', 'Lambda.MissingRecordId'],
    ['records that are no list', 'return { records: {} };', 'Lambda.MissingRecordId'],
    [
      'records that are no records',
      'return { records: [null, 1, "a", []] };',
      'Lambda.MissingRecordId',
    ],
    ['too much', 'return { records: [], more: "x".repeat(7e6) };', 'Lambda.FunctionError'],
  ] as const) {
    test(`${kind}: an answer of ${name} fails all records, after all retries`, async (t) => {
      const { run } = await transforming(t, answer);
      assert.deepEqual(shown(await run(recordsOf(2))).failed, [
        `100 r0 processing-failed ${code} 4`,
        `101 r1 processing-failed ${code} 4`,
      ]);
    });
  }

  for (const [name, answer, code] of [
    [
      'lacks an id',
      `return { records: records.filter((r) => r !== of('r1')).map((r) => ok(r)) };`,
      'Lambda.MissingRecordId',
    ],
    [
      'invents an id',
      `return { records: records.map((r) => r === of('r1') ? ok({ ...r, recordId: 'x' }) : ok(r)) };`,
      'Lambda.MissingRecordId',
    ],
    [
      'has an id that is a number',
      `return { records: records.map((r) => r === of('r1') ? ok({ ...r, recordId: 1 }) : ok(r)) };`,
      'Lambda.MissingRecordId',
    ],
    [
      'repeats an id',
      `return { records: [...records, ...[of('r1')].filter(Boolean)].map((r) => ok(r)) };`,
      'Lambda.DuplicatedRecordId',
    ],
    [
      'has a result of its own',
      `return { records: records.map((r) => ({ ...ok(r), ...r === of('r1') && { result: 'ok' } })) };`,
      'Lambda.InvalidReturnFormat',
    ],
    [
      'has no data',
      `return { records: records.map((r) => ({ ...ok(r), ...r === of('r1') && { data: null } })) };`,
      'Lambda.InvalidReturnFormat',
    ],
    [
      'has data that is no text',
      `return { records: records.map((r) => ({ ...ok(r), ...r === of('r1') && { data: [1] } })) };`,
      'Lambda.InvalidReturnFormat',
    ],
    [
      'has data that is no Base64',
      `return { records: records.map((r) => ({ ...ok(r), ...r === of('r1') && { data: 'ab_=' } })) };`,
      'Lambda.InvalidReturnFormat',
    ],
    [
      'has Base64 that was cut',
      `return { records: records.map((r) => ({ ...ok(r), ...r === of('r1') && { data: 'abc' } })) };`,
      'Lambda.InvalidReturnFormat',
    ],
    [
      'has partition keys that are none',
      `return { records: records.map((r) => ({ ...ok(r), ...r === of('r1') && { metadata: { partitionKeys: { a: [] } } } })) };`,
      'Lambda.InvalidReturnFormat',
    ],
  ] as const) {
    test(`${kind}: an answer that ${name} fails that record alone, after all retries`, async (t) => {
      const { run } = await transforming(t, answer);
      assert.deepEqual(shown(await run(recordsOf(3))), {
        records: ['100 R0', '102 R2'],
        failed: [`101 r1 processing-failed ${code} 4`],
        dropped: 0,
      });
    });
  }

  test(`${kind}: only what was answered wrongly is asked for again`, async (t) => {
    const { run } = await transforming(
      t,
      `return { records: records.slice(1).map((r) => ok(r, calls + ' of ' + records.length)) };`,
      { retries: 1 },
    );
    assert.deepEqual(shown(await run(recordsOf(3))), {
      records: ['101 1 of 3', '102 1 of 3'],
      failed: ['100 r0 processing-failed Lambda.MissingRecordId 2'],
      dropped: 0,
    });
  });
}

test('a module that throws now and then is logged once a minute, with where it threw', async (t) => {
  const source = answering(`
    function deep(left) { if (left === 0) throw new Error('long '.repeat(10_000)); deep(left - 1); }
    if (calls % 2 === 1) deep(5_000);
    return { records: records.map((r) => ok(r)) };`);
  const clock = new ManualClock();
  const logger = new MemoryLogger();
  const transform = openTransform(
    {
      ...{ function: await functionOf(t, 'module', source), batchBytes: 2 ** 20 },
      ...{ retries: 0, timeoutSeconds },
    },
    { clock, logger, fetch, random: () => 0.5 },
  );
  t.after(() => transform.close());
  const call = async (times: number): Promise<void> => {
    for (let made = 0; made < times; made += 1) {
      for await (const batch of transform.run(inSlices(recordsOf(3), 3), context, never)) {
        assert.equal(batch.failed.length + batch.records.length, 3);
      }
    }
  };
  await call(20);
  clock.advance(60_000);
  await call(4);
  const told = logger.lines.filter(({ level }) => level !== 'debug');
  assert.deepEqual(
    told.map(({ message, fields }) => [message, fields.unlogged ?? fields.failed]),
    [
      ['A transform failed.', 0],
      ['A transform works again.', 1],
      ['A transform failed.', 9],
      ['A transform works again.', 1],
    ],
  );
  const { error, records } = told[0]!.fields;
  assert.equal(records, 3);
  assert.ok(error instanceof Error);
  assert.match(error.stack ?? '', /\n +at deep \(.*\.mjs:\d+/);
  assert.ok(error.stack!.length <= 8_192 && error.message.length < 400);
});
