/** Many deliveries of one log, most of them in trouble: none holds up another, and none the box. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { test } from 'node:test';
import type { DeliveryOptions } from '../../../gateway/forward/options.ts';
import {
  SinkError,
  type ObjectSink,
  type OutgoingRecord,
  type RecordSink,
} from '../../../gateway/forward/sink.ts';
import { openRig, streamOptions } from './support/rig.ts';

const mebibyte = 1024 ** 2;
const shards = 4;
const records = 240;
const recordBytes = 100_000;

/** Never answers; called off, it says so. */
function hang(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => {
      reject(new SinkError('aborted', 'called off'));
    });
  });
}

class Destinations {
  /** Of objects, held in memory meanwhile. */
  underWay = 0;
  most = 0;
  readonly arrived = new Map<string, number>();

  objects(name: string, put: (signal: AbortSignal) => Promise<void> | void): ObjectSink {
    return {
      kind: 's3',
      description: name,
      put: async (upload, signal) => {
        this.underWay += 1;
        this.most = Math.max(this.most, this.underWay);
        try {
          await put(signal);
          this.arrived.set(name, (this.arrived.get(name) ?? 0) + upload.sizeBytes);
        } finally {
          this.underWay -= 1;
        }
      },
      close: () => Promise.resolve(),
    };
  }

  stream(name: string, send: (signal: AbortSignal) => Promise<void> | void): RecordSink {
    return {
      kind: 'kinesis',
      description: name,
      limits: { records: 500, bytes: 5 * mebibyte, recordBytes: mebibyte },
      send: async (given: readonly OutgoingRecord[], signal) => {
        await send(signal);
        const bytes = given.reduce((sum, { data }) => sum + data.length, 0);
        this.arrived.set(name, (this.arrived.get(name) ?? 0) + bytes);
        return given.map(() => null);
      },
      close: () => Promise.resolve(),
    };
  }
}

const dead = (): never => {
  throw new SinkError('unreachable', 'nobody there');
};

test('twenty deliveries, most of them stuck: the others are done, within a bounded memory', async (context) => {
  const rig = await openRig(context);
  await rig.store.log.ensureStream(streamOptions('readings', shards));
  for (let at = 0; at < records; at += 20) {
    const batch = Array.from({ length: 20 }, (_, index) => ({
      partitionKey: `key-${at + index}`,
      // Nothing that compression would make small.
      data: randomBytes(recordBytes),
    }));
    await rig.store.log.append('readings', batch);
  }
  const base = { from: { stream: 'readings' }, buffer: { maxBytes: mebibyte, maxSeconds: 0.1 } };
  const toObjects: Omit<DeliveryOptions, 'name'> = { ...base, to: { folder: { path: '' } } };
  const toStream: Omit<DeliveryOptions, 'name'> = { ...base, to: { kinesis: { stream: 'up' } } };
  const destinations = new Destinations();
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const held = (): number => {
    collect();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const before = held();

  const stuck = Array.from({ length: 8 }, (_, index) => [
    rig.start({ name: `hangs-${index}`, ...toObjects }, destinations.objects('hangs', hang)),
    rig.start({ name: `stream-hangs-${index}`, ...toStream }, destinations.stream('hangs', hang)),
  ]).flat();
  rig.start({ name: 'dead', ...toObjects }, destinations.objects('dead', dead));
  rig.start(
    { name: 'slow', ...toObjects },
    destinations.objects('slow', () => setImmediate()),
  );
  rig.start(
    { name: 'good', ...toObjects },
    destinations.objects('good', () => undefined),
  );
  rig.start(
    { name: 'live', ...toStream },
    destinations.stream('live', () => undefined),
  );

  const sent = (name: string): number =>
    rig.metrics.values.get(`headgate_delivery_sent_records_total{delivery="${name}"}`) ?? 0;
  await rig.metrics.until(() => ['slow', 'good', 'live'].every((name) => sent(name) === records));

  assert.ok((destinations.arrived.get('good') ?? 0) >= records * recordBytes, 'all of it');
  assert.equal(destinations.arrived.get('live'), records * recordBytes);
  assert.equal(destinations.arrived.get('hangs'), undefined);
  const { most: uploads, underWay } = destinations;
  assert.ok(uploads <= 8 + 3 + 8, `one each, and eight more: ${uploads}`);
  assert.ok(underWay >= 8, `the ones that hang are under way: ${underWay}`);
  // Each of the 32 queues for streams that hang would hold 6 MB, and each of 32 uploads 1 MB.
  const holding = held() - before;
  assert.ok(holding < 110 * mebibyte, `they hold ${Math.round(holding / mebibyte)} MiB`);
  for (const delivery of stuck) {
    const { backlog, lostRecords } = await delivery.status();
    assert.deepEqual([backlog.records, lostRecords], [records, 0]);
  }
});
