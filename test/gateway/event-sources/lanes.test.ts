/** What depends on time and on several calls at once. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { numbered, runClock } from '../forward/support/rig.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { noting, openSources, until } from './support/sources.ts';

interface Reading {
  readonly id: number;
  readonly key: string;
}

describe('a function with several calls at once', () => {
  it('gets the records of each key in order, and each once', async (t) => {
    const sources = await openSources(t);
    const { target, notes } = await noting(
      t,
      `await new Promise((resolve) => setTimeout(resolve, Math.random() * 10)); note(texts);`,
    );
    await sources.store.log.append('readings', numbered(0, 2_000, 40));
    const source = sources.begin({ function: target, batchSize: 20, parallelization: 6 });
    const { backlog } = await until(source, ({ records }) => records === 2_000);
    const done = (notes() as string[][]).flat().map((text) => JSON.parse(text) as Reading);
    assert.equal(new Set(done.map(({ id }) => id)).size, 2_000);
    assert.equal(done.length, 2_000);
    for (let key = 0; key < 40; key += 1) {
      const ids = done.filter((reading) => reading.key === `key-${key}`).map(({ id }) => id);
      assert.deepEqual(
        ids,
        [...ids].sort((a, b) => a - b),
      );
    }
    assert.notDeepEqual(
      done.map(({ id }) => id),
      Array.from({ length: 2_000 }, (_, id) => id),
    );
    assert.equal(backlog.records, 0);
  });

  it('keeps the checkpoint before what one of them can not do', async (t) => {
    const sources = await openSources(t);
    const { target } = await noting(
      t,
      `if (texts.some((text) => JSON.parse(text).id === 0)) throw new Error('never');`,
    );
    await sources.store.log.append('readings', numbered(0, 400, 40));
    const source = sources.begin({ function: target, batchSize: 1, parallelization: 4 });
    const { records } = await until(
      source,
      ({ records: done, metrics }) => done > 200 && metrics.Errors > 0,
    );
    assert.ok(records < 400);
    const [lease] = sources.store.log.applications.list().flatMap(({ leases }) => leases);
    assert.equal(lease!.checkpoint, 0);
  });
});

describe('a limit of age', () => {
  it('puts aside what has become too old while the function failed, and nothing newer', async (t) => {
    const clock = new ManualClock();
    const sources = await openSources(t, { clock });
    const { target, notes } = await noting(
      t,
      `if (JSON.parse(texts[0]).id === 0) throw new Error('never'); note(texts);`,
    );
    const source = sources.begin({
      ...{ function: target, batchSize: 1, maxRecordAgeSeconds: 300 },
      deadLetter: { stream: 'letters' },
    });
    await sources.store.log.append('readings', numbered(0, 1));
    let errors = 0;
    let records = 0;
    const look = async (): Promise<void> => {
      const status = await source.status();
      errors = status.metrics.Errors;
      records = status.records;
    };
    const settled = async (): Promise<void> => {
      await sources.store.writer.transact(() => Promise.resolve());
      await look();
    };
    await until(source, ({ metrics }) => metrics.Errors === 1);
    await runClock(sources, clock, () => errors >= 3, 1_000, settled);
    clock.advance(250_000);
    await sources.store.log.append('readings', numbered(1, 1));
    await runClock(sources, clock, () => records === 2, 1_000, settled);
    assert.deepEqual(notes(), [['{"id":1,"key":"key-1"}']]);
    const [letter, ...others] = await sources.texts('letters');
    assert.deepEqual(others, []);
    const { requestContext } = JSON.parse(letter!) as { requestContext: { condition: string } };
    assert.equal(requestContext.condition, 'RecordAgeExceeded');
  });
});

interface WindowNote {
  readonly window: { readonly start: string; readonly end: string };
  readonly state: { readonly count?: number };
  readonly records: number;
  readonly isFinalInvokeForWindow: boolean;
  readonly isWindowTerminatedEarly: boolean;
}

describe('a tumbling window', () => {
  const body = `
    const { window, state, isFinalInvokeForWindow, isWindowTerminatedEarly } = event;
    note({ window, state, records: texts.length, isFinalInvokeForWindow, isWindowTerminatedEarly });
    return { state: { count: (state.count ?? 0) + texts.length } };`;

  it('carries its state over a restart, and ends once its time is over', async (t) => {
    const startMs = Date.UTC(2026, 0, 1);
    const folder = await temporaryFolder(t);
    const { target, notes } = await noting(t, body);
    const options = { function: target, tumblingWindowSeconds: 60 };
    const first = await openSources(t, { folder, clock: new ManualClock(startMs) });
    await first.store.log.append('readings', numbered(0, 10));
    await until(first.begin(options), ({ records }) => records === 10);
    await first.close();
    const clock = new ManualClock(startMs + 30_000);
    const second = await openSources(t, { folder, clock });
    await second.store.log.append('readings', numbered(10, 5));
    const source = second.begin(options);
    await until(source, ({ records }) => records === 5);
    clock.advance(31_000);
    await until(source, ({ metrics }) => metrics.Invocations === 2);
    await second.store.log.append('readings', numbered(15, 1));
    await until(source, ({ records }) => records === 6);
    await second.close();
    const window = { start: '2026-01-01T00:00:00.000Z', end: '2026-01-01T00:01:00.000Z' };
    const next = { start: '2026-01-01T00:01:00.000Z', end: '2026-01-01T00:02:00.000Z' };
    const whole = { isFinalInvokeForWindow: false, isWindowTerminatedEarly: false };
    assert.deepEqual(notes(), [
      { window, state: {}, records: 10, ...whole },
      { window, state: { count: 10 }, records: 5, ...whole },
      { window, state: { count: 15 }, records: 0, ...whole, isFinalInvokeForWindow: true },
      { window: next, state: {}, records: 1, ...whole },
    ]);
  });

  it('goes on when a kill left a state behind of records that go again', async (t) => {
    const folder = await temporaryFolder(t);
    const { target, notes } = await noting(t, body);
    const options = { function: target, tumblingWindowSeconds: 60 };
    const clock = new ManualClock(Date.UTC(2026, 0, 1));
    const first = await openSources(t, { folder, clock });
    await first.store.log.append('readings', numbered(0, 10));
    const before = first.begin({ ...options, batchSize: 5 });
    await until(before, ({ records }) => records === 10);
    await before.close();
    const [shard] = first.store.log.stream('readings').shards;
    const source = { kind: 'shard', id: shard!.id } as const;
    // As it is when the second state is kept and the checkpoint is still that of the first.
    await first.store.log.applications.beginAnew('function:f', [], [{ source, position: 5 }]);
    await first.close();
    const second = await openSources(t, { folder, clock });
    const after = second.begin({ ...options, batchSize: 2 });
    await until(after, ({ records }) => records === 5);
    assert.deepEqual(
      (notes() as WindowNote[]).slice(2).map(({ state, records }) => [state.count, records]),
      [
        [5, 2],
        [7, 2],
        [9, 1],
      ],
    );
  });

  it('ends early with its shard', async (t) => {
    const sources = await openSources(t, { clock: new ManualClock(Date.UTC(2026, 0, 1)) });
    const { target, notes } = await noting(t, body);
    await sources.store.log.append('readings', numbered(0, 3));
    await sources.store.log.splitShard('readings', 0, 2n ** 127n);
    const source = sources.begin({ function: target, tumblingWindowSeconds: 60 });
    await until(source, () => notes().length === 2);
    const last = (notes() as WindowNote[]).at(-1)!;
    assert.deepEqual([last.state.count, last.isFinalInvokeForWindow], [3, true]);
    assert.equal(last.isWindowTerminatedEarly, true);
  });

  it('that ended early for its state begins without it after a restart too', async (t) => {
    const folder = await temporaryFolder(t);
    const { target, notes } = await noting(
      t,
      `note([event.isFinalInvokeForWindow, (event.state.text ?? '').length]);
       return { state: { text: 'x'.repeat(2_000_000) } };`,
    );
    for (let run = 1; run <= 2; run += 1) {
      const clock = new ManualClock(Date.UTC(2026, 0, 1));
      const sources = await openSources(t, { folder, clock });
      await sources.store.log.append('readings', numbered(run, 1));
      const source = sources.begin({ function: target, tumblingWindowSeconds: 60 });
      await until(source, ({ metrics }) => metrics.Invocations === 2);
      const { applications } = sources.store.log;
      const plans = (): Promise<readonly unknown[]> =>
        Promise.all(
          applications.list().flatMap(({ leases }) => leases.map((one) => applications.plan(one))),
        );
      while ((await plans()).some((plan) => plan !== null)) await setImmediate();
      await sources.close();
    }
    const each = [
      [false, 0],
      [true, 2_000_000],
    ];
    assert.deepEqual(notes(), [...each, ...each]);
  });

  it('ends early with a state that is too large, which the last call still gets', async (t) => {
    const sources = await openSources(t, { clock: new ManualClock(Date.UTC(2026, 0, 1)) });
    const { target, notes } = await noting(
      t,
      `note([event.isFinalInvokeForWindow, event.isWindowTerminatedEarly, (event.state.text ?? '').length]);
       return { state: calls === 1 ? { text: 'x'.repeat(2_000_000) } : {} };`,
    );
    await sources.store.log.append('readings', numbered(0, 4));
    const source = sources.begin({ function: target, tumblingWindowSeconds: 60, batchSize: 2 });
    await until(source, ({ records }) => records === 4);
    assert.deepEqual(notes(), [
      [false, false, 0],
      [true, true, 2_000_000],
      [false, false, 0],
    ]);
  });
});
