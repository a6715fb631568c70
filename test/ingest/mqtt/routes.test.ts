import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MqttError } from '../../../ingest/mqtt/errors.ts';
import { compileKeyTemplate, fitKey } from '../../../ingest/mqtt/partition-key.ts';
import { Router, type MqttRoute } from '../../../ingest/mqtt/routes.ts';
import { filterProblem, TopicTree } from '../../../ingest/mqtt/topics.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';
import { rawRoute } from './support.ts';

describe('topic filters', () => {
  const matches = (filter: string, topic: string): boolean => {
    const tree = new TopicTree<string>();
    tree.add(filter, filter);
    return tree.match(topic).length > 0;
  };

  it('match as OASIS MQTT 3.1.1, 4.7 says', () => {
    const yes: [string, string][] = [
      ['a/b', 'a/b'],
      ['#', 'a/b'],
      ['a/#', 'a'],
      ['a/#', 'a/b/c'],
      ['+/b', 'a/b'],
      ['a/+', 'a/'],
      ['+/+', '/a'],
      ['/+', '/a'],
      ['+', 'a'],
      ['$SYS/#', '$SYS/x'],
      ['a/+/c/#', 'a/b/c'],
    ];
    const no: [string, string][] = [
      ['a/b', 'a'],
      ['a/+', 'a'],
      ['a/+', 'a/b/c'],
      ['+', '/a'],
      ['#', '$SYS/x'],
      ['+/x', '$SYS/x'],
      ['a', 'A'],
      ['a/#', 'ab'],
    ];
    for (const [filter, topic] of yes) assert.ok(matches(filter, topic), `${filter} ~ ${topic}`);
    for (const [filter, topic] of no) assert.ok(!matches(filter, topic), `${filter} !~ ${topic}`);
  });

  it('are told when they are malformed', () => {
    for (const filter of ['', 'a#', 'a/#/b', 'a+/b', '##', 'a/\0', 'a/'.repeat(100)]) {
      assert.notEqual(filterProblem(filter), null, filter);
    }
    for (const filter of ['#', '+', 'a/+/b/#', '/', 'a//b']) {
      assert.equal(filterProblem(filter), null, filter);
    }
  });

  it('can be taken out of the tree again', () => {
    const tree = new TopicTree<number>();
    tree.add('a/+', 1);
    tree.add('a/b', 2);
    tree.remove('a/+', 1);
    tree.remove('a/never/there', 1);
    assert.deepEqual(tree.match('a/b'), [2]);
  });
});

describe('partition keys', () => {
  const key = (template: string, payload: unknown, topic = 'site/d7/temperature'): string | null =>
    compileKeyTemplate(template)({
      topic,
      levels: topic.split('/'),
      clientId: 'client-1',
      payload: () => payload,
    });

  it('are built from topic levels, payload fields and constants', () => {
    const payload = { device: { id: 'x-9' }, list: [{ n: 5 }], on: true };
    assert.equal(key('all', payload), 'all');
    assert.equal(key('{topic}', payload), 'site/d7/temperature');
    assert.equal(key('{topic[1]}-{payload.device.id}', payload), 'd7-x-9');
    assert.equal(key('{payload.list[0].n}', payload), '5');
    assert.equal(key('{payload.on}', payload), 'true');
    assert.equal(key('{payload}', 'plain'), 'plain');
    assert.equal(key('{clientId}', payload), 'client-1');
    assert.equal(key('{{{topic[0]}}}', payload), '{site}');
  });

  it('are missing where the message lacks something', () => {
    for (const template of ['{topic[9]}', '{payload.no}', '{payload.device}', '{payload.list.n}']) {
      assert.equal(key(template, { device: { id: 1 }, list: [] }), null, template);
    }
    assert.equal(key('{payload.__proto__.toString}', {}), null);
    assert.equal(key('{payload.constructor.name}', {}), null);
    assert.equal(key('{payload.length}', 'text'), null);
    assert.equal(key('{payload.id}', { id: '' }), null);
    assert.equal(key('{payload.id}', null), null);
  });

  it('are refused as templates that can never be right', () => {
    for (const template of ['', '{', 'a}', '{topic[x]}', '{Topic}', '{payload.}', '{payload..a}']) {
      assert.throws(() => compileKeyTemplate(template), MqttError, template);
    }
  });

  it('are always 1 to 256 characters, and long ones stay distinct', () => {
    const long = 'x'.repeat(300);
    const fitted = fitKey(`${long}a`);
    assert.equal(fitted.length, 256);
    assert.notEqual(fitted, fitKey(`${long}b`));
    assert.equal(fitKey('x'.repeat(256)), 'x'.repeat(256));
    assert.ok(fitKey('\u{1f600}'.repeat(200)).length <= 256);
    for (const odd of ['\ud800', `${'y'.repeat(190)}\u{1f600}${long}`]) {
      const text = fitKey(odd);
      assert.equal(Buffer.from(text).toString(), text, 'survives UTF-8');
    }
  });
});

