import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { startChild } from '../../support/child.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import {
  connectPacket,
  packet,
  publishPacket,
  RawClient,
  releasePacket,
  startBroker,
  subscribePacket,
  text,
  until,
  user,
  type Running,
} from './support.ts';

const taken: string[] = [];
const log = {
  append: (_stream: string, records: readonly { readonly data: Buffer }[]) => {
    for (const { data } of records) taken.push(data.toString());
    return Promise.resolve([]);
  },
};

const ping = packet(0xc0, Buffer.alloc(0));

/** The return code of the CONNACK that a CONNECT gets. */
async function answerTo(t: TestContext, port: number, connect: Buffer): Promise<number> {
  const client = await RawClient.open(t, port);
  client.send(connect);
  const { type, body } = await client.packet();
  assert.equal(type, 2);
  if (body[1] !== 0) await client.close();
  return body[1]!;
}

async function assertServes(t: TestContext, { port }: Running): Promise<void> {
  const client = await RawClient.login(t, port, 'still-there');
  client.send(publishPacket({ topic: 'site/a', payload: 'fine', qos: 1 }));
  assert.equal((await client.packet()).type, 4);
  client.socket.destroy();
}

/** A small generator, so that a failure can be repeated (mulberry32). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe('logging in', { timeout: 600_000 }, () => {
  it('needs the right name and password', async (t) => {
    const { port, metrics, logger } = await startBroker(t, { log });
    const codes: number[] = [];
    for (const login of [
      {},
      { password: 'wrong' },
      { password: '' },
      { username: 'nobody' },
      { username: '' },
      { username: null },
    ]) {
      codes.push(await answerTo(t, port, connectPacket({ clientId: 'a', ...login })));
    }
    assert.deepEqual(codes, [0, 4, 4, 4, 4, 5]);
    const name = 'headgate_mqtt_failed_connections_total{reason="unauthorized"}';
    assert.equal(metrics.values.get(name), 5);
    const said = logger.lines.filter(({ fields }) => fields['reason'] === 'unauthorized');
    assert.equal(said.length, 1, 'summarised');
    assert.ok(!JSON.stringify(logger.lines).includes(user.password), 'no password in the log');
  });

  it('may be left away where that is allowed, but a name that is given is checked', async (t) => {
    const { port } = await startBroker(t, { log, allowAnonymous: true });
    const answer = (login: { username?: string | null; password?: string }): Promise<number> =>
      answerTo(t, port, connectPacket({ clientId: 'a', ...login }));
    assert.equal(await answer({ username: null }), 0);
    assert.equal(await answer({}), 0);
    assert.equal(await answer({ password: 'wrong' }), 4);
  });

  it('works with MQTT 3.1 and 3.1.1, and MQTT 5 is told what to do', async (t) => {
    const { port, logger, metrics } = await startBroker(t, { log });
    const publish = (version: string): ReturnType<typeof startChild> =>
      startChild(t, 'mosquitto_pub', [
        ...['-h', '127.0.0.1', '-p', String(port), '-V', version],
        ...['-u', user.username, '-P', user.password, '-t', 'site/a', '-m', version, '-q', '1'],
      ]);
    for (const version of ['mqttv31', 'mqttv311']) {
      assert.equal((await publish(version).exited).code, 0);
      assert.ok(taken.includes(version));
    }
    const five = publish('mqttv5');
    assert.notEqual((await five.exited).code, 0);
    assert.match(five.lines.join('\n'), /Unsupported Protocol version/i);
    assert.ok(!taken.includes('mqttv5'));
    const line = logger.lines.find(({ fields }) => fields['reason'] === 'version-5');
    assert.match(line!.message, /set the protocol version of the client to MQTT 3\.1\.1/);
    const name = 'headgate_mqtt_failed_connections_total{reason="version-5"}';
    assert.equal(metrics.values.get(name), 1);
  });

  it('answers MQTT 5 with CONNACK 0x84, and versions unheard of with return code 1', async (t) => {
    const { port } = await startBroker(t, { log });
    const five = await RawClient.open(t, port);
    five.send(connectPacket({ clientId: 'a', protocol: { name: 'MQTT', level: 5 } }));
    const { type, body } = await five.packet();
    assert.equal(type, 2);
    assert.deepEqual([...body.subarray(0, 2)], [0, 0x84]);
    assert.equal(body[2], body.length - 3, 'the properties fill the packet');
    await five.close();
    for (const protocol of [
      { name: 'MQTT', level: 6 },
      { name: 'MQTT', level: 3 },
      { name: 'MQIsdp', level: 4 },
    ]) {
      assert.equal(await answerTo(t, port, connectPacket({ clientId: 'a', protocol })), 1);
    }
  });

  it('answers 2 to an identifier that is too long, or missing where it is needed', async (t) => {
    const { port } = await startBroker(t, { log });
    const answer = (clientId: string, clean = true): Promise<number> =>
      answerTo(t, port, connectPacket({ clientId, clean }));
    assert.equal(await answer('x'.repeat(256)), 0);
    assert.equal(await answer('x'.repeat(257)), 2);
    assert.equal(await answer(''), 0);
    assert.equal(await answer('', false), 2);
    const will = { topic: 'a/#', payload: '' };
    assert.equal(await answerTo(t, port, connectPacket({ clientId: 'a', will })), 5);
  });

  it('answers 3 when as many clients as allowed are there, until one leaves', async (t) => {
    const { port, broker } = await startBroker(t, { log, limits: { connections: 2 } });
    const first = await RawClient.login(t, port, 'a');
    await RawClient.login(t, port, 'b');
    assert.equal(await answerTo(t, port, connectPacket({ clientId: 'c' })), 3);
    first.socket.destroy();
    await until(() => broker.status().connections === 1);
    assert.equal(await answerTo(t, port, connectPacket({ clientId: 'c' })), 0);
  });

  it('must be done in time, byte by byte or not', async (t) => {
    const clock = new ManualClock();
    const { port, broker } = await startBroker(t, { log, clock });
    const silent = await RawClient.open(t, port);
    const dribbling = await RawClient.open(t, port);
    const connect = connectPacket({ clientId: 'slow' });
    await until(() => broker.status().pendingConnections === 2);
    for (let at = 0; at < connect.length - 1; at++) {
      dribbling.send(connect.subarray(at, at + 1));
      clock.advance(9_000 / connect.length);
      await setImmediate();
    }
    assert.equal(silent.closed, false);
    clock.advance(2_000);
    await Promise.all([silent.close(), dribbling.close()]);
    await until(() => broker.status().pendingConnections === 0);
    assert.equal(silent.received.length + dribbling.received.length, 0);
  });

  it('is not kept from others by those who connect and say nothing', async (t) => {
    const limits = { pendingConnections: 5, connections: 3 };
    const running = await startBroker(t, { log, limits });
    const silent: RawClient[] = [];
    for (let n = 0; n < 20; n++) silent.push(await RawClient.open(t, running.port));
    await assertServes(t, running);
    await until(() => silent.filter(({ closed }) => closed).length >= 15);
  });
});

describe('rubbish', { timeout: 600_000 }, () => {
  it('of other protocols is turned away without an answer', async (t) => {
    const running = await startBroker(t, { log });
    for (const bytes of [
      Buffer.from('GET / HTTP/1.1\r\nHost: box\r\n\r\n'),
      Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]),
      Buffer.from([0]),
      Buffer.from([0x10, 0xff, 0xff, 0xff, 0xff]),
      Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f]),
      Buffer.from([0x10, 0]),
      Buffer.from([0x10, 4, 0, 4, 0x4d, 0x51]),
      packet(0x10, Buffer.concat([text('MQTT'), Buffer.from([4])])),
      packet(0x10, Buffer.concat([text('AMQP'), Buffer.from([4, 2, 0, 0, 0, 0])])),
      publishPacket({ topic: 'site/a', payload: 'before CONNECT' }),
    ]) {
      const client = await RawClient.open(t, running.port);
      client.socket.end(bytes);
      await client.close();
      assert.equal(client.received.length, 0, bytes.toString('hex'));
    }
    assert.ok(!taken.includes('before CONNECT'));
    await assertServes(t, running);
  });

  it('after the login ends that connection and no other', async (t) => {
    const running = await startBroker(t, { log, limits: { payloadBytes: 1000 } });
    const witness = await RawClient.login(t, running.port, 'witness');
    const wrong: Record<string, Buffer> = {
      'a second CONNECT': connectPacket({ clientId: 'again' }),
      'a CONNACK': packet(0x20, Buffer.from([0, 0])),
      'a packet of type 0': packet(0x00, Buffer.alloc(2)),
      'a packet of type 15': packet(0xf0, Buffer.alloc(0)),
      'QoS 3': packet(0x36, Buffer.concat([text('site/a'), Buffer.from([0, 1])])),
      'a topic longer than its packet': packet(0x30, Buffer.from([0xff, 0xff, 0x61])),
      'a truncated PUBLISH': packet(0x30, Buffer.from([0, 1])),
      'a PUBACK of one byte': packet(0x40, Buffer.from([0])),
      'a PUBREL with wrong flags': packet(0x60, Buffer.from([0, 1])),
      'a SUBSCRIBE of nothing': packet(0x82, Buffer.from([0, 1])),
      'a PINGREQ with a body': packet(0xc0, Buffer.from([1, 2])),
      'an endless length': Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x01]),
      'a length of 200 MB': Buffer.from([0x30, 0x80, 0x80, 0x80, 0x64]),
      'no topic': publishPacket({ topic: '', payload: 'x' }),
      'a wildcard topic': publishPacket({ topic: 'site/+', payload: 'x' }),
      'a null in the topic': publishPacket({ topic: 'site/\0', payload: 'x' }),
      'a long topic': publishPacket({ topic: 'x'.repeat(1025), payload: 'x' }),
      'a deep topic': publishPacket({ topic: '/'.repeat(1000), payload: 'x' }),
      "the broker's own topic": publishPacket({ topic: '$SYS/x', payload: 'x', qos: 1 }),
      'a large payload': publishPacket({ topic: 'site/a', payload: 'x'.repeat(1001), qos: 1 }),
    };
    for (const [what, bytes] of Object.entries(wrong)) {
      const client = await RawClient.login(t, running.port, 'wrong');
      client.send(bytes);
      await client.close();
      assert.equal(client.received.length, 4, `${what}: nothing but the CONNACK`);
    }
    assert.equal(running.broker.status().failedConnections, Object.keys(wrong).length);
    witness.send(ping);
    assert.equal((await witness.packet()).type, 13);
    await assertServes(t, running);
  });

  it('made from a valid session, cut and changed at every byte, ends no more than itself', async (t) => {
    const running = await startBroker(t, { log, limits: { connections: 50 } });
    const session = Buffer.concat([
      connectPacket({ clientId: 'm', will: { topic: 'site/w', payload: 'w' } }),
      subscribePacket(['site/#', '+/b'], 1),
      publishPacket({ topic: 'site/a', payload: '0' }),
      publishPacket({ topic: 'site/a', payload: '1', qos: 1, messageId: 1 }),
      publishPacket({ topic: 'site/a', payload: '2', qos: 2, messageId: 2 }),
      releasePacket(2),
      packet(0x40, Buffer.from([0, 1])),
      packet(0x50, Buffer.from([0, 1])),
      packet(0x70, Buffer.from([0, 1])),
      packet(0xa2, Buffer.concat([Buffer.from([0, 2]), text('site/#')])),
      ping,
    ]);
    const random = generator(20_260_101);
    const candidates: Buffer[] = [];
    for (let at = 0; at < session.length; at++) {
      candidates.push(session.subarray(0, at));
      for (const value of [0, 0xff, Math.floor(random() * 256)]) {
        const changed = Buffer.from(session);
        changed[at] = value;
        candidates.push(changed);
      }
    }
    await each(candidates, 20, async (bytes) => {
      const client = await RawClient.open(t, running.port);
      client.socket.end(bytes);
      await client.close();
    });
    await until(() => running.broker.status().connections === 0);
    assert.equal(running.broker.status().inflightBytes, 0);
    await assertServes(t, running);
  });

  it('drawn at random, before and after a login, ends no more than itself', async (t) => {
    const running = await startBroker(t, { log, limits: { connections: 50 } });
    const random = generator(7);
    const draws = Array.from({ length: 300 }, (_, n) => {
      const noise = Buffer.from(
        Array.from({ length: 1 + Math.floor(random() * 400) }, () => Math.floor(random() * 256)),
      );
      return n % 2 === 0 ? noise : Buffer.concat([connectPacket({ clientId: `r${n}` }), noise]);
    });
    await each(draws, 20, async (bytes) => {
      const client = await RawClient.open(t, running.port);
      client.socket.end(bytes);
      await client.close();
    });
    await assertServes(t, running);
  });
});

describe('a client that asks for too much', { timeout: 600_000 }, () => {
  it('gets its subscriptions only up to the limit, however many one packet has', async (t) => {
    const running = await startBroker(t, { log });
    const client = await RawClient.login(t, running.port, 'many');
    client.send(subscribePacket(Array.from({ length: 5000 }, (_, n) => `t/${n}`)));
    const granted = (await client.packet()).body.subarray(2);
    assert.equal(granted.filter((code) => code === 0).length, 100);
    assert.equal(granted.filter((code) => code === 0x80).length, 4900);
    await assertServes(t, running);
  });

  it('leaves no more than so many QoS 2 handshakes open', async (t) => {
    const running = await startBroker(t, { log, limits: { openHandshakesPerClient: 10 } });
    const client = await RawClient.login(t, running.port, 'open');
    for (let messageId = 1; messageId <= 30; messageId++) {
      client.send(publishPacket({ topic: 'site/a', payload: 'x', qos: 2, messageId }));
    }
    await client.close();
    await assertServes(t, running);
  });

  it('and reads nothing is dropped, and holds up no publisher', async (t) => {
    const limits = { outputBytes: 64 * 1024, payloadBytes: 10_000 };
    const running = await startBroker(t, { log, limits });
    const reader = await RawClient.login(t, running.port, 'reader');
    reader.send(subscribePacket(['site/#'], 1));
    assert.equal((await reader.packet()).type, 9);
    reader.socket.pause();
    const publisher = await RawClient.login(t, running.port, 'publisher');
    const message = { topic: 'site/a', payload: 'x'.repeat(10_000), qos: 1 } as const;
    for (let messageId = 1; messageId <= 2000; messageId++) {
      publisher.send(publishPacket({ ...message, messageId }));
      assert.equal((await publisher.packet()).type, 4);
      if (running.broker.status().failedConnections === 1) break;
    }
    assert.equal(running.broker.status().failedConnections, 1);
    reader.socket.resume();
    await reader.close();
  });

  it('and reads too slowly misses messages of QoS 0, and stays connected', async (t) => {
    const limits = { outputBytes: 1024 * 1024, payloadBytes: 10_000 };
    const running = await startBroker(t, { log, limits });
    const reader = await RawClient.login(t, running.port, 'reader');
    reader.send(subscribePacket(['site/#']));
    assert.equal((await reader.packet()).type, 9);
    reader.socket.pause();
    const publisher = await RawClient.login(t, running.port, 'publisher');
    const missed = (): number =>
      running.metrics.values.get('headgate_mqtt_undelivered_total{reason="slow-subscriber"}') ?? 0;
    while (missed() < 100) {
      publisher.send(publishPacket({ topic: 'site/a', payload: 'x'.repeat(10_000) }));
      await setImmediate();
    }
    assert.equal(running.broker.status().connections, 2);
    assert.equal(running.broker.status().failedConnections, 0);
  });

  it('and says nothing for one and a half times its keep-alive is dropped, with its will', async (t) => {
    const running = await startBroker(t, { log });
    const client = await RawClient.open(t, running.port);
    const will = { topic: 'site/w', payload: 'silent' };
    client.send(connectPacket({ clientId: 'silent', keepaliveSeconds: 1, will }));
    await client.close();
    await until(() => taken.includes('silent'));
  });

  it('with the identifier of another takes its place', async (t) => {
    const running = await startBroker(t, { log });
    const before = await RawClient.login(t, running.port, 'same');
    const after = await RawClient.login(t, running.port, 'same');
    await before.close();
    after.send(ping);
    assert.equal((await after.packet()).type, 13);
    assert.equal(running.broker.status().connections, 1);
  });
});

/** Works through the items, some of them at a time. */
async function each<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  const worker = async (): Promise<void> => {
    for (const item of queue) await work(item);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}
