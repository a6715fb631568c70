/** Redshift: a real PostgreSQL behind a proxy that loads from a real S3 server. */
import assert from 'node:assert/strict';
import { chown, chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { SinkError, type SinkErrorCode, type TableLoad } from '../../../../gateway/forward/sink.ts';
import {
  redshiftSink,
  type RedshiftSink,
  type RedshiftSinkOptions,
} from '../../../../gateway/forward/sinks/redshift/redshift-sink.ts';
import {
  copyStatement,
  identifier,
  isCopyOptions,
  literal,
} from '../../../../gateway/forward/sinks/redshift/sql.ts';
import { s3Sink } from '../../../../gateway/forward/sinks/s3/s3-sink.ts';
import { Authority } from '../../../support/certificates.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { needs } from '../../../support/tools.ts';
import { needsPostgres, startPostgres } from '../support/postgres.ts';
import type { Fault } from '../support/redshift.ts';
import { getObject, listKeys } from '../support/servers.ts';
import {
  loadOf,
  numbersIn,
  openRig,
  rowsFrom,
  secretAccessKey,
  stage,
} from '../support/redshift-rig.ts';

const never = new AbortController().signal;

async function failureOf(work: Promise<unknown>): Promise<SinkError> {
  const error = await work.then(
    () => null,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof SinkError, String(error));
  assert.ok(!`${error.message} ${error.advice ?? ''}`.includes(secretAccessKey), error.message);
  return error;
}

test('objects are loaded, once however often, and the ledger says so', async (t) => {
  if (!needsPostgres(t)) return;
  const rig = await openRig(t);
  const sink = rig.sink();
  assert.match(await sink.check(never), /is there; the ledger headgate_loads will be made/);
  const load = await stage(sink, [rowsFrom(0, 100), rowsFrom(100, 50)]);
  await sink.load(load, never);
  await sink.load(load, never);
  await rig.sink().load({ ...load, reading: { columns: null, options: '' } }, never);
  assert.deepEqual(
    await numbersIn(rig),
    Array.from({ length: 150 }, (_, number) => number),
  );
  const texts = await rig.administrator.query(
    'SELECT "the text" FROM "Read ""ings" WHERE number = 7',
  );
  assert.deepEqual(texts.rows, [{ 'the text': '\\7\t"ü"' }]);
  const ledger = await rig.administrator.query('SELECT * FROM headgate_loads');
  const [{ loaded_at: loadedAt, ...row }] = ledger.rows as [Record<string, unknown>];
  assert.ok(loadedAt instanceof Date);
  assert.deepEqual(row, {
    load_id: load.id,
    shard_id: load.place.shard,
    ...{ from_sequence: '0', to_sequence: '1' },
    table_name: 'public.Read "ings',
    manifest: `s3://bucket/plant/manifests/${load.id}.manifest`,
    objects: 2,
    records: '150',
  });
  assert.match(await sink.check(never), /^tables public\.Read "ings and headgate_loads are there$/);
  const manifest = await getObject(rig.s3, `plant/manifests/${load.id}.manifest`);
  assert.deepEqual(JSON.parse(manifest.toString()), {
    entries: load.objects.map(({ key }) => ({ url: `s3://bucket/${key}`, mandatory: true })),
  });
  // Without columns, all that the table has.
  const more = await stage(sink, [rowsFrom(150, 10)]);
  await sink.load({ ...more, reading: { columns: null, options: '' } }, never);
  assert.equal((await numbersIn(rig)).length, 160);
  assert.equal(rig.redshift.copies.length, 2);
  assert.match(rig.redshift.copies[1] ?? '', /^COPY "public"\."Read ""ings" FROM/);
});

test('connections that break at any moment lose no row and load none twice', async (t) => {
  if (!needsPostgres(t)) return;
  const rig = await openRig(t);
  const faults: readonly Fault[] = ['cut-before', 'cut-after', 'lose-answer', 'late'];
  const seen = new Map<string, number>();
  rig.redshift.fault = (statement) => {
    if (Math.random() < 0.85) return null;
    const fault = faults[Math.floor(Math.random() * faults.length)] ?? 'late';
    const what = `${fault} ${statement.split(' ', 1)[0] ?? ''}`;
    seen.set(what, (seen.get(what) ?? 0) + 1);
    return fault;
  };
  const perLoad = 20;
  const loads = 45;
  const lanes = 3;
  let failures = 0;
  const lane = async (number: number): Promise<void> => {
    // Where the answer to a greeting is lost, this is what it takes to notice.
    const sink = rig.sink({ connectTimeoutMs: 1_000 });
    for (let index = number; index < loads; index += lanes) {
      const load = await stage(sink, [rowsFrom(index * perLoad, perLoad)]);
      for (let done = false; !done;) {
        done = await sink.load(load, never).then(
          () => true,
          (error: unknown) => {
            assert.ok(error instanceof SinkError && error.retryable, String(error));
            failures += 1;
            return false;
          },
        );
      }
    }
  };
  await Promise.all(Array.from({ length: lanes }, (_, number) => lane(number)));
  t.diagnostic(`${failures} attempts failed: ${JSON.stringify(Object.fromEntries(seen))}`);
  assert.ok(failures > loads / 3, 'hardly any connection broke');
  const numbers = await numbersIn(rig);
  assert.equal(new Set(numbers).size, loads * perLoad, 'lost');
  assert.equal(numbers.length, loads * perLoad, 'duplicated');
});

for (const fault of ['lose-answer', 'late'] as const) {
  for (const statement of ['COPY', 'COMMIT']) {
    test(`a load whose ${statement} was ${fault === 'late' ? 'carried out late' : 'never answered'} is done once`, async (t) => {
      if (!needsPostgres(t)) return;
      const rig = await openRig(t);
      const sink = rig.sink();
      await sink.load(await stage(sink, [rowsFrom(100, 5)]), never);
      const load = await stage(sink, [rowsFrom(0, 10)]);
      let isOver = false;
      rig.redshift.fault = (text) => {
        if (isOver || !text.startsWith(statement)) return null;
        isOver = true;
        return fault;
      };
      const failure = await failureOf(sink.load(load, never));
      assert.equal(failure.code, 'unreachable', failure.message);
      // With `late`, what was begun goes on only while this one waits for the lock.
      await sink.load(load, never);
      assert.equal((await numbersIn(rig)).length, 15);
      const copies = rig.redshift.copies.filter((copy) => copy.includes(load.id)).length;
      assert.equal(copies, statement === 'COPY' ? 2 : 1);
    });
  }
}

test('what can not be loaded is refused with the reason and leaves nothing behind', async (t) => {
  if (!needsPostgres(t)) return;
  const rig = await openRig(t);
  const sink = rig.sink();
  const bad = await stage(sink, [
    rowsFrom(0, 5),
    [...rowsFrom(5, 2), '{"number": 7', ...rowsFrom(8, 2)],
  ]);
  const failure = await failureOf(sink.load(bad, never));
  assert.equal(failure.code, 'rejected');
  const place = `s3://bucket/${bad.objects[1]?.key ?? ''} line 3, Invalid JSON`;
  assert.ok(failure.message.endsWith(place), failure.message);
  const mistyped = await stage(sink, [[{ number: 'seven' }]]);
  const wrong = await failureOf(sink.load(mistyped, never));
  assert.equal(wrong.code, 'rejected');
  assert.match(wrong.message, /line 1, invalid input syntax for type integer/);
  assert.deepEqual(await numbersIn(rig), []);
  // Others go on, and what was refused is written down for those who want to load it by hand.
  await sink.load(await stage(sink, [rowsFrom(0, 1)]), never);
  await sink.skip(bad, never);
  await sink.skip(bad, never);
  const errors = (await listKeys(rig.s3)).filter((key) => key.startsWith('plant/errors/'));
  assert.deepEqual(errors, [`plant/errors/manifests/${bad.id}.manifest`]);
  const { rows } = await rig.administrator.query('SELECT load_id FROM headgate_loads');
  assert.equal(rows.length, 1);
});

test('what somebody has to mend is named, with what to do, and nothing is refused for it', async (t) => {
  if (!needsPostgres(t)) return;
  const rig = await openRig(t);
  const { administrator, postgres } = rig;
  await administrator.query("CREATE ROLE reader LOGIN PASSWORD 'reader'");
  const reader = { username: 'reader', password: 'reader' };
  const load = await stage(rig.sink(), [rowsFrom(0, 3)]);
  type Wrong = Partial<RedshiftSinkOptions> & { readonly reading?: TableLoad['reading'] };
  const wrong: readonly (readonly [Wrong, SinkErrorCode, RegExp])[] = [
    [{ password: 'wrong' }, 'credentials', /username and password/],
    [{ database: 'nowhere' }, 'missing', /database, schema, table/],
    [{ table: { schema: 'public', table: 'none' } }, 'missing', /schema, table and columns/],
    [{ reading: { columns: ['number', 'none'], options: '' } }, 'missing', /columns/],
    [{ reading: { columns: null, options: 'SOMEHOW' } }, 'missing', /copyOptions/],
    [{ reading: { columns: null, options: 'CSV' } }, 'missing', /copyOptions/],
    [reader, 'denied', /insert into the table/],
    [{ tls: true }, 'untrusted', /to\.redshift\.tls/],
    [{ host: '127.0.0.1', port: 1 }, 'unreachable', /host and port/],
    [{ caFile: '/nonexistent.pem', tls: true }, 'untrusted', /path/],
  ];
  for (const [{ reading = load.reading, ...options }, code, advice] of wrong) {
    const error = await failureOf(rig.sink(options).load({ ...load, reading }, never));
    assert.equal(error.code, code, `${String(advice)}: ${error.message}`);
    assert.match(error.advice ?? '', advice);
    assert.ok(!error.message.includes(postgres.login.password), error.message);
  }
  // An object that is gone is put there again by the next attempt.
  const gone = loadOf([{ key: 'plant/gone', sizeBytes: 1, records: 1 }]);
  const error = await failureOf(rig.sink().load(gone, never));
  assert.ok(error.retryable, `${error.code} ${error.message}`);
  assert.deepEqual(await numbersIn(rig), []);
  await rig.sink().load(load, never);
  assert.equal((await numbersIn(rig)).length, 3);
});

test('a load is called off at once, and one that takes too long is given up', async (t) => {
  if (!needsPostgres(t)) return;
  const rig = await openRig(t);
  const sink = rig.sink();
  await sink.load(await stage(sink, [rowsFrom(0, 1)]), never);
  const load = await stage(sink, [rowsFrom(1, 1)]);
  const holder = await rig.postgres.connect();
  await holder.query('BEGIN; LOCK headgate_loads');
  const calledOff = new AbortController();
  let asked = (): void => undefined;
  const locking = new Promise<void>((resolve) => {
    asked = resolve;
  });
  rig.redshift.fault = (statement) => {
    if (statement.startsWith('LOCK')) asked();
    return null;
  };
  const loading = failureOf(sink.load(load, calledOff.signal));
  await locking;
  calledOff.abort();
  assert.equal((await loading).code, 'aborted');
  const hasty = rig.sink({ loadTimeoutMs: 200 });
  assert.equal((await failureOf(hasty.load(load, never))).code, 'timeout');
  await holder.query('COMMIT');
  await sink.load(load, never);
  assert.deepEqual(await numbersIn(rig), [0, 1]);
});

test('over TLS the server is who its authority says, or no password is sent', async (t) => {
  if (!needsPostgres(t) || !needs(t, 'openssl')) return;
  const folder = await temporaryFolder(t);
  await chmod(folder, 0o755);
  const authority = new Authority(folder, 'cluster');
  const { cert, key } = authority.issue('localhost');
  const [certFile, keyFile, caFile] = ['s.pem', 's.key', 'authority.pem'].map((name) =>
    join(folder, name),
  ) as [string, string, string];
  await writeFile(certFile, cert);
  await writeFile(keyFile, key, { mode: 0o600 });
  await writeFile(caFile, authority.cert);
  if (process.getuid?.() === 0) await chown(keyFile, 65534, 65534);
  const postgres = await startPostgres(t, {
    ...{ ssl: 'on', ssl_cert_file: certFile, ssl_key_file: keyFile },
  });
  const administrator = await postgres.connect();
  await administrator.query('CREATE TABLE readings (number INTEGER)');
  const at = (own: string | null): RedshiftSink =>
    redshiftSink({
      ...{ host: 'localhost', port: postgres.port, database: postgres.login.database },
      ...{ username: postgres.login.user, password: postgres.login.password },
      ...{ tls: true, caFile: own, ledgerSeconds: 0 },
      table: { schema: 'public', table: 'readings' },
      ledger: { schema: 'public', table: 'headgate_loads' },
      authorization: { iamRole: 'default' },
      staging: { sink: s3Sink({ bucket: 'b' }), bucket: 'b', prefix: '', region: null },
    });
  assert.match(await at(caFile).check(never), /public\.readings is there/);
  const stranger = await failureOf(at(null).check(never));
  assert.equal(stranger.code, 'untrusted', stranger.message);
  assert.match(stranger.advice ?? '', /to\.redshift\.caFile/);
});

test('statements are what Redshift has them, and texts do not get out of their quotes', () => {
  const source = {
    into: { schema: 'a', table: 'b"; DROP TABLE c' },
    columns: ['x', 'y z'],
    manifestUrl: "s3://b/it's.manifest",
    region: 'eu-central-1',
    isColumnar: false,
    options: "JSON 'auto' GZIP",
  };
  const iamRole = 'arn:aws:iam::123456789012:role/Load';
  assert.equal(
    copyStatement({ ...source, authorization: { iamRole } }),
    `COPY "a"."b""; DROP TABLE c" ("x", "y z") FROM 's3://b/it''s.manifest' IAM_ROLE '${iamRole}' REGION 'eu-central-1' MANIFEST JSON 'auto' GZIP`,
  );
  const keys = { accessKeyId: 'AKIA', secretAccessKey: "a'b/+" };
  assert.match(
    copyStatement({ ...source, authorization: keys }),
    / CREDENTIALS 'aws_access_key_id=AKIA;aws_secret_access_key=a''b\/\+' REGION /,
  );
  const parquet = { ...source, columns: null, isColumnar: true, options: 'FORMAT AS PARQUET' };
  assert.equal(
    copyStatement({ ...parquet, authorization: { iamRole: 'default' } }),
    `COPY "a"."b""; DROP TABLE c" FROM 's3://b/it''s.manifest' IAM_ROLE default MANIFEST FORMAT AS PARQUET`,
  );
  for (const text of ["\\'", 'a\nb', 'a\0b']) assert.throws(() => literal(text), SinkError);
  assert.throws(() => identifier('a\0'), SinkError);
  for (const good of [
    "JSON 'auto' GZIP",
    "CSV DELIMITER ';'",
    "NULL AS '--' ",
    "DELIMITER '\\t'",
    '',
  ]) {
    assert.ok(isCopyOptions(good), good);
  }
  for (const bad of ['GZIP; DROP TABLE a', 'GZIP -- ', "JSON 'auto", '/* GZIP */', "a '\\' b"]) {
    assert.ok(!isCopyOptions(bad), bad);
  }
});