describe('routes', () => {
  const base = { stream: 's', partitionKey: '{payload.id}', decoder: 'json', envelope: false };

  const routed = (
    route: Partial<MqttRoute>,
    payload: Buffer | string,
  ): { key: string; data: string; metrics: MemoryMetrics } => {
    const metrics = new MemoryMetrics();
    const routes = [{ ...base, topic: 'a/#', ...route } as MqttRoute];
    const router = new Router(routes, new ManualClock(), metrics);
    const [target] = router.route({ topic: 'a/b', payload: Buffer.from(payload), clientId: 'c' })!;
    return {
      key: target!.record.partitionKey,
      data: target!.record.data.toString('latin1'),
      metrics,
    };
  };

  it('leave JSON, text and binary untouched, and turn CBOR into JSON', () => {
    const spaced = ' {"id" : 12345678901234567890,\r\n "v":1.0} ';
    assert.equal(routed({}, spaced).data, spaced);
    assert.equal(routed({ decoder: 'text' }, 'plain').data, 'plain');
    assert.equal(routed({ decoder: 'binary' }, Buffer.from([0, 255])).data, '\0\xff');
    const cbor = routed({ decoder: 'cbor' }, Buffer.from('a1626964a1616101', 'hex'));
    assert.equal(cbor.data, '{"id":{"a":1}}');
    assert.equal(routed({ decoder: 'cbor' }, Buffer.from('a16269646178', 'hex')).key, 'x');
  });

  it('keep what can not be decoded raw, key it by its topic and count it', () => {
    const rubbish: [MqttRoute['decoder'], Buffer][] = [
      ['json', Buffer.from('{"id":')],
      ['json', Buffer.from('')],
      ['json', Buffer.from([0x22, 0xff, 0x22])],
      ['json', Buffer.from('['.repeat(100_000))],
      ['text', Buffer.from([0xc3, 0x28])],
      ['cbor', Buffer.from([0x62, 0x61])],
    ];
    for (const [decoder, payload] of rubbish) {
      const { key, data, metrics } = routed({ decoder }, payload);
      assert.equal(key, 'a/b');
      assert.equal(data, payload.toString('latin1'));
      assert.equal(
        metrics.values.get('headgate_mqtt_undecodable_total{route="a/#",stream="s"}'),
        1,
        decoder,
      );
    }
  });

  it('key what can not be decoded as ever, where the key needs no payload', () => {
    const keyOf = (partitionKey: string): string => routed({ partitionKey }, 'not json').key;
    assert.equal(keyOf('{topic[1]}'), 'b');
    assert.equal(keyOf('of {clientId}'), 'of c');
    assert.equal(keyOf('{topic[1]}-{payload.id}'), 'a/b');
  });

  it('key by the topic, and count it, when the template finds nothing', () => {
    const { key, metrics } = routed({}, '{"other":1}');
    assert.equal(key, 'a/b');
    const name = 'headgate_mqtt_key_fallbacks_total{route="a/#",stream="s"}';
    assert.equal(metrics.values.get(name), 1);
  });

  it('put the payload into an envelope on one line, with every digit', () => {
    const open = '{"topic":"a/b","receivedAt":"2026-01-01T00:00:00.000Z","payload":';
    const enveloped = (decoder: MqttRoute['decoder'], payload: string | Buffer): string =>
      routed({ decoder, envelope: true }, payload).data;
    assert.equal(
      enveloped('json', '{"id":\r\n12345678901234567890}'),
      `${open}{"id":  12345678901234567890}}`,
    );
    assert.equal(enveloped('text', 'say "hi"\n'), `${open}"say \\"hi\\"\\n"}`);
    assert.equal(enveloped('binary', Buffer.from([1, 2, 3])), `${open}"AQID"}`);
    assert.equal(enveloped('cbor', Buffer.from('8101', 'hex')), `${open}[1]}`);
    assert.equal(enveloped('json', 'no'), `${open}"bm8=","undecodable":"not JSON"}`);
  });

  it('all get a message whose topic they match', () => {
    const routes: MqttRoute[] = [
      { topic: 'a/+', stream: 'one', partitionKey: 'k', decoder: 'binary', envelope: false },
      { topic: '#', stream: 'two', partitionKey: 'k', decoder: 'binary', envelope: false },
      { topic: 'b', stream: 'three', partitionKey: 'k', decoder: 'binary', envelope: false },
    ];
    const router = new Router(routes, new ManualClock(), new MemoryMetrics());
    const targets = router.route({ topic: 'a/b', payload: Buffer.from('x'), clientId: 'c' });
    assert.deepEqual(targets!.map(({ route }) => route.options.stream).sort(), ['one', 'two']);
  });

  it('leave retained messages and wills out where their route says so', () => {
    const one: MqttRoute = { ...rawRoute, topic: 'a/b', stream: 'one', retained: false };
    const two: MqttRoute = { ...rawRoute, topic: 'a/#', stream: 'two', wills: false };
    const router = new Router([one, two], new ManualClock(), new MemoryMetrics());
    const streams = (kind?: 'retained' | 'will'): string[] | undefined =>
      router
        .route({ topic: 'a/b', payload: Buffer.from('x'), clientId: 'c', ...(kind && { kind }) })
        ?.map(({ route }) => route.options.stream)
        .sort();
    assert.deepEqual(streams(), ['one', 'two']);
    assert.deepEqual(streams('retained'), ['two']);
    assert.deepEqual(streams('will'), ['one']);
    assert.equal(router.route({ topic: 'c', payload: Buffer.from('x'), clientId: 'c' }), null);
  });
});
