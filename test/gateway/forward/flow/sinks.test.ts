/** Pausing and rewinding by the kind of sink: single records, footage as objects, footage as media. */
import assert from 'node:assert/strict';
import { before, describe, it, type TestContext } from 'node:test';
import type { DeliveryOptions } from '../../../../gateway/forward/options.ts';
import {
  SinkError,
  type OutgoingRecord,
  type RecordSink,
} from '../../../../gateway/forward/sink.ts';
import { kinesisVideoSink } from '../../../../gateway/forward/sinks/kinesis-video/kinesis-video-sink.ts';
import {
  beginRun,
  cameraOptions,
  fragmentedFormat,
  groupsOf,
  makeFootage,
  newYearUs,
  parseFootage,
  recordGroups,
  type ParsedFootage,
} from '../../../storage/video/footage.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { MemorySink } from '../support/memory-sink.ts';
import { numbered, openRig, runClock, settle, streamOptions, type Rig } from '../support/rig.ts';
import { credentials } from '../support/servers.ts';
import { lyingService } from '../support/video-services.ts';

const secondUs = 1_000_000;

/** Takes records one by one as a test tells it. */
class Records implements RecordSink {
  readonly kind = 'kinesis';
  readonly description = 'memory';
  readonly limits = { records: 20, bytes: 20_000, recordBytes: 10_000 };
  readonly taken: number[] = [];
  calls = 0;
  takes: (id: number) => boolean = () => true;
  during: () => Promise<void> = () => Promise.resolve();

