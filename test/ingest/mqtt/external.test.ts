import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { connectAsync, type MqttClient } from 'mqtt';
import {
  ExternalBroker,
  widest,
  type ExternalBrokerOptions,
} from '../../../ingest/mqtt/external.ts';
import { SourceError } from '../../../ingest/source.ts';
import { systemClock } from '../../../storage/clock.ts';
import { StorageError } from '../../../storage/errors.ts';
import type { Log } from '../../../storage/model.ts';
import type { Store } from '../../../storage/store.ts';
import { Authority } from '../../support/certificates.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';
import { Mosquitto } from '../../support/mosquitto.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { needs } from '../../support/tools.ts';
import { readAll, startStore, until } from './support.ts';

const route = {
  topic: 'site/#',
  stream: 'telemetry',
  partitionKey: '{topic[1]}',
  decoder: 'binary',
  envelope: false,
} as const;

type Options = Partial<ExternalBrokerOptions>;

function externalBroker(store: Store, url: string, options: Options = {}): ExternalBroker {
  return new ExternalBroker({
    url,
    version: '3.1.1',
    clientId: 'gateway',
    username: null,
    password: null,
    ca: null,
    certificate: null,
    sharedGroup: null,
    qos: 1,
    keepAliveSeconds: 60,
    routes: [route],
    log: store.log,
    received: store.received,
    clock: systemClock,
    logger: new MemoryLogger(),
    metrics: new MemoryMetrics(),
    ...options,
  });
}

interface Run {
  /** Settles as the run does. */
  readonly over: Promise<void>;
  stop(): Promise<void>;
}

/** Resolves when it is subscribed; rejects when it fails before. */
async function start(t: TestContext, source: ExternalBroker): Promise<Run> {
  const controller = new AbortController();
  let over: Promise<void> = Promise.resolve();
  await new Promise<void>((resolve, reject) => {
    over = source.run({ signal: controller.signal, ready: resolve });
    over.then(() => reject(new Error('it ended')), reject);
  });
  const stop = async (): Promise<void> => {
    controller.abort();
    await over.catch(() => undefined);
    source.close();
  };
  t.after(stop);
  return { over, stop };
}

async function publisher(t: TestContext, url: string): Promise<MqttClient> {
  const client = await connectAsync(url, { reconnectPeriod: 0 });
  t.after(() => void client.end(true));
  client.on('error', () => undefined);
  return client;
}

async function publishAll(
  client: MqttClient,
  numbers: readonly number[],
  qos: 1 | 2,
  topic = 'site/a',
): Promise<void> {
  // More handshakes of QoS 2 than 20 at once mosquitto does not take.
  const atOnce = qos === 2 ? 15 : numbers.length;
  for (let at = 0; at < numbers.length; at += atOnce) {
    const some = numbers.slice(at, at + atOnce);
    await Promise.all(some.map((n) => client.publishAsync(topic, String(n), { qos })));
  }
}

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, index) => from + index);

async function stored(store: Store): Promise<number[]> {
  return (await readAll(store.log, 'telemetry')).map(({ data }) => Number(data));
}

/** Of QoS 1 a message may come again after a connection broke; but none before an earlier one. */
function firsts(numbers: readonly number[]): number[] {
  return [...new Set(numbers)];
}

