/** What an event source gave up and kept, where something is lost, in the way, or can't be read. */
import assert from 'node:assert/strict';
import { mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { replayApplicationOf } from '../../../gateway/event-sources/applications.ts';
import type { ReplayPorts } from '../../../gateway/event-sources/failed-batches.ts';
import { FolderBatches } from '../../../gateway/event-sources/failed-files.ts';
import { numbered } from '../forward/support/rig.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { ImpatientClock } from '../functions/support/functions.ts';
import { noting, openSources, until } from './support/sources.ts';

const record = {
  kinesis: {
    ...{ kinesisSchemaVersion: '1.0', partitionKey: 'k', sequenceNumber: '1', data: 'MQ==' },
    approximateArrivalTimestamp: 1_500_000_000,
  },
  ...{ eventSource: 'aws:kinesis', eventVersion: '1.0', eventID: 'shardId-000000000000:1' },
  ...{ eventName: 'aws:kinesis:record', invokeIdentityArn: 'arn:aws:iam::1:role/a' },
  ...{
    awsRegion: 'eu-central-1',
    eventSourceARN: 'arn:aws:kinesis:eu-central-1:1:stream/readings',
  },
};

function letter(reason: string, payload: object = {}): string {
  return JSON.stringify({
    requestContext: { condition: 'RetryAttemptsExhausted' },
    responseContext: { errorMessage: reason },
    timestamp: '2026-01-01T00:00:00.000Z',
    KinesisBatchInfo: { shardId: 'shardId-000000000000', streamArn: record.eventSourceARN },
    payload: { Records: [record], ...payload },
  });
}

function ports(settle: ReplayPorts['settle']): ReplayPorts {
  const acquire = (): Promise<never> => Promise.reject(new Error('a folder has no leases'));
  return { settle, acquire, signal: new AbortController().signal };
}

describe('failed batches in a stream', () => {
  it('end where their shard does, once its last ones were lost', async (t) => {
    const sources = await openSources(t, { clock: new ImpatientClock() });
    const { log } = sources.store;
    const { target, notes } = await noting(
      t,
      `if (texts[0] !== '1') throw new Error('never');
       note(texts);`,
    );
    const data = Buffer.from(letter('no'));
    await log.append('letters', [{ partitionKey: 'k', data }]);
    const [shard] = log.stream('letters').shards;
    await log.setAttribute('letters', replayApplicationOf('f'), { [shard!.id]: 10 });
    const source = sources.begin({
      ...{ function: target, batchSize: 1, retries: 0, deadLetter: { stream: 'letters' } },
    });
    await until(source, ({ failed }) => failed?.isReplaying === false);
    assert.deepEqual(notes(), [['1']]);
    // What fails from here on was not asked for, though it lies before the end that was.
    await log.append('readings', numbered(0, 2));
    const { failed } = await until(source, (status) => status.failed?.batches === 2);
    assert.equal(failed?.isReplaying, false);
  });

  it('have the last call of their window made again, however long that is over', async (t) => {
    const sources = await openSources(t, { clock: new ImpatientClock() });
    const { target, notes } = await noting(
      t,
      `note([texts.length, event.isFinalInvokeForWindow]);
       if (calls === 2) throw new Error('not now');
       return { state: {} };`,
    );
    const window = { start: '2020-01-01T00:00:00.000Z', end: '2020-01-01T00:01:00.000Z' };
    const data = Buffer.from(letter('no', { window }));
    await sources.store.log.append('letters', [{ partitionKey: 'k', data }]);
    const source = sources.begin({
      ...{ function: target, maxRecordAgeSeconds: 60, tumblingWindowSeconds: 60 },
      deadLetter: { stream: 'letters' },
    });
    assert.equal(await source.replay(), 1);
    await until(source, ({ failed }) => failed?.isReplaying === false);
    assert.deepEqual(notes(), [
      [1, false],
      [0, true],
      [0, true],
    ]);
    assert.equal((await source.status()).failed?.batches, 0);
  });
});

describe('failed batches in a folder', () => {
  it('stay when they fail once more, also if they are asked for meanwhile', async (t) => {
    const folder = await temporaryFolder(t);
    const failed = new FolderBatches(folder, new ManualClock());
    await writeFile(join(folder, '1-5.json'), letter('first'));
    assert.equal(await failed.askForReplay(), 1);
    let asked: number | null = null;
    await failed.replay(
      ports(async () => {
        await writeFile(join(folder, '1-5.json'), letter('second'));
        asked = await failed.askForReplay();
      }),
    );
    assert.equal(asked, 0);
    assert.deepEqual(await readdir(folder), ['1-5.json']);
    const { batches, newest } = await failed.status();
    assert.deepEqual([batches, newest?.reason], [1, 'second']);
    assert.equal(await failed.askForReplay(), 1);
  });

  it('are asked for once, by two at the same instant', async (t) => {
    const folder = await temporaryFolder(t);
    const failed = new FolderBatches(folder, new ManualClock());
    for (const shard of ['1', '2', '3']) {
      await writeFile(join(folder, `${shard}-5.json`), letter('no'));
    }
    const asked = await Promise.all([failed.askForReplay(), failed.askForReplay()]);
    assert.deepEqual(asked, [3, 0]);
    const settled: unknown[] = [];
    await failed.replay(
      ports((batch) => {
        settled.push(batch);
        return Promise.resolve();
      }),
    );
    assert.equal(settled.length, 3);
    assert.deepEqual(await readdir(folder), []);
  });

  it('that cannot be read are not asked for, and that says where', async (t) => {
    const folder = join(await temporaryFolder(t), 'f');
    const failed = new FolderBatches(folder, new ManualClock());
    assert.equal(await failed.askForReplay(), 0, 'there is no folder yet');
    await writeFile(folder, 'no folder');
    const refused = { name: 'SinkError', message: `ENOTDIR: not a directory: ${folder}` };
    await assert.rejects(failed.askForReplay(), refused);
    await rm(folder);
    assert.equal(await failed.askForReplay(), 0);
  });

  it('are no longer asked for once they were removed by hand', async (t) => {
    const folder = await temporaryFolder(t);
    const failed = new FolderBatches(folder, new ManualClock());
    await writeFile(join(folder, '1-5.json'), letter('no'));
    await failed.askForReplay();
    assert.equal((await failed.status()).isReplaying, true);
    await rm(join(folder, '1-5.json.replay'));
    await failed.replay(ports(() => Promise.reject(new Error('there is none'))));
    assert.deepEqual(await failed.status(), { batches: 0, newest: null, isReplaying: false });
  });

  it('are told of though one is gone when it is read', async (t) => {
    const folder = await temporaryFolder(t);
    await mkdir(join(folder, 'a'));
    await mkdir(join(folder, 'b'));
    await writeFile(join(folder, 'a', '1-5.json'), letter('no'));
    await symlink(join(folder, 'gone'), join(folder, 'b', '1-5.json'));
    const { newest } = await new FolderBatches(folder, new ManualClock()).status();
    assert.equal(newest?.reason, 'no');
  });

  it('hold up nothing when they cannot be read, and that is told', async (t) => {
    const folder = await temporaryFolder(t);
    const clock = new ImpatientClock();
    const sources = await openSources(t, { clock });
    const { target, notes } = await noting(t, 'note(texts);');
    await writeFile(join(folder, 'f'), 'no folder');
    await sources.store.log.append('readings', numbered(0, 5));
    const source = sources.begin({ function: target, deadLetter: { folder } });
    const status = await until(source, ({ records }) => records === 5);
    assert.equal((notes() as string[][]).flat().length, 5);
    assert.deepEqual([status.failed, status.state], [null, 'backing-off']);
    assert.match(status.trouble ?? '', /what was given up can't be read: ENOTDIR/);
    await rm(join(folder, 'f'));
    clock.advance(10_000);
    const after = await until(source, ({ failed }) => failed !== null);
    assert.deepEqual([after.failed?.batches, after.trouble], [0, null]);
  });
});
