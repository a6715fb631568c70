import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { covers, permissionsOf } from '../../../ingest/mqtt/permissions.ts';
import {
  connectPacket,
  publishPacket,
  RawClient,
  rawRoute,
  readAll,
  startBroker,
  startStore,
  subscribePacket,
  user,
} from './support.ts';

const PUBACK = 4;
const who = { username: 'pump', clientId: 'pump-1' };

describe('permissions', { timeout: 600_000 }, () => {
  it('cover what is asked for as a whole or not at all', () => {
    const rows: [string, string, boolean][] = [
      ['#', 'a/b', true],
      ['#', '#', true],
      ['#', '$SYS/#', false],
      ['+/a', '$x/a', false],
      ['$x/+', '$x/a', true],
      ['a/#', 'a', true],
      ['a/#', 'a/+/c', true],
      ['a/#', '+/b', false],
      ['a/+', 'a/+', true],
      ['a/+', 'a/#', false],
      ['a/+', 'a/b/c', false],
      ['a/b', 'a/+', false],
      ['a/b', 'a', false],
    ];
    for (const [allowed, asked, expected] of rows) {
      assert.equal(covers(allowed, asked), expected, `${allowed} ⊇ ${asked}`);
    }
  });

  it('allow all topics where they name none, and nothing where their list is empty', () => {
    const all = permissionsOf({}, who);
    assert.ok(all.mayPublish('a') && all.maySubscribe('#'), 'everything');
    const none = permissionsOf({ publish: [], subscribe: [] }, who);
    assert.ok(!none.mayPublish('a') && !none.maySubscribe('a'), 'nothing');
  });

  it('put the names of the client in, but none that would open more than its own topics', () => {
    const topics = { publish: ['plant/{clientId}/#', 'all'], subscribe: ['to/{username}/+'] };
    const own = permissionsOf(topics, who);
    assert.ok(own.mayPublish('plant/pump-1/flow'), 'its own topic');
    assert.ok(!own.mayPublish('plant/pump-2/flow'), "another's topic");
    assert.ok(own.maySubscribe('to/pump/now') && !own.maySubscribe('to/valve/now'), 'its own only');
    for (const clientId of ['+', '#', 'a/b', '']) {
      const lie = permissionsOf(topics, { username: 'pump', clientId });
      assert.ok(!lie.mayPublish('plant/pump-2/flow'), clientId);
      assert.ok(!lie.mayPublish('plant/a/b/flow'), clientId);
      assert.ok(lie.mayPublish('all'), clientId);
    }
  });

  it('end the connection of a device that publishes elsewhere, unacknowledged', async (t) => {
    const store = await startStore(t);
    const users = [{ ...user, publish: ['site/{clientId}'] }];
    for (const qos of [1, 2] as const) {
      const running = await startBroker(t, { log: store.log, users, routes: [rawRoute] });
      const client = await RawClient.login(t, running.port, `own${qos}`);
      client.send(publishPacket({ topic: `site/own${qos}`, payload: 'mine', qos: 1 }));
      assert.equal((await client.packet()).type, PUBACK);
      client.send(publishPacket({ topic: 'site/other', payload: 'not mine', qos }));
      await client.close();
      assert.equal(client.received.length, 4 + 4, 'a CONNACK and one PUBACK');
      assert.ok(running.logger.lines.some((line) => JSON.stringify(line).includes('forbidden')));
    }
    const stored = (await readAll(store.log, 'telemetry')).map(({ data }) => data.toString());
    assert.deepEqual(stored, ['mine', 'mine']);
  });

  it('refuse a subscription to more than they name, and a will elsewhere', async (t) => {
    const store = await startStore(t);
    const users = [{ ...user, subscribe: ['to/#'], publish: ['site/#'] }];
    const { port } = await startBroker(t, { log: store.log, users });
    const client = await RawClient.login(t, port, 'a');
    client.send(subscribePacket(['to/a', '#', 'to/+/x', 'site/a']));
    assert.deepEqual([...(await client.packet()).body.subarray(2)], [0, 0x80, 0, 0x80]);
    const other = await RawClient.open(t, port);
    other.send(connectPacket({ clientId: 'b', will: { topic: 'to/a', payload: 'x' } }));
    assert.equal((await other.packet()).body[1], 5);
  });
});

describe('an update of users and routes', { timeout: 600_000 }, () => {
  it('drops who is another now, keeps the others, and routes by the new rules', async (t) => {
    const store = await startStore(t, ['telemetry', 'other']);
    const second = { username: 'second', password: 'second password' };
    const { port, broker } = await startBroker(t, { log: store.log, users: [user, second] });
    const kept = await RawClient.login(t, port, 'kept');
    const dropped = await RawClient.open(t, port);
    dropped.send(connectPacket({ clientId: 'dropped', ...second }));
    assert.equal((await dropped.packet()).body[1], 0);
    broker.update({
      users: [user, { ...second, password: 'changed' }],
      routes: [{ ...rawRoute, stream: 'other' }],
    });
    await dropped.close();
    kept.send(publishPacket({ topic: 'site/a', payload: 'x', qos: 1 }));
    assert.equal((await kept.packet()).type, PUBACK);
    assert.equal((await readAll(store.log, 'other')).length, 1);
    const again = await RawClient.open(t, port);
    again.send(connectPacket({ clientId: 'dropped', ...second }));
    assert.equal((await again.packet()).body[1], 4);
  });

  it('that can not work changes nothing', async (t) => {
    const store = await startStore(t);
    const { port, broker } = await startBroker(t, { log: store.log });
    const routes = [{ ...rawRoute, topic: 'a/#/b' }];
    assert.throws(() => broker.update({ users: [user], routes }), /a\/#\/b/);
    const client = await RawClient.login(t, port, 'a');
    client.send(publishPacket({ topic: 'site/a', payload: 'x', qos: 1 }));
    assert.equal((await client.packet()).type, PUBACK);
    assert.equal((await readAll(store.log, 'telemetry')).length, 1);
  });
});