async function untilStored(store: Store, count: number): Promise<number[]> {
  for (;;) {
    const numbers = await stored(store);
    if (new Set(numbers).size >= count) return numbers;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Puts the SourceError that a run ends with before it is ready. */
async function refusal(source: ExternalBroker): Promise<SourceError> {
  const ready = (): void => assert.fail('it was let in');
  const error: unknown = await source
    .run({ signal: new AbortController().signal, ready })
    .catch((reason: unknown) => reason);
  assert.ok(error instanceof SourceError, String(error));
  return error;
}

for (const version of ['3.1.1', '5'] as const) {
  describe(`an external broker, MQTT ${version}`, { timeout: 600_000 }, () => {
    it('gives its messages in their order, each acknowledged after its commit', async (t) => {
      if (!needs(t, 'mosquitto')) return;
      const mosquitto = await Mosquitto.start(t);
      const store = await startStore(t);
      const source = externalBroker(store, mosquitto.url, { version });
      await start(t, source);
      const client = await publisher(t, mosquitto.url);
      const numbers = range(0, 3000);
      await publishAll(client, numbers, 1);
      assert.deepEqual(await untilStored(store, numbers.length), numbers);
      const { received, connected, routes } = source.status();
      assert.deepEqual([received, connected, routes[0]?.messages], [3000, true, 3000]);
    });

    it('keeps messages for a gateway that is away, and repeats what was not stored', async (t) => {
      if (!needs(t, 'mosquitto')) return;
      const mosquitto = await Mosquitto.start(t);
      const store = await startStore(t);
      let refuse = true;
      const append: Log['append'] = (stream, records) =>
        refuse
          ? Promise.reject(new StorageError('disk-full', 'says the test'))
          : store.log.append(stream, records);
      const limits = { refusalMs: 0 };
      const refused = externalBroker(store, mosquitto.url, { version, log: { append }, limits });
      const { over } = await start(t, refused);
      const client = await publisher(t, mosquitto.url);
      await publishAll(client, range(0, 100), 1);
      await assert.rejects(over, (error) => (error as SourceError).code === 'storage');
      await publishAll(client, range(100, 200), 1);
      refuse = false;
      const first = await start(t, externalBroker(store, mosquitto.url, { version }));
      assert.deepEqual(firsts(await untilStored(store, 200)), range(0, 200));
      await first.stop();
      await publishAll(client, range(200, 300), 1);
      await client.endAsync();
      // The broker goes and comes back too, with the session on its disk.
      await mosquitto.stop();
      await mosquitto.start();
      await start(t, externalBroker(store, mosquitto.url, { version }));
      assert.deepEqual(firsts(await untilStored(store, 300)), range(0, 300));
    });

    it('that dies in the middle costs nothing, and with QoS 2 nothing is stored twice', async (t) => {
      if (!needs(t, 'mosquitto')) return;
      const mosquitto = await Mosquitto.start(t);
      const store = await startStore(t);
      const options = { version, qos: 2 } as const;
      let source = externalBroker(store, mosquitto.url, options);
      let run = await start(t, source);
      const client = await publisher(t, mosquitto.url);
      let sent = 0;
      for (let round = 0; round < 8; round++) {
        // Taken by the broker as a whole, then broken off from one side while it is handed on.
        const done = publishAll(client, range(sent, sent + 200), 2);
        sent += 200;
        await until(() => source.status().received > round * 20);
        await run.stop();
        await done;
        source = externalBroker(store, mosquitto.url, options);
        run = await start(t, source);
      }
      const numbers = await untilStored(store, sent);
      assert.deepEqual(numbers, range(0, sent));
    });

    it('shares a subscription among gateways, each message to one of them', async (t) => {
      if (!needs(t, 'mosquitto')) return;
      const mosquitto = await Mosquitto.start(t);
      const stores = [await startStore(t), await startStore(t)];
      const sources: ExternalBroker[] = [];
      for (const [index, store] of stores.entries()) {
        const options = { version, sharedGroup: 'gateways', clientId: `gateway-${index}` };
        const source = externalBroker(store, mosquitto.url, options);
        sources.push(source);
        await start(t, source);
      }
      const client = await publisher(t, mosquitto.url);
      await publishAll(client, range(0, 400), 1);
      const taken = (): number =>
        sources.reduce((sum, source) => sum + (source.status().routes[0]?.messages ?? 0), 0);
      await until(() => taken() >= 400);
      const parts = await Promise.all(stores.map(stored));
      assert.deepEqual(
        parts.flat().sort((a, b) => a - b),
        range(0, 400),
      );
      for (const part of parts) assert.ok(part.length > 100, `only ${part.length} messages`);
    });
  });
}

describe('a connection to an external broker', { timeout: 600_000 }, () => {
  it('says what is wrong with the login, the version and the address', async (t) => {
    if (!needs(t, 'mosquitto', 'mosquitto_passwd')) return;
    const store = await startStore(t);
    const mosquitto = await Mosquitto.start(t, ['allow_anonymous false']);
    for (const version of ['3.1.1', '5'] as const) {
      const error = await refusal(externalBroker(store, mosquitto.url, { version }));
      assert.equal(error.code, 'unauthorized');
      assert.match(error.message, /refuses the login/);
    }
    await mosquitto.stop();
    const nobody = await refusal(externalBroker(store, mosquitto.url));
    assert.equal(nobody.code, 'unreachable');
    assert.match(nobody.message, /ECONNREFUSED/);
  });

  it('says when the broker is none, or does not speak the version', async (t) => {
    const store = await startStore(t);
    const answers: [Buffer, string, RegExp][] = [
      [Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), 'ended', /closed the connection/],
      [Buffer.from([0x15, 3, 3, 0, 2, 2, 80]), 'malformed', /a packet of type 1/],
      [Buffer.from([0x20, 2, 0, 1]), 'unsupported', /mqtt\.external\.version/],
      [Buffer.from([0x20, 2, 0, 2]), 'unauthorized', /refuses the client gateway/],
    ];
    for (const [answer, code, message] of answers) {
      const server = createServer((socket) => {
        socket.on('error', () => undefined);
        socket.end(answer);
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      t.after(() => server.close());
      const { port } = server.address() as { port: number };
      const error = await refusal(externalBroker(store, `mqtt://127.0.0.1:${port}`));
      assert.equal(error.code, code, error.message);
      assert.match(error.message, message);
    }
  });

  it('is checked against its authority, and shows a certificate of its own', async (t) => {
    if (!needs(t, 'mosquitto', 'openssl')) return;
    const folder = await temporaryFolder(t);
    const authority = new Authority(folder, 'Broker Authority');
    const own = authority.issue('broker');
    const [certFile, keyFile] = [join(folder, 'broker.pem'), join(folder, 'broker.key')];
    await writeFile(certFile, own.cert);
    await writeFile(keyFile, own.key);
    const mosquitto = await Mosquitto.start(t, [
      ...[`cafile ${join(folder, 'ca.pem')}`, `certfile ${certFile}`, `keyfile ${keyFile}`],
      ...['require_certificate true', 'use_identity_as_username true'],
    ]);
    const store = await startStore(t);
    const url = mosquitto.url.replace('mqtt:', 'mqtts:');
    const stranger = await refusal(externalBroker(store, url));
    assert.equal(stranger.code, 'unreachable');
    assert.match(stranger.message, /certificate/);
    const certificate = authority.issue('gateway');
    await start(t, externalBroker(store, url, { ca: authority.cert, certificate }));
  });

  it('takes retained messages by the rule of their route', async (t) => {
    if (!needs(t, 'mosquitto')) return;
    const store = await startStore(t);
    const mosquitto = await Mosquitto.start(t);
    const client = await publisher(t, mosquitto.url);
    await client.publishAsync('site/a', '1', { qos: 1, retain: true });
    const routes = [{ ...route, retained: false }];
    await start(t, externalBroker(store, mosquitto.url, { routes }));
    await publishAll(client, [2], 1);
    assert.deepEqual(await untilStored(store, 1), [2]);
  });
});

describe('subscriptions', () => {
  it('are the widest of the routes, once each', () => {
    assert.deepEqual(widest(['a/b', 'a/+', 'a/+', 'c/#', 'c', '+/x']), ['a/+', 'c/#', '+/x']);
  });
});
