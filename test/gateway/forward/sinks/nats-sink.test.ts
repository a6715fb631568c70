/** JetStream, against Debian's nats-server. */
import assert from 'node:assert/strict';
import { randomBytes, randomInt, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { jetstreamManager } from '@nats-io/jetstream';
import { nkeys } from '@nats-io/transport-node';
import { SinkError, type Batch, type BatchItem } from '../../../../gateway/forward/sink.ts';
import {
  natsSink,
  type NatsSink,
  type NatsSinkOptions,
} from '../../../../gateway/forward/sinks/nats/nats-sink.ts';
import { isSubjectTemplate, subjectOf } from '../../../../gateway/forward/sinks/nats/subject.ts';
import { Authority } from '../../../support/certificates.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { needs } from '../../../support/tools.ts';
import { batchOf, itemsOf } from '../support/batches.ts';
import { batchSinkContract } from './batch-sink-contract.ts';
import { NatsServer } from '../support/nats-server.ts';

const never = new AbortController().signal;

function sinkOf(context: TestContext, options: Partial<NatsSinkOptions>): NatsSink {
  const sink = natsSink({
    ...{ servers: [], subject: 'readings', stream: null },
    ...{ username: null, password: null, token: null, nkeySeed: null, credentialsFile: null },
    ...{ caFile: null, certFile: null, keyFile: null },
    ...{ connectTimeoutMs: 2_000, ackTimeoutMs: 2_000 },
    ...options,
  });
  context.after(() => sink.close());
  return sink;
}

async function serve(context: TestContext, settings?: readonly string[]): Promise<NatsServer> {
  return NatsServer.start(context, settings);
}

async function failure(sink: NatsSink, batch: Batch = batchOf(itemsOf(1))): Promise<SinkError> {
  try {
    const [outcome] = await sink.deliver(batch, never);
    assert.ok(outcome instanceof SinkError, 'it was taken');
    return outcome;
  } catch (error) {
    assert.ok(error instanceof SinkError, String(error));
    return error;
  }
}

/** Again and again, what was not taken, as a worker does. */
async function deliverAll(sink: NatsSink, items: readonly BatchItem[]): Promise<void> {
  for (let left = items; left.length > 0;) {
    try {
      const outcomes = await sink.deliver(batchOf(left), never);
      left = left.filter((_, index) => outcomes[index] !== null);
    } catch (error) {
      assert.ok(error instanceof SinkError, String(error));
    }
  }
}

test('records arrive in order, under their subjects and ids, and once when they come twice', async (t) => {
  if (!needs(t, 'nats-server')) return;
  const server = await serve(t);
  await server.addStream({ name: 'PLANT', subjects: ['plant.>'] });
  const options = { servers: [server.url], subject: 'plant.{partitionKey}.out', stream: 'PLANT' };
  const sink = sinkOf(t, options);
  const items = itemsOf(500);
  assert.deepEqual(
    await sink.deliver(batchOf(items), never),
    items.map(() => null),
  );
  // After a restart of ours: another connection, the same ids, and some that are new.
  await sink.close();
  const again = sinkOf(t, options);
  const more = itemsOf(20);
  await deliverAll(again, [...items.slice(100), ...more]);
  const messages = await server.messages('PLANT');
  assert.deepEqual(
    messages.map(({ id, data }) => [id, data.toString()]),
    [...items, ...more].map(({ id, data }) => [id, data.toString()]),
  );
  assert.equal(messages[0]?.subject, `plant.${items[0]?.partitionKey ?? ''}.out`);
  assert.match(await again.check(never), /^stream PLANT takes plant\.key\.out.* 120 s$/);
});

test('a server that is killed at any moment loses nothing and keeps nothing twice', async (t) => {
  if (!needs(t, 'nats-server')) return;
  const server = await serve(t);
  await server.addStream({ name: 'READINGS', subjects: ['readings'] });
  const sink = sinkOf(t, { servers: [server.url] });
  const items = itemsOf(6_000);
  let sent = 0;
  const sending = (async () => {
    for (; sent < items.length; sent += 300) await deliverAll(sink, items.slice(sent, sent + 300));
  })();
  for (let kill = 0; kill < 8; kill += 1) {
    const before = sent;
    const batches = randomInt(1, 3) * 300;
    while (sent < Math.min(before + batches, items.length - 300)) await nextTurn();
    await server.stop('SIGKILL');
    await server.start();
  }
  await sending;
  const stored = (await server.messages('READINGS')).map(({ id }) => id);
  assert.equal(new Set(stored).size, items.length, 'lost');
  assert.equal(stored.length, items.length, 'duplicated');
});

test('a batch whose acknowledgements are lost is there once after it came again', async (t) => {
  if (!needs(t, 'nats-server')) return;
  const server = await serve(t);
  await server.addStream({ name: 'READINGS', subjects: ['readings'] });
  const sink = sinkOf(t, { servers: [server.url] });
  const items = itemsOf(400);
  const calledOff = new AbortController();
  const first = sink.deliver(batchOf(items), calledOff.signal);
  // Published is what was handed to the connection; nobody waits for the answers.
  setImmediate(() => {
    calledOff.abort();
  });
  await first.catch((error: unknown) => {
    assert.equal((error as SinkError).code, 'aborted');
  });
  await deliverAll(sink, items);
  const stored = (await server.messages('READINGS')).map(({ id }) => id);
  assert.deepEqual(
    stored,
    items.map(({ id }) => id),
  );
});

test('without a stream nothing is taken, and it is said what to make', async (t) => {
  if (!needs(t, 'nats-server')) return;
  const server = await serve(t);
  const sink = sinkOf(t, { servers: [server.url] });
  const missing = await failure(sink);
  assert.equal(missing.code, 'missing', missing.message);
  assert.match(missing.advice ?? '', /Make a stream for that subject/);
  await assert.rejects(sink.check(never), { code: 'missing' });
  await server.addStream({ name: 'OTHER', subjects: ['readings'] });
  const other = await failure(sinkOf(t, { servers: [server.url], stream: 'READINGS' }));
  assert.equal(other.code, 'missing', other.message);
  assert.match(other.advice ?? '', /to\.nats\.stream/);
  assert.deepEqual(await sink.deliver(batchOf(itemsOf(1)), never), [null]);
});

test('a full stream takes what fits, and the rest once there is room; one that discards takes all', async (t) => {
  if (!needs(t, 'nats-server')) return;
  const server = await serve(t);
  await server.addStream({ name: 'FULL', subjects: ['full'], max_msgs: 5, discard: 'new' });
  await server.addStream({ name: 'LAST', subjects: ['last'], max_msgs: 5, discard: 'old' });
  const full = sinkOf(t, { servers: [server.url], subject: 'full' });
  const outcomes = await full.deliver(batchOf(itemsOf(8)), never);
  assert.deepEqual(
    outcomes.map((outcome) => outcome?.code ?? null),
    [...Array<null>(5).fill(null), 'full', 'full', 'full'],
  );
  assert.match(outcomes[5]?.advice ?? '', /Make room in the stream/);
  const last = sinkOf(t, { servers: [server.url], subject: 'last' });
  const items = itemsOf(8);
  assert.deepEqual(
    await last.deliver(batchOf(items), never),
    items.map(() => null),
  );
  const kept = (await server.messages('LAST')).map(({ id }) => id);
  assert.deepEqual(
    kept,
    items.slice(3).map(({ id }) => id),
  );
});

test('a record that the server or the stream finds too large fails alone', async (t) => {
  if (!needs(t, 'nats-server')) return;
  const server = await serve(t, ['max_payload: 4096']);
  await server.addStream({ name: 'READINGS', subjects: ['readings'], max_msg_size: 2048 });
  const sink = sinkOf(t, { servers: [server.url] });
  const sizes = [10, 5000, 4096, 3000, 1900, 0];
  const items = sizes.map((size) => ({
    ...{ id: randomUUID(), partitionKey: 'k', arrivalMs: 0, data: randomBytes(size) },
  }));
  const outcomes = await sink.deliver(batchOf(items), never);
  assert.deepEqual(
    outcomes.map((outcome) => outcome?.code ?? null),
    [null, 'too-large', 'too-large', 'too-large', null, null],
  );
  assert.equal((await server.messages('READINGS')).length, 3);
});

test('who may not come in, or not publish there, is told so; right ones come in', async (t) => {
  if (!needs(t, 'nats-server')) return;
  const pair = nkeys.createUser();
  const permissions = '{ publish: ["$JS.>", "readings"], subscribe: [">"] }';
  const server = await serve(t, [
    'authorization: { users: [',
    `  { user: edge, password: "sëcret", permissions: ${permissions} }`,
    `  { nkey: "${pair.getPublicKey()}" }`,
    '] }',
  ]);
  const servers = [server.url];
  const user = { servers, username: 'edge', password: 'sëcret' };
  const administrator = { user: 'edge', pass: 'sëcret' };
  const connection = await server.connect(administrator);
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: 'ALL', subjects: ['readings', 'elsewhere'] });
  const taken = [null];
  const nkeySeed = new TextDecoder().decode(pair.getSeed());
  assert.deepEqual(await sinkOf(t, user).deliver(batchOf(itemsOf(1)), never), taken);
  const byKey = sinkOf(t, { servers, nkeySeed });
  assert.deepEqual(await byKey.deliver(batchOf(itemsOf(1)), never), taken);
  for (const wrong of [
    { servers },
    { ...user, password: 'other' },
    { servers, token: 'none' },
    { servers, nkeySeed: new TextDecoder().decode(nkeys.createUser().getSeed()) },
    { servers, credentialsFile: '/nonexistent/headgate.creds' },
  ]) {
    const error = await failure(sinkOf(t, wrong));
    assert.equal(error.code, 'credentials', `${JSON.stringify(wrong)}: ${error.message}`);
    assert.ok(!error.message.includes('other') && error.advice !== null);
  }
  const outcomes = await sinkOf(t, { ...user, subject: 'elsewhere' }).deliver(
    batchOf(itemsOf(3)),
    never,
  );
  assert.deepEqual(
    outcomes.map((outcome) => outcome?.code),
    ['denied', 'denied', 'denied'],
  );
});

