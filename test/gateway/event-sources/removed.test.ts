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
