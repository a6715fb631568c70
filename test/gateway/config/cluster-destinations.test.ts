/** Redshift, NATS and Kafka as destinations: what is asked of their keys, and what they become. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { printConfig } from '../../../gateway/config/print.ts';
import { redact } from '../../../gateway/config/redact.ts';
import { diagnoseDestination } from '../../../gateway/doctor/destinations.ts';
import { prefixOf, sinkFor } from '../../../gateway/forward/destinations.ts';
import { systemClock } from '../../../storage/clock.ts';
import { configOf, problemsOf } from './support.ts';

const text = `
streams: { s: {} }
deliveries:
  warehouse:
    from: { stream: s }
    to:
      redshift:
        host: 127.0.0.1
        port: 1
        database: d
        username: u
        password: hunter2
        table: t
        staging: { bucket: b, prefix: plant/, accessKeyId: k, secretAccessKey: hunter2 }
  messages:
    from: { stream: s }
    to: { nats: { servers: ['nats://127.0.0.1:1'], subject: 'plant.{partitionKey}', token: hunter2 } }
  topic:
    from: { stream: s }
    to: { kafka: { brokers: ['127.0.0.1:1'], topic: t, sasl: plain, username: u, password: hunter2 } }
`;

test('they become sinks, keep their secrets, and are looked for by the doctor', async () => {
  const config = configOf(text);
  const printed = printConfig(config, () => '');
  assert.ok(!`${JSON.stringify(redact(config))}${printed}`.includes('hunter2'));
  assert.deepEqual(configOf(printed.replaceAll("'***'", 'hunter2')), config);
  const kinds: string[] = [];
  for (const [name, { to }] of Object.entries(config.deliveries)) {
    const sink = sinkFor(to, systemClock, name);
    kinds.push(`${sink.kind} ${sink.description}`);
    await sink.close();
    const { status, message, advice } = await diagnoseDestination(name, to, systemClock);
    assert.equal(status, 'warn', message);
    assert.match(advice ?? '', /Nothing listens there/);
    assert.ok(!message.includes('hunter2'));
  }
  assert.deepEqual(kinds, [
    'redshift redshift:127.0.0.1/d/public.t',
    'nats nats:plant.{partitionKey}',
    'kafka kafka:t',
  ]);
  const warehouse = config.deliveries['warehouse'];
  assert.ok(warehouse);
  assert.equal(prefixOf(warehouse.to), 'plant/');
});

test('what does not go together is named', () => {
  const problems = problemsOf(`
streams: { s: {} }
deliveries:
  a: { from: { stream: s }, to: { redshift: { host: h, database: d, username: u, password: hunter2, table: t, staging: { bucket: b } } } }
  b: { from: { stream: s }, to: { redshift: { host: h, database: d, username: u, password: p, table: t, copyOptions: 'GZIP; DROP', iamRole: me, tls: false, caFile: x, staging: { bucket: b, accessKeyId: k } } } }
  c: { from: { stream: s }, to: { nats: { servers: ['nats://u:hunter2@h'], subject: 'a.*', username: u, token: hunter2 } } }
  d: { from: { stream: s }, to: { nats: { servers: [], subject: a, password: hunter2, certFile: c } } }
  e: { from: { stream: s }, to: { kafka: { brokers: [h], topic: 'a b', username: u, password: hunter2, caFile: x } } }
  f: { from: { stream: s }, to: { kafka: { brokers: ['h:1'], topic: t, sasl: plain, maxRequestBytes: 1 GB } } }
`);
  assert.ok(!problems.join('\n').includes('hunter2'), problems.join('\n'));
  for (const pattern of [
    /a\.to\.redshift\.iamRole: .*missing, and staging has no keys/,
    /b\.to\.redshift\.copyOptions: .*options of COPY/,
    /b\.to\.redshift\.iamRole: .*an ARN, or default/,
    /b\.to\.redshift\.caFile: .*is of TLS, and tls is false/,
    /b\.to\.redshift\.staging\.accessKeyId: .*needs secretAccessKey beside it/,
    /c\.to\.nats\.servers: .*has a user in it/,
    /c\.to\.nats\.subject: .*without wildcards/,
    /c\.to\.nats\.token: .*is a second way in/,
    /c\.to\.nats\.username: .*needs password beside it/,
    /d\.to\.nats\.servers: .*a list of URLs/,
    /d\.to\.nats\.password: .*needs username beside it/,
    /d\.to\.nats\.certFile: .*needs keyFile beside it/,
    /e\.to\.kafka\.brokers\[0\]: .*a host and a port/,
    /e\.to\.kafka\.topic: .*1 to 249/,
    /e\.to\.kafka\.username: .*needs sasl/,
    /e\.to\.kafka\.caFile: .*is of TLS, and tls is false/,
    /f\.to\.kafka\.sasl: .*needs username and password/,
    /f\.to\.kafka\.maxRequestBytes: .*64 MiB/,
  ]) {
    assert.ok(
      problems.some((problem) => pattern.test(problem)),
      `${String(pattern)}\n${problems.join('\n')}`,
    );
  }
});

test('what COPY would not read, or would lose, is named', () => {
  const delivery = (name: string, format: string, more = ''): string =>
    `  ${name}: { from: { stream: s }, format: ${format}, to: { redshift: { host: h, database: d, username: u, password: p, table: t, iamRole: default, ${more} staging: { bucket: b } } } }`;
  const problems = problemsOf(`
streams: { s: {} }
deliveries:
${[
  delivery('a', '{ type: parquet }'),
  delivery('b', '{ compression: snappy }'),
  delivery('c', '{}', 'copyOptions: FORMAT AS CSV,'),
  delivery('d', '{ type: csv, columns: [{ name: x }] }', 'columns: [x, y],'),
  delivery('e', '{ type: raw }', 'copyOptions: MAXERROR 5,'),
  delivery('f', '{ type: raw, compression: none }', "copyOptions: JSON 'auto',"),
  delivery('g', '{ type: parquet, columns: [{ name: x }] }', 'copyOptions: STATUPDATE OFF,'),
].join('\n')}
`);
  for (const pattern of [
    /a\.format\.columns: .*COPY fills the columns of a table by their place/,
    /b\.format\.compression: .*is one that COPY does not read.*none, gzip or zstd/s,
    /c\.to\.redshift\.copyOptions: .*has CSV, and the delivery's format\.type is ndjson/,
    /d\.to\.redshift\.columns: .*are 2, and the objects have 1/,
    /e\.to\.redshift\.copyOptions: .*has MAXERROR, which leaves rows out/,
  ]) {
    assert.ok(
      problems.some((problem) => pattern.test(problem)),
      `${String(pattern)}\n${problems.join('\n')}`,
    );
  }
  assert.equal(problems.length, 5, problems.join('\n'));
});