test('over TLS the server is who its authority says, or nothing is sent', async (t) => {
  if (!needs(t, 'nats-server', 'openssl')) return;
  const folder = await temporaryFolder(t);
  const authority = new Authority(folder, 'plant');
  const { cert, key } = authority.issue('localhost');
  const file = (name: string): string => join(folder, name);
  await writeFile(file('authority.pem'), authority.cert);
  await writeFile(file('server.pem'), cert);
  await writeFile(file('server.key'), key);
  const server = await serve(t, [
    `tls: { cert_file: "${file('server.pem')}", key_file: "${file('server.key')}" }`,
  ]);
  const servers = [`tls://localhost:${server.port}`];
  const trusting = sinkOf(t, { servers, caFile: file('authority.pem') });
  const without = await failure(trusting);
  assert.equal(without.code, 'missing', without.message);
  const stranger = await failure(sinkOf(t, { servers }));
  assert.equal(stranger.code, 'untrusted', stranger.message);
  assert.match(stranger.advice ?? '', /to\.nats\.caFile/);
  const unreadable = await failure(sinkOf(t, { servers, caFile: file('none.pem') }));
  assert.equal(unreadable.code, 'untrusted', unreadable.message);
});

test('what answers but is no stream takes nothing', async (t) => {
  if (!needs(t, 'nats-server')) return;
  const server = await serve(t);
  const liar = await server.connect();
  const lies = ['OK', '{}', '{"stream":""}', 'null', '{"error":{"code":503,"description":"no"}}'];
  let next = 0;
  liar.subscribe('readings', {
    callback: (_error, message) => {
      message.respond(lies[next++ % lies.length]);
    },
  });
  await liar.flush();
  const sink = sinkOf(t, { servers: [server.url] });
  const outcomes = await sink.deliver(batchOf(itemsOf(lies.length)), never);
  for (const [index, outcome] of outcomes.entries()) {
    assert.equal(outcome?.code, 'unavailable', `${lies[index] ?? ''}: ${outcome?.message ?? ''}`);
  }
});