  async send(records: readonly OutgoingRecord[]): Promise<readonly (SinkError | null)[]> {
    this.calls += 1;
    await this.during();
    return records.map(({ data }) => {
      const { id } = JSON.parse(data.toString()) as { id: number };
      if (!this.takes(id)) return new SinkError('throttled', 'less');
      this.taken.push(id);
      return null;
    });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

describe('single records', () => {
  it('are held back in the middle of a backlog, and none comes twice for it', async (context) => {
    const clock = new ManualClock();
    const rig = await openRig(context, { clock });
    await rig.store.log.ensureStream(streamOptions('readings'));
    await rig.store.log.append('readings', numbered(0, 900, 30));
    const sink = new Records();
    // One key is refused for long: what was taken lies far ahead of the checkpoint.
    let isRefusing = true;
    sink.takes = (id) => !isRefusing || id % 30 !== 7;
    const begun: (() => void)[] = [];
    sink.during = async () => {
      if (sink.calls !== 10) return;
      await new Promise<void>((resolve) => begun.push(resolve));
    };
    const options: DeliveryOptions = {
      ...{ name: 'live', from: { stream: 'readings' }, to: { kinesis: { stream: 'up' } } },
    };
    const delivery = rig.start(options, sink);
    await runClock(rig, clock, () => begun.length === 1);
    await delivery.pause();
    begun[0]!();
    await settle(rig);
    clock.advance(600_000);
    await settle(rig);
    assert.equal(sink.calls, 10, 'what was under way was finished, and nothing after it');
    const before = sink.taken.length;
    assert.ok(before > 100 && before < 200, `${before} were taken`);
    assert.equal((await delivery.status()).state, 'waiting');
    isRefusing = false;
    await delivery.resume();
    await runClock(rig, clock, () => sink.taken.length >= 900);
    await settle(rig);
    assert.deepEqual(
      sink.taken.toSorted((a, b) => a - b),
      [...Array(900).keys()],
    );
    for (let key = 0; key < 30; key += 1) {
      const own = sink.taken.filter((id) => id % 30 === key);
      assert.deepEqual(
        own,
        own.toSorted((a, b) => a - b),
        `in order, key ${key}`,
      );
    }
    await delivery.rewind('earliest');
    await runClock(rig, clock, () => sink.taken.length >= 1800);
    assert.equal((await delivery.status()).lostRecords, 0);
  });
});

describe('footage', () => {
  /** Four fragments of a second. */
  let footage: ParsedFootage;
  before(async () => {
    footage = parseFootage(await makeFootage({ seconds: 4, format: fragmentedFormat }));
  });

  async function record(rig: Rig, startUs: number): Promise<void> {
    await rig.store.video.ensureCamera(cameraOptions('front'));
    const run = await beginRun(rig.store, 'front', footage, startUs);
    await recordGroups(run, footage, groupsOf(footage.chunks), startUs);
    await run.end('ended');
  }

  async function recorded(context: TestContext): Promise<{ rig: Rig; clock: ManualClock }> {
    const clock = new ManualClock(newYearUs / 1000);
    const rig = await openRig(context, { clock, video: { minFreeBytes: 0 } });
    for (const minute of [0, 1, 2]) await record(rig, newYearUs + minute * 60 * secondUs);
    return { rig, clock };
  }

  for (const as of ['files', 'fragments'] as const) {
    it(`as ${as}: paused, rewound to a time, and replaced by the same`, async (context) => {
      const { rig, clock } = await recorded(context);
      const sink = new MemorySink();
      const keys: string[] = [];
      sink.before = ({ key }) => void keys.push(key);
      const delivery = rig.start(
        { name: 'footage', from: { camera: 'front' }, to: { folder: { path: '' } }, as },
        sink,
      );
      const perFile = as === 'files' ? 2 : 8;
      await runClock(rig, clock, () => sink.objects.size === 3 * perFile);
      const first = new Map(sink.objects);
      await delivery.pause();
      await record(rig, newYearUs + 180 * secondUs);
      clock.advance(120_000);
      await settle(rig);
      assert.equal(keys.length, 3 * perFile);
      const { state, backlog } = await delivery.status();
      assert.deepEqual([state, backlog.records], ['waiting', 1]);

      await delivery.rewind({ timeMs: newYearUs / 1000 + 62_000 });
      await delivery.resume();
      await runClock(rig, clock, () => keys.length === 6 * perFile);
      assert.deepEqual(keys.slice(3 * perFile, 5 * perFile), keys.slice(perFile, 3 * perFile));
      assert.equal(sink.objects.size, 4 * perFile);
      for (const [key, content] of first) assert.ok(sink.objects.get(key)?.equals(content), key);
      await delivery.rewind('latest');
      await delivery.rewind({ timeMs: newYearUs / 1000 + 1e9 });
      assert.equal((await delivery.status()).backlog.records, 0);
      assert.equal((await delivery.status()).lostRecords, 0);
    });
  }

  it('as media: a pause ends the connection, a rewind sends what was confirmed', async (context) => {
    const { rig, clock } = await recorded(context);
    const stub = await lyingService(context, []);
    const sink = kinesisVideoSink({ stream: 'gate', endpoint: stub.url, credentials, clock });
    const delivery = rig.start(
      { name: 'video', from: { camera: 'front' }, to: { kinesisVideo: { stream: 'gate' } } },
      sink,
    );
    const timecodes = (): number[] => stub.connections.flatMap((one) => one.timecodes);
    // The pace of the service's limit is kept by the clock.
    const until = (wanted: () => boolean): Promise<number> => runClock(rig, clock, wanted, 500);
    await until(() => rig.metrics.total('headgate_delivery_sent_records_total') === 12);
    await delivery.pause();
    await record(rig, newYearUs + 180 * secondUs);
    await until(() => clock.nowMs() > newYearUs / 1000 + 60_000);
    await Promise.all(stub.connections.map(({ closed }) => closed));
    assert.equal(timecodes().length, 12);
    await delivery.rewind({ timeMs: newYearUs / 1000 + 122_000 });
    await delivery.resume();
    await until(() => rig.metrics.total('headgate_delivery_sent_records_total') === 20);
    assert.deepEqual(timecodes().slice(12, 16), timecodes().slice(8, 12));
    assert.equal((await delivery.status()).lostRecords, 0);
  });
});
