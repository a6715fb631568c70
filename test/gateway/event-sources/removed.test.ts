/** What is left of event sources that are no longer configured, and letting go of it. */
import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { eventSourceOf, forgetRemoved } from '../../../gateway/event-sources/applications.ts';
import { RemovedEventSources } from '../../../gateway/event-sources/removed.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { numbered } from '../forward/support/rig.ts';
import { ImpatientClock } from '../functions/support/functions.ts';
import { noting, openSources, until } from './support/sources.ts';

describe('an event source that is removed', () => {
  for (const place of ['stream', 'folder', null] as const) {
    it(`is told with what it has not had and what it gave up (${place})`, async (t) => {
      const folder = `${await temporaryFolder(t)}/letters`;
      const deadLetter = place && (place === 'stream' ? { stream: 'letters' } : { folder });
      const sources = await openSources(t, { clock: new ImpatientClock() });
      const { store } = sources;
      const { target } = await noting(t, `throw new Error('never');`);
      await store.log.append('readings', numbered(0, 4));
      const source = sources.begin({
        ...{ function: target, batchSize: 2, retries: 0, deadLetter },
        tumblingWindowSeconds: 60,
      });
      await until(source, ({ backlog }) => backlog.records === 0);
      await source.close();
      await store.log.append('readings', numbered(4, 3));

      const removed = new RemovedEventSources({ ...store, clock: sources.clock });
      assert.deepEqual(await removed.list([{ name: 'f' }]), []);
      const [one, ...others] = await removed.list([{ name: 'other' }]);
      assert.deepEqual(others, []);
      assert.deepEqual([one?.name, one?.backlog.records], ['f', 3]);
      const where = { stream: 'stream letters', folder };
      assert.equal(one?.deadLetter, place && where[place]);
      if (place === null) assert.equal(one.failed, null);
      else {
        assert.equal(one.failed?.batches, 2);
        assert.equal(one.failed.newest?.reason, 'it threw Error: never');
      }

      assert.equal(await forgetRemoved(store, [], 'f'), 'forgotten');
      assert.deepEqual(await removed.list([]), []);
      assert.deepEqual(store.log.stream('readings').attributes, {});
    });
  }

  it('does no batch twice that was done before it was forgotten', async (t) => {
    const sources = await openSources(t, { clock: new ImpatientClock() });
    const { store } = sources;
    const { log } = store;
    const deadLetter = { stream: 'letters' };
    const never = await noting(t, `throw new Error('never');`);
    const fails = { function: never.target, batchSize: 1, retries: 0, deadLetter };
    const well = await noting(t, 'note(texts);');
    const works = { ...fails, function: well.target };
    // Twice: what is kept of the first time outlives the second.
    for (const round of [1, 2]) {
      await log.append('readings', numbered(10 * round, 2));
      const failing = sources.begin(fails);
      await until(failing, ({ failed }) => failed?.batches === 2);
      await failing.close();
      const source = sources.begin(works);
      assert.equal(await source.replay(), 2);
      await until(source, ({ failed }) => failed?.isReplaying === false && failed.batches === 0);
      await source.close();
      // Never handed over again, and so still to be.
      await log.append('readings', numbered(10 * round + 5, 1));
      const again = sources.begin(fails);
      await until(again, ({ failed }) => failed?.batches === 1);
      await again.close();

      assert.equal(await forgetRemoved(store, [], 'f'), 'forgotten');
      assert.equal(await forgetRemoved(store, [], 'f'), 'unknown');
      const another = sources.begin({ ...works, startAt: { edge: 'latest' } });
      assert.equal((await another.status()).failed?.batches, 1);
      assert.equal(await another.replay(), 1);
      await until(another, ({ failed }) => failed?.batches === 0);
      await another.close();
    }
    const ids = well.notes().map((texts) => /"id":(\d+)/.exec(String(texts))?.[1]);
    assert.deepEqual(ids, ['10', '11', '15', '20', '21', '25']);
  });

  it('is told where it kept them last, or what is left when that is gone', async (t) => {
    const folder = `${await temporaryFolder(t)}/letters`;
    const sources = await openSources(t);
    const { store } = sources;
    const { target } = await noting(t, 'note(texts);');
    for (const deadLetter of [{ stream: 'letters' }, { folder }, null, { folder }]) {
      const source = sources.begin({ function: target, deadLetter });
      await until(source, ({ state }) => state === 'running');
      await source.close();
      const kept = Object.values(store.log.stream('readings').attributes);
      assert.deepEqual(kept, deadLetter === null ? [] : [deadLetter]);
    }
    const removed = new RemovedEventSources({ ...store, clock: sources.clock });
    assert.equal((await removed.list([]))[0]?.failed?.batches, 0);
    await writeFile(folder, 'in the way');
    const unreadable = new RemovedEventSources({ ...store, clock: sources.clock });
    assert.deepEqual(
      (await unreadable.list([])).map(({ deadLetter, failed }) => [deadLetter, failed]),
      [[folder, null]],
    );
    await rm(folder);
    await store.log.deleteStream('readings');
    const [left] = await unreadable.list([]);
    assert.deepEqual([left?.name, left?.backlog.records, left?.deadLetter], ['f', 0, null]);
  });

  it('is known by its name, whatever application is left of it', () => {
    for (const suffix of ['', ':state-1', ':state-2', ':replay']) {
      assert.equal(eventSourceOf(`function:notes${suffix}`), 'notes');
    }
  });
});