test('no server, one that says nothing and one that is none are told apart, and passed over', async (t) => {
  const open = new Set<Socket>();
  const listen = async (answer: string): Promise<string> => {
    const server = createServer((socket) => {
      open.add(socket);
      socket.on('error', () => undefined).on('close', () => open.delete(socket));
      socket.write(answer);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => server.close());
    return `nats://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };
  const nobody = 'nats://127.0.0.1:1';
  const silent = await listen('');
  const other = await listen('HTTP/1.1 400 Bad Request\r\n\r\n');
  const quick = { connectTimeoutMs: 300 };
  const none = await failure(sinkOf(t, { ...quick, servers: [nobody] }));
  assert.equal(none.code, 'unreachable', none.message);
  assert.match(none.advice ?? '', /Nothing listens there\. Check to\.nats\.servers/);
  const late = await failure(sinkOf(t, { ...quick, servers: [silent] }));
  assert.equal(late.code, 'timeout', late.message);
  const wrong = await failure(sinkOf(t, { ...quick, servers: [other] }));
  assert.match(wrong.message, /is no NATS server/);
  // No connection is left behind.
  await Promise.all([...open].map((socket) => once(socket, 'close')));
  if (!needs(t, 'nats-server')) return;
  const server = await serve(t);
  await server.addStream({ name: 'READINGS', subjects: ['readings'] });
  const sink = sinkOf(t, { ...quick, servers: [nobody, silent, other, server.url] });
  assert.deepEqual(await sink.deliver(batchOf(itemsOf(1)), never), [null]);
});

test('subjects are made of whatever a partition key is', () => {
  assert.equal(subjectOf('plant.{partitionKey}.readings', 'line 1'), 'plant.line_1.readings');
  assert.equal(subjectOf('{partitionKey}', 'a.b*c>d\n'), 'a_b_c_d_');
  assert.equal(subjectOf('x.{partitionKey}', ''), 'x._');
  assert.equal(subjectOf('x.{partitionKey}', "$&$'"), "x.$&$'");
  for (const good of ['a', 'a.b', '{partitionKey}', 'a.x{partitionKey}y.b']) {
    assert.ok(isSubjectTemplate(good), good);
  }
  for (const bad of [
    '',
    '.',
    'a.',
    '.a',
    'a..b',
    'a b',
    'a.*',
    'a.>',
    '{key}',
    'a{',
    'x'.repeat(513),
  ]) {
    assert.ok(!isSubjectTemplate(bad), bad);
  }
});

batchSinkContract('nats', async (context) => {
  if (!needs(context, 'nats-server')) return null;
  const server = await serve(context);
  await server.addStream({ name: 'READINGS', subjects: ['readings'] });
  return {
    ...{ sink: sinkOf(context, { servers: [server.url] }), isOrdered: true, deduplicates: true },
    taken: async () =>
      (await server.messages('READINGS')).map(({ id, data }) => ({
        id,
        value: JSON.parse(data.toString()) as unknown,
      })),
    down: () => server.stop('SIGKILL'),
    up: () => server.start(),
  };
});

async function nextTurn(): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve));
}
