import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DeliveryMetering } from '../../../../gateway/forward/flow/metering.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { MemoryMetrics } from '../../../support/memory-metrics.ts';

const minuteMs = 60_000;

function metering(
  kind: ConstructorParameters<typeof DeliveryMetering>[0]['kind'],
  isBackup = false,
) {
  const clock = new ManualClock();
  const metrics = new MemoryMetrics();
  const measured = new DeliveryMetering({ delivery: 'archive', isBackup, kind, clock, metrics });
  return { clock, metrics, measured };
}

test('under the names of Firehose, by the kind of destination', () => {
  const { clock, measured, metrics } = metering('s3');
  assert.deepEqual(measured.list(), []);
  measured.sent({ records: 10, bytes: 1000, objects: 1 });
  measured.failed();
  measured.sent({ records: 5, bytes: 500, objects: 1 });
  measured.failed();
  measured.fresh(61.5);
  clock.advance(minuteMs);
  assert.deepEqual(
    measured.list().map(({ name, unit, total, lastMinute }) => [name, unit, total, lastMinute]),
    [
      ['DeliveryToS3.Bytes', 'Bytes', 1500, 1500],
      ['DeliveryToS3.DataFreshness', 'Seconds', null, 61.5],
      ['DeliveryToS3.ObjectCount', 'Count', 2, 2],
      ['DeliveryToS3.Records', 'Count', 15, 15],
      ['DeliveryToS3.Success', 'Ratio', null, 0.5],
    ],
  );
  const ofPrometheus = Object.fromEntries(metrics.values);
  assert.deepEqual(ofPrometheus, {
    'headgate_firehose_delivery_to_s3_bytes_total{delivery="archive"}': 1500,
    'headgate_firehose_delivery_to_s3_records_total{delivery="archive"}': 15,
    'headgate_firehose_delivery_to_s3_object_count_total{delivery="archive"}': 2,
    'headgate_firehose_delivery_to_s3_success_total{delivery="archive"}': 2,
    'headgate_firehose_delivery_to_s3_attempts_total{delivery="archive"}': 4,
    'headgate_firehose_delivery_to_s3_data_freshness_seconds{delivery="archive"}': 61.5,
  });
  clock.advance(minuteMs);
  const success = measured.list().find(({ name }) => name === 'DeliveryToS3.Success');
  assert.equal(success?.lastMinute, null, 'nothing was attempted in that minute');
});

test('a destination that takes no objects has none counted', () => {
  for (const [kind, name] of [
    ['http', 'DeliveryToHttpEndpoint'],
    ['opensearch', 'DeliveryToAmazonOpenSearchService'],
    ['splunk', 'DeliveryToSplunk'],
    ['kinesis', 'DeliveryToKinesis'],
  ] as const) {
    const { measured } = metering(kind);
    measured.sent({ records: 1, bytes: 10, objects: 0 });
    const names = measured.list().map((measure) => measure.name);
    assert.deepEqual(names, [`${name}.Bytes`, `${name}.Records`, `${name}.Success`]);
  }
});

test('a backup has the four measures that Firehose has for one', () => {
  const { clock, measured, metrics } = metering('s3', true);
  measured.sent({ records: 10, bytes: 1000, objects: 1 });
  measured.fresh(3);
  clock.advance(minuteMs);
  assert.deepEqual(
    measured.list().map(({ name, lastMinute }) => [name, lastMinute]),
    [
      ['BackupToS3.Bytes', 1000],
      ['BackupToS3.DataFreshness', 3],
      ['BackupToS3.Records', 10],
      ['BackupToS3.Success', 1],
    ],
  );
  const key = 'headgate_firehose_backup_to_s3_data_freshness_seconds{delivery="archive"}';
  assert.equal(metrics.values.get(key), 3);
});

test('dynamic partitions are told as they were at the latest', () => {
  const { measured, metrics } = metering('s3');
  measured.partitioned(500, true);
  measured.partitioned(12, false);
  assert.deepEqual(measured.list(), [
    { name: 'PartitionCount', unit: 'Count', total: null, lastMinute: 12 },
    { name: 'PartitionCountExceeded', unit: 'Count', total: null, lastMinute: 0 },
  ]);
  assert.deepEqual(Object.fromEntries(metrics.values), {
    'headgate_firehose_partition_count{delivery="archive"}': 12,
    'headgate_firehose_partition_count_exceeded{delivery="archive"}': 0,
  });
});

test('what is done with records on their way is counted as it is told', () => {
  const { clock, measured } = metering('s3');
  measured.processed('ExecuteProcessing.Duration', 120);
  measured.processed('ExecuteProcessing.Duration', 80);
  measured.processed('FailedConversion.Records', 3);
  clock.advance(minuteMs);
  assert.deepEqual(measured.list(), [
    { name: 'ExecuteProcessing.Duration', unit: 'Milliseconds', total: 200, lastMinute: 200 },
    { name: 'FailedConversion.Records', unit: 'Count', total: 3, lastMinute: 3 },
  ]);
});
